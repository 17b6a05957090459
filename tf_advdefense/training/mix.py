"""The images of a training: clean ones, mixed with adversarial sets."""

import pathlib

import tensorflow as tf

from tf_advdefense import defenses
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import files
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import pipeline
from tf_advdefense.training.recipe import Recipe


class Mix:
    """What a recipe trains on.

    Args:
      recipe: of the training.
      data: its data set.
      output_dir: where its adversarial sets lie.

    Attributes:
      split: the clean training images.
      sets: the adversarial sets.
    """

    def __init__(self, recipe: Recipe, data: Dataset, output_dir: str | pathlib.Path):
        self._recipe, self._data = recipe, data
        self.split = data.train.take(recipe.train_examples)
        self.sets = [
            adversarial_sets.load_set(output_dir, name) for name in recipe.adv_data
        ]

    def check(self, defense: str, model_name: str) -> None:
        """Raises ValueError for sets that the defence must not train on."""
        recipe, data = self._recipe, self._data
        defenses.check_sets(
            defense,
            model_name=model_name,
            dataset=data.fingerprint,
            image_shape=data.image_shape,
            sets=self._configs,
        )
        if self.sets:
            pipeline.num_adversarial(recipe.batch_size, recipe.adv_fraction)
        if recipe.train_examples:
            for adv_set in self.sets:
                adversarial_sets.check_covers(adv_set, self.split.index)

    def batches(
        self, first_epoch: int, first_step: int, epochs: int
    ) -> tf.data.Dataset:
        """All training batches from a step of an epoch on."""
        recipe = self._recipe
        augmentation = recipe.augmentation(self._data)
        return pipeline.training_batches(
            self.split,
            batch_size=recipe.batch_size,
            epochs=epochs,
            seed=recipe.seed,
            initial_epoch=first_epoch,
            initial_step=first_step,
            augment=augmentation if recipe.augment else None,
            cutmix=recipe.mixing(self._data),
            adversarial=self._adversarial if self.sets else None,
            adv_fraction=recipe.adv_fraction,
            augment_adv=augmentation if recipe.augment_adv else None,
        )

    @property
    def source_names(self) -> list[str]:
        """Names of the models that the sets were crafted on."""
        return sum((s.config["request"]["source"].split("+") for s in self.sets), [])

    def request(self) -> dict:
        """What a run's request says of the adversarial sets."""
        digests = {s.name: files.sha256(s.directory / files.CONFIG) for s in self.sets}
        fraction = self._recipe.adv_fraction if self.sets else None
        return {"adv_data": digests, "adv_fraction": fraction}

    @property
    def _configs(self):
        return {s.name: s.config for s in self.sets}

    def _adversarial(self, epoch):
        """The sets' weights and examples in an epoch, of the trained images alone."""
        among = self.split.index if self._recipe.train_examples else None
        weights = defenses.set_weights(self._configs)
        seed = self._recipe.seed
        return [
            (
                weights[s.name],
                adversarial_sets.stream(s, seed=seed, epoch=epoch, among=among),
            )
            for s in self.sets
        ]
