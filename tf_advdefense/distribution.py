"""The one place that knows devices and tf.distribute."""

from collections.abc import Iterator
import contextlib
import functools
import os

import keras
import tensorflow as tf

from tf_advdefense.strategies import STRATEGIES


def set_up(mixed_precision: bool = False, distribute: str = "none") -> None:
    """Let GPU memory grow, choose the precision of computation, meet other workers.

    Call before any tensor is made: later, workers cannot be joined. Mixed precision
    computes in float16 on a GPU (with loss scaling) and bfloat16 elsewhere; variables
    and logits stay float32.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if mixed_precision:
        keras.mixed_precision.set_dtype_policy(_mixed_policy())
    if distribute == "multi_worker":
        _workers()


@contextlib.contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Context in which models are made, and trained, in mixed precision, if `mixed`."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(_mixed_policy() if mixed else before)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Context, or decorator, of measurements: GPUs compute products in float32.

    Their default is TensorFloat-32, which keeps ten bits of each factor. Trainings stay
    with it; but it moves logits by 3e-4 with the size of the batch, and with them which
    images an attack fools.
    """
    execution = tf.config.experimental
    before = execution.tensor_float_32_execution_enabled()
    execution.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        execution.enable_tensor_float_32_execution(before)


def _mixed_policy():
    gpus = tf.config.list_physical_devices("GPU")
    return "mixed_float16" if gpus else "mixed_bfloat16"


def scope(name: str) -> contextlib.AbstractContextManager:
    """Context in which variables are made: one device, all GPUs, or several machines.

    Each device gets its share of a batch, and BatchNorm's statistics are those of the
    share.
    """
    return STRATEGIES.find(name)()


single_device = contextlib.nullcontext


def mirrored() -> contextlib.AbstractContextManager:
    """The context of `tf.distribute.MirroredStrategy` over all GPUs."""
    return tf.distribute.MirroredStrategy().scope()


def multi_worker() -> contextlib.AbstractContextManager:
    """The context of `MultiWorkerMirroredStrategy` over the workers of TF_CONFIG."""
    return _workers().scope()


@functools.cache
def _workers() -> tf.distribute.MultiWorkerMirroredStrategy:
    """One for the process: its workers are met once."""
    if not os.environ.get("TF_CONFIG"):
        raise ValueError(
            "`distribute=multi_worker` is told its workers by the variable TF_CONFIG "
            "of the environment. Received: none. See docs/scale.md."
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_chief() -> bool:
    """Whether this process writes: the only one, or the first of several workers."""
    strategy = _met()
    return strategy is None or strategy.cluster_resolver.task_id == 0


def agreed(number: int, unit: str = "epochs") -> int:
    """How far a training is, which must be as far for every worker; waits for all.

    Raises:
      ValueError: it is another one elsewhere.
    """
    strategy = _met()
    if strategy is None:
        return number

    @tf.function
    def across(number):
        value = strategy.run(lambda: number)
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)

    with with_all():
        mean = float(across(tf.constant(float(number))))
    if mean != number:
        raise ValueError(
            "All workers must see the same `output_dir`. Received: one that is "
            f"{number} {unit} far here, and others elsewhere. Share it."
        )
    return number


@contextlib.contextmanager
def with_all() -> Iterator[None]:
    """Context of work that needs every worker.

    Raises:
      ConnectionError: in one line, where one of them ended.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        if _met() is None:
            raise
        raise ConnectionError(
            "All workers must stay until the training ends. Received: one that cannot "
            "be reached any more. Start all of them again with `resume`."
        ) from error


def _met() -> tf.distribute.MultiWorkerMirroredStrategy | None:
    """The strategy of several workers, where this process is one, or None."""
    return _workers() if _workers.cache_info().currsize else None


def as_result(value: tf.Tensor) -> tf.Tensor:
    """What a step returns of a metric: Keras takes a mean over workers, on axis 0."""
    return value if _met() is None else value[tf.newaxis]


def by_position(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same dataset, of whose batches each worker takes its share by position."""
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    return dataset.with_options(options)


def positions(size: tf.Tensor) -> tf.Tensor:
    """Places in the batch of all devices, int64 [size], of this one's share of it."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.range(size) + tf.cast(replica, tf.int64) * size


def replica_share(loss: tf.Tensor) -> tf.Tensor:
    """A replica's part of the mean loss; optimizers add the replicas' gradients."""
    return loss / tf.distribute.get_strategy().num_replicas_in_sync
