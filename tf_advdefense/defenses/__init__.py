"""Defences: a training loss on a batch, and the adversarial sets it may use.

    defense = make_defense("ensemble")
    loss, clean_logits = defense(model, batch)

`batch` holds `image` and `label` and, for a defence trained on pre-generated
adversarial sets, `adv_image` and `adv_label`. To add a defence, write its loss here
(or in a file of its own) and add a line to `DEFENSES`.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf


def plain(model, batch):
    """Cross-entropy on the clean images: no defence.

    Args:
      model: images [n, h, w, c] in [0, 1] to logits; run in training mode.
      batch: {"image": float32 [n, h, w, c], "label": int64 [n]}.

    Returns:
      (loss: scalar, clean_logits: [n, num_classes]).
    """
    logits = model(batch["image"], training=True)
    return _cross_entropy(batch["label"], logits), logits


def mixed(model, batch):
    """Mean cross-entropy over clean and adversarial images in one forward pass.

    One pass on the concatenation keeps clean and adversarial images in the same
    BatchNorm statistics (Kurakin et al. 2017, arXiv:1611.01236, section 3), and the
    mean weighs both halves by their share of the batch. Labels are the true ones.

    Args:
      model, batch: as `plain`; `batch` also holds `adv_image` and `adv_label`.
    """
    clean = tf.shape(batch["label"])[0]
    images = tf.concat([batch["image"], batch["adv_image"]], axis=0)
    labels = tf.concat([batch["label"], batch["adv_label"]], axis=0)
    logits = model(images, training=True)
    return _cross_entropy(labels, logits), logits[:clean]


def _cross_entropy(labels, logits):
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def _same_architecture(model_name, sources):
    """Adversarial training as the paper has it: examples of the trained network."""
    others = sorted(set(sources) - {model_name})
    if others:
        raise ValueError(
            "--defense=adversarial takes sets crafted on the trained architecture. "
            f"Received: a set crafted on {others[0]} for --model={model_name}. Use "
            "--defense=ensemble for sets of other models.")


def _other_architecture(model_name, sources):
    """Ensemble adversarial training decouples crafting from the trained network."""
    if set(sources) <= {model_name}:
        raise ValueError(
            "--defense=ensemble needs at least one set crafted on another "
            f"architecture. Received: only sets of {model_name} for "
            f"--model={model_name}. Craft one with bin/make_adv --run=alexnet "
            "--split=train, or use --defense=adversarial.")


@dataclasses.dataclass(frozen=True)
class Defense:
    """A registry entry: the loss, whose sets it takes (None: none), and its source."""

    loss: Callable
    check_sources: Callable | None
    summary: str


DEFENSES = {
    "none": Defense(plain, None, "clean images only"),
    "adversarial": Defense(
        mixed, _same_architecture,
        "clean images mixed with pre-generated examples of the same architecture "
        "(Goodfellow et al. 2015, arXiv:1412.6572, with static examples)"),
    "ensemble": Defense(
        mixed, _other_architecture,
        "clean images mixed with pre-generated examples of other source models, one "
        "source per batch (Tramer et al. 2018, arXiv:1705.07204)"),
}


def make_defense(name):
    """The training loss `defense(model, batch) -> (loss, clean_logits)` of a name.

    Raises:
      ValueError: unknown name.
    """
    return _entry(name).loss


def needs_sets(name):
    """Whether a defence trains on pre-generated adversarial sets."""
    return _entry(name).check_sources is not None


def check_sets(name, *, model_name, dataset, image_shape, sets):
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
    entry = _entry(name)
    if entry.check_sources is None:
        if sets:
            raise ValueError(f"--defense={name} uses no adversarial sets. Received: "
                             f"--adv_data={','.join(sets)}. Choose another --defense.")
        return
    if not sets:
        raise ValueError(
            f"--defense={name} needs adversarial sets. Received: no --adv_data. Craft "
            "one with bin/make_adv --attack=fgsm --split=train and name it.")
    for set_name, config in sets.items():
        _check_set(set_name, config, dataset, image_shape)
    entry.check_sources(model_name, sources(sets).values())


def _check_set(name, config, dataset, image_shape):
    request = config["request"]
    if request["dataset_fingerprint"] != dataset:
        raise ValueError(
            f"Adversarial sets must be made from the training data set. Received: "
            f"'{name}' made from {request['dataset']} with another fingerprint.")
    if tuple(config["image_shape"]) != tuple(image_shape):
        raise ValueError(
            f"Adversarial images must have the training images' shape. Received: "
            f"'{name}' with {config['image_shape']} for {list(image_shape)}.")
    if request["split"] != "train":
        raise ValueError(
            f"Training must not see {request['split']} images. Received: '{name}' of "
            f"split {request['split']}. Craft one with bin/make_adv --split=train.")


def sources(sets):
    """Name of each set to the architecture it was crafted on."""
    return {name: config["request"]["source_model"] for name, config in sets.items()}


def set_weights(sets):
    """Probability with which a batch draws each set: sources alike, then their sets."""
    of = sources(sets)
    counts = {source: list(of.values()).count(source) for source in of.values()}
    return {name: 1 / (len(counts) * counts[source]) for name, source in of.items()}


def _entry(name):
    if name not in DEFENSES:
        raise ValueError(f"Unknown defence '{name}'. Known: {', '.join(DEFENSES)}.")
    return DEFENSES[name]
