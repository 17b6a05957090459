"""A classifier behind input transformations, in one model: images to logits.

    model = with_transforms(classifier, parse_transforms("jpeg:quality=75"))
    model(images)                          # transformed, then classified
    attack(model, images, labels)          # adaptive: BPDA and, if random, EOT
    without_transforms(model)              # the classifier, for an oblivious attack

At inference an image's draws depend on its values and on a seed only. Attacks see
another function where a transformation is random: the mean of the log-probabilities
over `eot_draws` draws (expectation over transformation, EOT, Athalye et al. 2018,
arXiv:1707.07397), which are the same for all images and in all iterations. What they
find is scored by the model itself, on draws that the attack has not seen. Attacks on a
loss therefore go on after the first success (`attacks.stages.settled`); those that look
for the smallest change end on the edge of the expectation, where about half of the
draws resist, unless they are told to go further (`confidence` of `cw` and `ead`).

A SavedModel keeps the approximated gradients, but of random transformations it shows
an attack one draw for each image that it tries: attack the `.keras` file instead.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.defenses.transforms.transform import Transform
from tf_advdefense.defenses.transforms.transform import image_keys


@keras.saving.register_keras_serializable("tf_advdefense")
class Transformed(keras.layers.Layer):
    """Images to logits through transformations and a classifier.

    At inference, of transformations that ask for several draws the logits are the
    logarithm of the mean probabilities. In training mode there is one draw.

    Args:
      classifier: a `keras.Model` from images to logits.
      transforms: a list of `Transform`, the first one applied first.
      seed: of the draws at inference and in training.
      eot_draws: over which an attack takes the mean; at least as many as the defence's.
    """

    def __init__(
        self,
        classifier: keras.Model,
        transforms: Sequence[Transform],
        seed: int = 0,
        eot_draws: int = 20,
        **kwargs,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.classifier, self.transforms = classifier, transforms
        self.seed, self.eot_draws = seed, eot_draws
        self.random = any(transform.random for transform in transforms)
        self.draws = max((t.draws for t in transforms if t.random), default=1)

    def build(self, input_shape: tuple) -> None:
        for transform in self.transforms:
            if not transform.built:
                transform.build(input_shape)

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return self._logits(images, image_keys(images, self.seed), training)

    def redrawn(self, images: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """The logits at inference as another seed would draw them, by its number."""
        return self._logits(images, row_keys(number, image_keys(images, self.seed)))

    def _logits(self, images, own, training=False):
        if training or not self.random:
            return self._classify(self._transform(images, own), training)
        if self.draws == 1:
            return self._classify(self._transform(images, own))

        def probabilities(draw):
            drawn = self._transform(images, row_keys(draw, own))
            return tf.nn.softmax(self._classify(drawn))

        return tf.math.log(_mean(probabilities, self.draws) + 1e-30)

    def expectation(self, images: tf.Tensor) -> tf.Tensor:
        """What an attack sees: the mean over `eot_draws`, or the defence's if more."""
        return self.mean_over(images, max(self.draws, self.eot_draws))

    def mean_over(self, images: tf.Tensor, draws: int, seed: int = 0) -> tf.Tensor:
        """The mean log-probabilities over draws that are the same for all images.

        Args:
          images: float32 `[n, height, width, channels]` in [0, 1].
          draws: how many.
          seed: of the draws.
        """

        def log_probabilities(draw):
            # Away from the defence's own: an attacker does not know its seed.
            keys = row_keys(row_keys(seed, draw), tf.range(1))
            keys = tf.tile(keys, tf.shape(images)[:1])
            return tf.nn.log_softmax(self._classify(self._transform(images, keys)))

        return _mean(log_probabilities, draws)

    def transform(self, images: tf.Tensor) -> tf.Tensor:
        """The images after all transformations, one draw each, as the classifier's."""
        return self._transform(images, image_keys(images, self.seed))

    def _transform(self, images, keys):
        for place, transform in enumerate(self.transforms):
            images = transform(images, row_keys(place, keys))
        return images

    def _classify(self, images, training=False):
        return tf.cast(self.classifier(images, training=training), tf.float32)

    def get_config(self) -> dict:
        return {
            "name": self.name,
            "classifier": keras.saving.serialize_keras_object(self.classifier),
            "transforms": [
                keras.saving.serialize_keras_object(each) for each in self.transforms
            ],
            "seed": self.seed,
            "eot_draws": self.eot_draws,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Transformed":
        parts = {
            key: keras.saving.deserialize_keras_object(config[key])
            for key in ("classifier", "transforms")
        }
        return cls(**{**config, **parts})


def with_transforms(
    classifier: keras.Model,
    transforms: Sequence[Transform],
    seed: int = 0,
    eot_draws: int = 20,
) -> keras.Model:
    """A new `keras.Model`: images, transformed, classified; `classifier` is shared.

    Args:
      classifier: a `keras.Model` from images to logits; one that contains
        transformations gets these in front of them.
      transforms: of `parse_transforms`, or any list of `Transform`; of none, the
        classifier is returned as is.
      seed, eot_draws: of `Transformed`.

    Raises:
      ValueError: in one line, for a database that is missing, or images of a kind that
        a transformation does not take.
    """
    if not transforms:
        return classifier
    for transform in transforms:
        if not transform.adapted:
            raise ValueError(
                f"{transform.name!r} needs a database of clean patches. Received: "
                "none. Give it one, or call its `adapt` with training images."
            )
    transforms = [*transforms, *transforms_of(classifier)]
    classifier = without_transforms(classifier)
    images = keras.Input(classifier.input_shape[1:], name="images")
    layer = Transformed(classifier, transforms, seed, eot_draws, name="defense")
    return keras.Model(images, layer(images), name=classifier.name)


def without_transforms(model: keras.Model) -> keras.Model:
    """The classifier alone, as an attacker sees it who overlooks the transformations.

    Any other model is returned as is.
    """
    layer = transformed_layer(model)
    return model if layer is None else layer.classifier


def transforms_of(model: keras.Model) -> list[Transform]:
    """The transformations of a model of `with_transforms`; of any other model, none."""
    layer = transformed_layer(model)
    return [] if layer is None else list(layer.transforms)


def transformed_layer(model: keras.Model) -> Transformed | None:
    """The `Transformed` layer of a model, or None."""
    layers = (layer for layer in model.layers if isinstance(layer, Transformed))
    return next(layers, None)


def _mean(function, draws):
    """One draw after the other: all at once would take so many batches' memory."""
    each = tf.map_fn(
        function, tf.range(draws), fn_output_signature=tf.float32, parallel_iterations=1
    )
    return tf.reduce_mean(each, axis=0)
