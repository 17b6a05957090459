"""How robust is a model? One call for one model, and RobustBench's five arguments.

    result = evaluate(model, images, labels)                  # AutoAttack, L∞ 8/255
    result = evaluate("mine.keras", dataset, attacks="quick", norm="L2", eps=0.5)
    result = benchmark(model, "cifar10", threat_model="Linf", eps=8 / 255)

`compare` does the same with several models.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import functools
import os
from typing import Any

import keras
import tensorflow as tf

from tf_advdefense import datasets
from tf_advdefense.datasets.arrays import from_arrays
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation import suites
from tf_advdefense.evaluation.classifiers import ModelOrPath
from tf_advdefense.evaluation.classifiers import loaded
from tf_advdefense.evaluation.outcome import Comparison
from tf_advdefense.evaluation.outcome import Evaluation
from tf_advdefense.evaluation.parents import with_parent
from tf_advdefense.evaluation.progress import progress
from tf_advdefense.evaluation.survey import Survey
from tf_advdefense.evaluation.survey import survey
from tf_advdefense.evaluation.targets import model_name
from tf_advdefense.evaluation.targets import target_of_model
from tf_advdefense.evaluation.threat_models import ThreatModel
from tf_advdefense.radii import NORMS
from tf_advdefense.radii import number
from tf_advdefense.radii import radius_text


def evaluate(
    model: ModelOrPath,
    images: Any,
    labels: Any = None,
    attacks: suites.Asked = "standard",
    norm: str = "Linf",
    eps: float | str | Sequence[float | str] = 8 / 255,
    *,
    name: str | None = None,
    **settings: Any,
) -> Evaluation:
    """Attacks one model and says how robust it is.

    Args:
      model: a `keras.Model`, or the path of a `.keras` or `.h5` file or of a SavedModel
        directory, as it is, or of a .tflite file, which has no gradient; see
        docs/models.md for what is adapted, and for the latter's `parent`.
      images: uint8 or float `[n, height, width, channels]`, a `tf.data.Dataset` of
        (image, label), or the name of a data set, of whose test images the first
        `num_examples` are taken.
      labels: int `[n]` or one-hot; None where `images` has them.
      attacks: "quick" (a minute), "standard" (AutoAttack), names of attacks, or
        `Attack`s, which are run as they are.
      norm: "Linf", "L2", "L1" or "L0".
      eps: the radius, in units of images in [0, 1], or "8/255"; or several, of which
        the first is the headline.
      name: of the model; default: that of its file, or its own.
      **settings: as of `compare`.

    Returns:
      An `Evaluation`, whose verdict was printed.

    Raises:
      FileNotFoundError, ValueError: in one line, for a model that cannot be measured on
        these images, for images or labels of another kind, or unknown names.
    """
    name = name or _name(model)
    found = measured({name: model}, images, labels, attacks, norm, eps, **settings)
    result = Evaluation(name, found)
    if settings.get("verbose", True):
        print(result, flush=True)
    return result


def compare(
    models: Mapping[str, ModelOrPath],
    images: Any,
    labels: Any = None,
    attacks: suites.Asked = "standard",
    norm: str = "Linf",
    eps: float | str | Sequence[float | str] = 8 / 255,
    **settings: Any,
) -> Comparison:
    """Attacks several models on the same images, and tests their differences.

    Args:
      models: name to a model, as of `evaluate`.
      images, labels, attacks, norm, eps: as of `evaluate`.
      num_examples: the first images to attack; default: all that are given, 1,000 of a
        data set's.
      class_names: of the labels, for the report.
      input_range, preprocess: what the models take; found out by default.
      parent: the float model that deployed ones, .tflite files, were made from: it is
        measured, too, and attacks that need gradients are crafted on it, and scored on
        them.
      batch_size: images per batch.
      seed: of the attacks' random draws.
      output_dir: measurements are kept there, and not taken again by the next call;
        None keeps nothing.
      data_dir: where TFDS finds a data set that is named.
      verbose: print what is done and found, and show progress.

    Returns:
      A `Comparison`, which was printed: paired differences with exact McNemar tests.

    Raises:
      FileNotFoundError, ValueError: as `evaluate`.
    """
    found = measured(models, images, labels, attacks, norm, eps, **settings)
    result = Comparison(found)
    if settings.get("verbose", True):
        print(result, flush=True)
    return result


def benchmark(
    model: ModelOrPath,
    dataset: str = "cifar10",
    threat_model: str = "Linf",
    eps: float | str = 8 / 255,
    n_examples: int = 1000,
    **settings: Any,
) -> Evaluation:
    """The same in RobustBench's terms: AutoAttack on a named data set's test images.

    Args:
      model, dataset, threat_model, eps, n_examples: `model`, `images`, `norm`, `eps`
        and `num_examples` of `evaluate`.
      **settings: the others.
    """
    return evaluate(
        model, dataset, norm=threat_model, eps=eps, num_examples=n_examples, **settings
    )


def measured(
    models: Mapping[str, ModelOrPath],
    images: Any,
    labels: Any,
    attacks: suites.Asked,
    norm: str,
    eps: float | str | Sequence[float | str],
    *,
    num_examples: int | None = None,
    class_names: Sequence[str] | None = None,
    input_range: tuple[float, float] | None = None,
    preprocess: str | None = None,
    parent: ModelOrPath | None = None,
    batch_size: int = 128,
    seed: int = 0,
    output_dir: str | os.PathLike[str] | None = None,
    data_dir: str | None = None,
    verbose: bool = True,
) -> Survey:
    """The survey behind `evaluate` and `compare`, whose arguments it takes."""
    threats = _threats(norm, eps)
    opened = {name: loaded(model) for name, model in models.items()}
    data = _data(opened, images, labels, class_names, data_dir)
    if num_examples is None and isinstance(images, str):
        num_examples = 1000
    count = min(num_examples or len(data.test), len(data.test))
    adapting: Any = {"input_range": input_range, "preprocess": preprocess}
    say = functools.partial(print, flush=True) if verbose else _silent
    if output_dir is None:
        say("Nothing is kept: give `output_dir` to have a second call reuse it.")
    targets = {n: target_of_model(n, m, data, **adapting) for n, m in opened.items()}
    if parent is not None:
        own = target_of_model(_name(parent), parent, data, **adapting)
        targets = with_parent(targets, own)
    return survey(
        targets,
        data,
        suites.chosen(attacks, threats, data.test.images),
        threats=[] if _own(attacks) else threats,
        store=None if output_dir is None else records.store_of(output_dir),
        num_examples=count,
        num_costly=count,
        batch_size=min(batch_size, count),
        seed=seed,
        progress=progress if verbose else None,
        say=say,
    )


def _silent(line: str) -> None:
    """Says nothing."""


def _name(model: ModelOrPath) -> str:
    return model.name if isinstance(model, keras.Model) else model_name(model)


def _own(attacks: suites.Asked) -> bool:
    """Whether only attacks with radii of their own are asked for."""
    each = [attacks] if isinstance(attacks, str) or callable(attacks) else attacks
    return not any(isinstance(name, str) for name in each)


def _threats(norm: str, eps: Any) -> list[ThreatModel]:
    if norm not in NORMS:
        raise ValueError(
            f"`norm` must be one of {', '.join(NORMS)}. Received: norm={norm!r}."
        )
    each = [eps] if isinstance(eps, str | float | int) else list(eps)
    return [threat(norm, radius) for radius in each]


def threat(norm: str, eps: float | str, knowledge: str = "white-box") -> ThreatModel:
    """The threat model of "Linf" and 8/255, as a number or as it is written."""
    radius = number(eps) if isinstance(eps, str) else float(eps)
    text = eps if isinstance(eps, str) else radius_text(radius)
    return ThreatModel(NORMS[norm], radius, text, knowledge)


def _data(
    models: Mapping[str, keras.Model],
    images: Any,
    labels: Any,
    class_names: Sequence[str] | None,
    data_dir: str | None,
) -> datasets.Dataset:
    if isinstance(images, datasets.Dataset):
        return images
    if isinstance(images, str):
        return datasets.load(images, data_dir=data_dir, test_only=True)
    if labels is None and not isinstance(images, tf.data.Dataset):
        raise ValueError(
            "`labels` are needed beside images in an array. Received: labels=None."
        )
    classes = max(map(_num_classes, models.values()), default=0)
    return from_arrays(images, labels, class_names=class_names, num_classes=classes)


def _num_classes(model: keras.Model) -> int:
    """How many classes its output tells apart; 0 where it does not show it."""
    outputs = getattr(model, "outputs", None) or [None]
    width = getattr(outputs[0], "shape", (None,))[-1]
    return 2 if width == 1 else width or 0
