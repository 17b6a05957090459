"""Which pre-generated adversarial sets a defence may train on, and how often each.

A set is described by its `config.json` (`artifacts.adversarial_sets`).
"""

from collections.abc import Iterable
from typing import Any

from tf_advdefense.defenses.registry import DEFENSES

Configs = dict[str, dict[str, Any]]  # name of a set to its `config.json`


def needs_sets(name: str) -> bool:
    """Whether a defence trains on pre-generated adversarial sets."""
    return DEFENSES.find(name).check_sources is not None


def check_sets(
    name: str,
    *,
    model_name: str,
    dataset: str,
    image_shape: tuple[int, ...],
    sets: Configs,
) -> None:
    """Refuse adversarial sets that a defence must not train on.

    Args:
      name: a key of `DEFENSES`.
      model_name: the architecture to be trained.
      dataset: fingerprint of the training data set.
      image_shape: (height, width, channels) of its images.
      sets: name of each set to its `config.json`.

    Raises:
      ValueError: no sets or superfluous ones, another data set or shape, images of
        a held-out split, or sources the defence does not take.
    """
    if not needs_sets(name):
        if sets:
            raise ValueError(
                f"`defense={name}` uses no adversarial sets. Received: "
                f"adv_data={','.join(sets)}. Choose another `defense`."
            )
        return
    if not sets:
        raise ValueError(
            f"`defense={name}` needs adversarial sets. Received: no `adv_data`. Craft "
            "one with `make_set(split='train')`, and name it."
        )
    for set_name, config in sets.items():
        _check_set(set_name, config, dataset, image_shape)
    DEFENSES[name].check_sources(model_name, _sources(sets).values())


def set_weights(sets: Configs) -> dict[str, float]:
    """Probability with which a batch draws each set: sources alike, then their sets."""
    of = _sources(sets)
    counts = {source: list(of.values()).count(source) for source in of.values()}
    return {name: 1 / (len(counts) * counts[source]) for name, source in of.items()}


def same_architecture(model_name: str, sources: Iterable[str]) -> None:
    """Adversarial training as the paper has it: examples of the trained network."""
    others = sorted(set(sources) - {model_name})
    if others:
        raise ValueError(
            "`defense=adversarial` takes sets crafted on the trained architecture. "
            f"Received: a set crafted on {others[0]} for `model={model_name}`. Use "
            "`defense=ensemble` for sets of other models."
        )


def other_architecture(model_name: str, sources: Iterable[str]) -> None:
    """Ensemble adversarial training decouples crafting from the trained network."""
    if set(sources) <= {model_name}:
        raise ValueError(
            "`defense=ensemble` needs at least one set crafted on another "
            f"architecture. Received: only sets of {model_name} for "
            f"`model={model_name}`. Craft one with `make_set` on another run, or use "
            "`defense=adversarial`."
        )


def _check_set(name, config, dataset, image_shape):
    """Refuse a set of another data set or shape, or of images held out of training."""
    request = config["request"]
    if request["dataset_fingerprint"] != dataset:
        raise ValueError(
            f"Adversarial sets must be made from the training data set. Received: "
            f"'{name}' made from {request['dataset']} with another fingerprint."
        )
    if tuple(config["image_shape"]) != tuple(image_shape):
        raise ValueError(
            f"Adversarial images must have the training images' shape. Received: "
            f"'{name}' with {config['image_shape']} for {list(image_shape)}."
        )
    if request["split"] != "train":
        raise ValueError(
            f"Training must not see {request['split']} images. Received: '{name}' of "
            f"split {request['split']}. Craft one with `make_set(split='train')`."
        )


def _sources(sets):
    """Name of each set to the architecture it was crafted on."""
    return {name: config["request"]["source_model"] for name, config in sets.items()}
