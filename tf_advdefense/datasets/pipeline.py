"""Training batches as a function of (seed, epoch, position).

    batches = training_batches(data.train, batch_size=128, epochs=30, seed=0)
    model.fit(batches, epochs=30, steps_per_epoch=steps_per_epoch(data.train, 128))

Every draw is stateless, so a run resumed at an epoch, or within one, sees the very
batches that an uninterrupted one would. An epoch is as many steps as the clean images
fill batches, whatever share of each batch is adversarial: defended and undefended runs
of equal epochs make equally many updates.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tf_advdefense.datasets.augmentation import Augmentation
from tf_advdefense.datasets.cutmix import CutMix
from tf_advdefense.datasets.splits import Split
from tf_advdefense.datasets.stored import Stored

_CLEAN, _ADVERSARIAL = 0, 1  # Keep the two halves' draws apart.
_BATCH_SIZE, _LEAST_BATCH, _LEAST_STEPS = 128, 16, 32
# Above all seeds: streams apart from the augmentation's.
_DRAW, _MIX = 2**32, 2**33


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Full batches in a pass over `split`; later epochs see what does not fill one."""
    if not len(split):
        raise ValueError(
            "Training needs a data set with train images. Received: test images only."
        )
    if len(split) < batch_size:
        raise ValueError(
            "`batch_size` must not exceed the number of training images. "
            f"Received: batch_size={batch_size} for {len(split)} images."
        )
    return len(split) // batch_size


def default_batch_size(split: Split) -> int:
    """128, or of a small data set the power of two that leaves 32 steps in an epoch.

    It is not below 16, for BatchNorm's sake, unless there are fewer images.
    """
    size = _BATCH_SIZE
    while size > _LEAST_BATCH and len(split) // size < _LEAST_STEPS:
        size //= 2
    return max(1, min(size, len(split)))


def num_adversarial(batch_size: int, adv_fraction: float) -> int:
    """Adversarial images in a batch of `batch_size`; they replace clean ones."""
    number = round(adv_fraction * batch_size)
    if not 0 < number < batch_size:
        raise ValueError(
            "`adv_fraction` must leave clean and adversarial images in a "
            f"batch. Received: adv_fraction={adv_fraction} of "
            f"{batch_size} images."
        )
    return number


def training_batches(
    split: Split,
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    initial_epoch: int = 0,
    initial_step: int = 0,
    augment: Augmentation | None = None,
    cutmix: CutMix | None = None,
    adversarial: Callable[[int], list[tuple[float, tf.data.Dataset]]] | None = None,
    adv_fraction: float = 0.5,
    augment_adv: Augmentation | None = None,
) -> tf.data.Dataset:
    """Batches of epochs `initial_epoch` to `epochs` - 1, one after the other.

    Args:
      split: clean `Split`.
      batch_size: images per batch, clean and adversarial together.
      epochs, initial_epoch: as in `keras.Model.fit`.
      initial_step: how many batches of the first of these epochs are left out.
      seed: integer; with epoch and position it determines every draw.
      augment: None, or the `augmentation.Augmentation` of the clean images.
      cutmix: None, or what mixes the clean images after it.
      adversarial: None, or a function from an epoch, an int64 tensor, to a list of
        (weight, infinite dataset of {"image": float32 in [0, 1], "label"}); each batch
        draws one of them with probability proportional to its weight.
      adv_fraction: share of each batch that is adversarial.
      augment_adv: None, or that of the adversarial images.

    Returns:
      A `tf.data.Dataset` of {"image", "label", "draw"} and, where `adversarial` is
      given, {"adv_image", "adv_label"}; images float32 in [0, 1], labels int64. With
      `cutmix`, also `target` and `adv_target`, float32 `[n, classes]`, the classes'
      shares of each image, and `label` is the class of the largest.
      `draw`, int64 per clean image, seeds whatever a defence draws at random.
    """
    steps = steps_per_epoch(split, batch_size)
    adv_size = num_adversarial(batch_size, adv_fraction) if adversarial else 0
    images = split.images
    if not isinstance(images, Stored):
        images = tf.constant(images)
    source = images, tf.constant(split.labels)

    def one_epoch(epoch):
        first = tf.cast(epoch == initial_epoch, tf.int64) * initial_step
        size = batch_size - adv_size
        positions = tf.data.Dataset.range(first, steps)
        clean = _clean_epoch(source, positions, size, seed, epoch, augment, cutmix)
        if not adversarial:
            return clean
        adv = _adversarial_epoch(
            adversarial(epoch), steps, adv_size, seed, epoch, augment_adv
        ).skip(first)
        if cutmix is not None:
            adv = adv.map(cutmix.unmixed)
        return tf.data.Dataset.zip(clean, adv).map(lambda a, b: {**a, **b})

    # One graph for all epochs: a hundred would take seconds to build one by one.
    batches = tf.data.Dataset.range(initial_epoch, epochs).flat_map(one_epoch)
    number = steps * (epochs - initial_epoch) - initial_step
    return batches.apply(tf.data.experimental.assert_cardinality(number)).prefetch(2)


def in_order(split: Split, batch_size: int) -> tf.data.Dataset:
    """Batches of (uint8 images, labels), the last of which may be smaller."""
    labels = tf.data.Dataset.from_tensor_slices(split.labels).batch(batch_size)
    if isinstance(split.images, Stored):
        return tf.data.Dataset.zip(split.images.in_order(batch_size), labels)
    images = tf.data.Dataset.from_tensor_slices(split.images).batch(batch_size)
    return tf.data.Dataset.zip(images, labels)


def _clean_epoch(source, positions, size, seed, epoch, augment, cutmix):
    images, labels = source
    last = len(labels) - 1
    seed = tf.constant(seed, tf.int64)

    def index_of(step):
        position = step * size + tf.range(size, dtype=tf.int64)
        return tf.random.experimental.index_shuffle(
            position, tf.stack([seed, epoch]), tf.constant(last, tf.int64)
        )

    def batch(step, grey_levels):
        image = tf.cast(grey_levels, tf.float32) / 255.0
        if augment is not None:
            image = augment(image, _batch_seed(seed, epoch, step, _CLEAN))
        draw = tf.random.stateless_uniform(
            [size],
            _batch_seed(seed + _DRAW, epoch, step, _CLEAN),
            minval=None,
            maxval=None,
            dtype=tf.int64,
        )
        label = tf.gather(labels, index_of(step))
        if cutmix is None:
            return {"image": image, "label": label, "draw": draw}
        mix_seed = _batch_seed(seed + _MIX, epoch, step, _CLEAN)
        image, target = cutmix(image, label, mix_seed)
        label = tf.argmax(target, axis=-1)
        return {"image": image, "label": label, "target": target, "draw": draw}

    if isinstance(images, Stored):
        grey_levels = images.batches(positions.map(index_of))
        pairs = tf.data.Dataset.zip(positions, grey_levels)
        return pairs.map(batch, num_parallel_calls=2)
    return positions.map(
        lambda step: batch(step, tf.gather(images, index_of(step))),
        num_parallel_calls=2,
    )


def _adversarial_epoch(sources, steps, size, seed, epoch, augment):
    weights = np.array([weight for weight, _ in sources], float)

    def choose(epoch):
        generator = np.random.default_rng([seed, epoch, _ADVERSARIAL])
        share = weights / weights.sum()
        return generator.choice(len(sources), steps, p=share).astype(np.int64)

    choice = tf.ensure_shape(tf.numpy_function(choose, [epoch], tf.int64), [steps])
    batches = tf.data.Dataset.choose_from_datasets(
        [examples.batch(size, drop_remainder=True) for _, examples in sources],
        tf.data.Dataset.from_tensor_slices(choice),
    )

    def augmented_batch(step, batch):
        image = batch["image"]
        if augment is not None:
            image = augment(image, _batch_seed(seed, epoch, step, _ADVERSARIAL))
        return {"adv_image": image, "adv_label": batch["label"]}

    return batches.enumerate().map(augmented_batch, num_parallel_calls=2).take(steps)


def _batch_seed(seed, epoch, step, half):
    """Two integers for the stateless ops, different for every batch of every run."""
    low = tf.cast(epoch, tf.int64) * 2**32 + 2 * tf.cast(step, tf.int64) + half
    return tf.stack([tf.cast(seed, tf.int64), low])
