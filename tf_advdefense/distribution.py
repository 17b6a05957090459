"""The one place that knows devices and tf.distribute."""

import contextlib

import keras
import tensorflow as tf

STRATEGIES = ("none", "mirrored")


def set_up(mixed_precision=False):
    """Let GPU memory grow as needed, and choose the precision of computation.

    Call before any tensor is made. Mixed precision computes in float16 on a GPU (with
    loss scaling) and bfloat16 elsewhere; variables and logits stay float32.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if mixed_precision:
        keras.mixed_precision.set_global_policy(
            "mixed_float16" if gpus else "mixed_bfloat16"
        )


def scope(name):
    """Context in which variables are made: one device, or mirrored over all GPUs.

    Under `mirrored` each device gets its share of a batch, and BatchNorm's statistics
    are those of the share.
    """
    if name not in STRATEGIES:
        raise ValueError(
            f"Unknown distribution '{name}'. Known: {', '.join(STRATEGIES)}."
        )
    if name == "none":
        return contextlib.nullcontext()
    return tf.distribute.MirroredStrategy().scope()


def replica_share(loss):
    """A replica's part of the mean loss; optimizers add the replicas' gradients."""
    return loss / tf.distribute.get_strategy().num_replicas_in_sync
