"""The one place that knows devices and tf.distribute."""

from collections.abc import Iterator
import contextlib

import keras
import tensorflow as tf

from tf_advdefense.strategies import STRATEGIES


def set_up(mixed_precision: bool = False) -> None:
    """Let GPU memory grow as needed, and choose the precision of computation.

    Call before any tensor is made. Mixed precision computes in float16 on a GPU (with
    loss scaling) and bfloat16 elsewhere; variables and logits stay float32.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if mixed_precision:
        keras.mixed_precision.set_dtype_policy(_mixed_policy())


@contextlib.contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Context in which models are made, and trained, in mixed precision, if `mixed`."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(_mixed_policy() if mixed else before)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def _mixed_policy():
    gpus = tf.config.list_physical_devices("GPU")
    return "mixed_float16" if gpus else "mixed_bfloat16"


def scope(name: str) -> contextlib.AbstractContextManager:
    """Context in which variables are made: one device, or mirrored over all GPUs.

    Under `mirrored` each device gets its share of a batch, and BatchNorm's statistics
    are those of the share.
    """
    return STRATEGIES.find(name)()


single_device = contextlib.nullcontext


def mirrored() -> contextlib.AbstractContextManager:
    """The context of `tf.distribute.MirroredStrategy` over all GPUs."""
    return tf.distribute.MirroredStrategy().scope()


def positions(size: tf.Tensor) -> tf.Tensor:
    """Places in the batch of all devices, int64 [size], of this one's share of it."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.range(size) + tf.cast(replica, tf.int64) * size


def replica_share(loss: tf.Tensor) -> tf.Tensor:
    """A replica's part of the mean loss; optimizers add the replicas' gradients."""
    return loss / tf.distribute.get_strategy().num_replicas_in_sync
