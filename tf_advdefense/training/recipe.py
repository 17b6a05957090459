"""What a run is trained with, beside its model, its defence and its data."""

from collections.abc import Sequence
import dataclasses
import difflib
import fnmatch
from typing import Any

import keras
import numpy as np

from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.datasets import pipeline
from tf_advdefense.datasets.augmentation import Augmentation
from tf_advdefense.datasets.cutmix import CutMix
from tf_advdefense.defenses import transforms
from tf_advdefense.defenses.transforms.transform import Transform
from tf_advdefense.training import optimizers
from tf_advdefense.training.averaging import Ema
from tf_advdefense.training.averaging import Swa
from tf_advdefense.training.averaging import make_average

# Fields that stand in a run's request as they are.
_RECORDED = (
    "augment",
    "augment_adv",
    "batch_size",
    "seed",
    "train_examples",
    "distribute",
    "mixed_precision",
    "jit_compile",
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that changes the outcome of `train_run`, with its defaults.

    Attributes:
      epochs: passes over train. This and the next four, where None, are the defence's
        own, or else the model's.
      learning_rate: the schedule's peak.
      schedule, optimizer: names of `SCHEDULES` and `OPTIMIZERS`.
      weight_decay: see `optimizers.make_optimizer`.
      batch_size: images per batch, clean and adversarial together; None: as is right
        for the number of images, see `pipeline.default_batch_size`.
      seed: determines every random draw.
      train_examples: use only the first so many training images; None: all.
      model_args: arguments of the architecture, {"width": 16}.
      defense_args: hyperparameters of the defence and of its attack, {"eps": 4 / 255}.
      attack: name of another attack to craft with, for a defence that takes one.
      teacher: of distillation and rslad: a run's name, the path of a model, or a
        `keras.Model`.
      sources: of ensemble_at: static models to craft on, given like the teacher.
      adv_data: names of adversarial sets in the output directory to train on.
      adv_fraction: share of each batch that is adversarial.
      transforms: input transformations in front of the model, as text for
        `parse_transforms`, or as layers.
      eot_draws: draws of random transformations that attacks take the mean over.
      augment, augment_adv: flip and crop the clean and the adversarial images.
      flip: None: as is right for the data set.
      crop: pixels of padding that a random crop is taken from; None: a sixteenth of
        the side.
      crop_area: the crop is a part of the image instead, of at least this share of its
        area, see `Augmentation`; 0.08 is usual for ImageNet.
      cutout: side of a square of grey in each image, see `Augmentation`.
      cutmix: share of the clean images that get a part of another, see `CutMix`.
      average: name in `AVERAGES`: of the weights, which is scored and kept.
      average_args: its hyperparameters, {"decay": 0.99}.
      clip_norm: largest norm of a gradient; None: any.
      awp: size of adversarial weight perturbations, see `AdversarialTrainer`; 0.01 with
        `pgd_at` and 0.005 with `trades` in the paper.
      freeze: names of layers that are not trained, * for any letters.
      distribute: a name of `STRATEGIES`.
      mixed_precision: compute in 16 bits.
      jit_compile: compile with XLA (slower on a CPU).
      steps_per_execution: as of `keras.Model.compile`.
      checkpoint_steps: after how many steps a long epoch has a checkpoint within it.
    """

    epochs: int | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    optimizer: str | None = None
    weight_decay: float | None = None
    batch_size: int | None = None
    seed: int = 0
    train_examples: int | None = None
    model_args: dict[str, Any] = dataclasses.field(default_factory=dict)
    defense_args: dict[str, Any] = dataclasses.field(default_factory=dict)
    attack: str | None = None
    teacher: Any = None
    sources: Sequence[Any] = ()
    adv_data: Sequence[str] = ()
    adv_fraction: float = 0.5
    transforms: str | Sequence[Transform] = ""
    eot_draws: int = 20
    augment: bool = True
    augment_adv: bool = True
    flip: bool | None = None
    crop: int | None = None
    crop_area: float | None = None
    cutout: int | None = None
    cutmix: float | None = None
    average: str | None = None
    average_args: dict[str, Any] = dataclasses.field(default_factory=dict)
    clip_norm: float | None = None
    awp: float = 0.0
    freeze: Sequence[str] = ()
    distribute: str = "none"
    mixed_precision: bool = False
    jit_compile: bool = False
    steps_per_execution: int = 1
    checkpoint_steps: int = 1000

    def for_images(self, split: Split) -> "Recipe":
        """The recipe with the batch size that it leaves to the training images."""
        if self.batch_size is not None:
            return self
        size = pipeline.default_batch_size(split)
        return dataclasses.replace(self, batch_size=size)

    def built_with(self, model: str) -> dict[str, Any]:
        """The arguments of `build_model`, but those that are the data set's."""
        for name in ("name", "image_shape", "num_classes"):
            if name in self.model_args:
                raise ValueError(
                    f"`{name}` is no argument of a model. Received: {name}="
                    f"{self.model_args[name]} for {model}. Leave it out of "
                    "`model_args`."
                )
        return dict(self.model_args)

    def settings(self, model_name: str, of_defense: dict[str, Any]) -> dict[str, Any]:
        """Optimizer settings and epochs: given, the defence's or the model's."""
        defaults = {
            **optimizers.DEFAULTS.get(model_name, optimizers.OTHER_MODELS),
            **of_defense,
        }
        given = {key: getattr(self, key) for key in defaults}
        return {
            key: default if given[key] is None else given[key]
            for key, default in defaults.items()
        }

    def augmentation(self, data: Dataset) -> Augmentation:
        """That of the data set, or as it is given."""
        side = min(data.image_shape[:2])
        if self.crop is not None and not 0 <= self.crop < side:
            raise ValueError(
                f"`crop` must be less than the images' side, {side}. Received: "
                f"crop={self.crop}."
            )
        if self.crop_area is not None and not 0 < self.crop_area <= 1:
            raise ValueError(
                "`crop_area` is a share of the images' area, more than 0 and at most "
                f"1. Received: crop_area={self.crop_area}."
            )
        if self.cutout is not None and not 0 < self.cutout <= 2 * side:
            raise ValueError(
                "`cutout` is the side of a square, more than 0 and at most twice the "
                f"images' side, {side}. Received: cutout={self.cutout}."
            )
        given = {
            "flip": self.flip,
            "pad": self.crop,
            "area": self.crop_area,
            "cutout": self.cutout,
        }
        return data.augmentation._replace(
            **{key: value for key, value in given.items() if value is not None}
        )

    def mixing(self, data: Dataset) -> CutMix | None:
        """What mixes the clean images, where something does."""
        if self.cutmix is None:
            return None
        if not 0 < self.cutmix <= 1:
            raise ValueError(
                "`cutmix` is a share of the images, more than 0 and at most 1. "
                f"Received: cutmix={self.cutmix}."
            )
        return CutMix(self.cutmix, data.num_classes)

    def averaged(self, steps: int) -> Ema | Swa | None:
        """The average of the weights in a training of so many updates."""
        if self.average is not None:
            return make_average(self.average, steps, **self.average_args)
        if self.average_args:
            raise ValueError(
                f"`average_args` are those of an `average`. Received: "
                f"{self.average_args} and no average. Choose one."
            )
        return None

    def freeze_in(self, model: keras.Model) -> None:
        """Takes the layers of `freeze` out of the training of a model.

        Raises:
          ValueError: in one line, for a pattern without a layer, or where nothing is
            left that could be trained.
        """
        layers = model._flatten_layers(include_self=False)
        known = {layer.name: layer for layer in layers if layer.weights}
        for pattern in self.freeze:
            names = fnmatch.filter(known, pattern)
            if not names:
                near = difflib.get_close_matches(pattern, known, 3, 0)
                raise ValueError(
                    "`freeze` must name layers with weights. Received: "
                    f"freeze={pattern}. The nearest: {', '.join(near)}."
                )
            for name in names:
                known[name].trainable = False
        if not model.trainable_variables:
            frozen = f" with freeze={','.join(self.freeze)}" if self.freeze else ""
            raise ValueError(
                "A model must have weights that can be trained. Received: "
                f"{model.name}{frozen}, which has none. Of a SavedModel, give its "
                ".keras file."
            )

    def layers(self, images: np.ndarray) -> list[Transform]:
        """The transformations, adapted to training images where they need that."""
        layers = self.transforms
        if isinstance(layers, str):
            layers = transforms.parse_transforms(layers)
        for layer in layers:
            if not layer.adapted:
                layer.adapt(images, self.seed)
        return list(layers)

    def request(self, data: Dataset, layers: list[Transform]) -> dict:
        """What a run's request says of it."""
        named = {"transforms": transforms.describe(layers), "eot_draws": self.eot_draws}
        mixing = self.mixing(data)
        return {
            "augmentation": {
                key: value
                for key, value in self.augmentation(data)._asdict().items()
                if value is not None
            },
            **(named if layers else {}),
            **{key: getattr(self, key) for key in _RECORDED},
            "image_size": None,
            **data.reading,
            **({"freeze": list(self.freeze)} if self.freeze else {}),
            **({"awp": self.awp} if self.awp else {}),
            **({"clip_norm": self.clip_norm} if self.clip_norm else {}),
            **({"cutmix": mixing.share} if mixing else {}),
        }
