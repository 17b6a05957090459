"""Adversarial examples made beforehand, mixed into the batches of a `fit`.

examples = StaticExamples([(adv_images, labels)], adv_fraction=0.5)
batch = examples.mixed_into(batch, step)
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_advdefense.images import as_float


class StaticExamples:
    """Examples of several sources, one of which each batch draws.

    Args:
      examples: (images, labels) of each source: uint8, or float in [0, 1], `[n, height,
        width, channels]`, and int `[n]`.
      adv_fraction: the share of each batch that they replace, in (0, 1).

    Raises:
      ValueError: in one line, for a share out of range.
    """

    def __init__(
        self, examples: Sequence[tuple[np.ndarray, np.ndarray]], adv_fraction: float
    ):
        if not 0 < adv_fraction < 1:
            raise ValueError(
                "`adv_fraction` must leave clean and adversarial images in a batch. "
                f"Received: adv_fraction={adv_fraction}."
            )
        self._fraction = adv_fraction
        self._sources = [
            (tf.constant(as_float(np.asarray(images))), tf.constant(labels, tf.int64))
            for images, labels in examples
        ]

    def mixed_into(
        self, batch: dict[str, tf.Tensor], step: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The batch with its last images replaced by a source's, in turn, reshuffled.

        Each pass over a source's examples has an order of its own, by `step`, the
        number of updates so far.
        """
        size = tf.shape(batch["label"])[0]
        share = tf.cast(size, tf.float32) * self._fraction
        number = tf.clip_by_value(tf.cast(tf.round(share), tf.int32), 1, size - 1)
        step = tf.cast(tf.convert_to_tensor(step), tf.int64)
        drawn = tf.cast(step % len(self._sources), tf.int32)
        turn = step // len(self._sources)

        def take(images, labels):
            count, each = tf.shape(labels, tf.int64)[0], tf.cast(number, tf.int64)
            steps = tf.maximum(count // each, 1)  # In a pass over the examples.
            place = (turn % steps) * each + tf.range(each)
            index = tf.random.experimental.index_shuffle(
                place % count,
                tf.stack([turn // steps, 0 * steps]),
                count - 1,
            )
            return tf.gather(images, index), tf.gather(labels, index)

        branches = [lambda source=source: take(*source) for source in self._sources]
        images, labels = tf.switch_case(drawn, branches)
        clean = {key: value[: size - number] for key, value in batch.items()}
        added = {"adv_image": images, "adv_label": labels}
        if "target" in batch:
            classes = batch["target"].shape[-1]
            added["adv_target"] = tf.one_hot(labels, classes, dtype=tf.float32)
        return {**clean, **added}
