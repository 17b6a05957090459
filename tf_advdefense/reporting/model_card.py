"""Model cards: what a model is, how robust, how to load it, and what is unknown.

    found = card(run.config, load_results("outputs/report"), name="resnet50")
    for name, data in rendered(found).items():     # model_card.md, model_card.json
        files.write_bytes(directory / name, data)

Every number is one of the run's configuration or of the results; those of another
model, by its weights, are left aside. The sections follow Mitchell et al. (2019, Model
Cards for Model Reporting, arXiv:1810.03993): details, data, training, evaluation,
caveats. This module does without TensorFlow.
"""

from collections.abc import Mapping
import re
from typing import Any

from tf_advdefense.artifacts import files
from tf_advdefense.evaluation.records import PerExample
from tf_advdefense.evaluation.records import Results
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.evaluation.threat_models import threat_models
from tf_advdefense.reporting import formats
from tf_advdefense.reporting.model_card_page import page

MARKDOWN, JSON = "model_card.md", "model_card.json"
NAMES = (MARKDOWN, JSON)
# Of a run's request what stands elsewhere in its card.
_ELSEWHERE = ("model", "dataset", "dataset_fingerprint", "defense", "initial_weights")
_NOT_MEASURED = "Robustness was not measured: nothing is known of it."


def card(
    config: Mapping[str, Any],
    measured: tuple[Results, PerExample] | None = None,
    *,
    name: str = "model",
    transforms: str | None = None,
    saved_as: tuple[str, str] = ("model.keras", "saved_model"),
) -> dict[str, Any]:
    """The card of a run's model, as JSON values.

    Args:
      config: the run's `config.json`, its request included.
      measured: results and per-example arrays of a report, or None.
      name: of the run.
      transforms: input transformations put in front of the model since, of which
        nothing was measured; None for the model as it was trained.
      saved_as: paths of its Keras file and of its SavedModel, as they are to be loaded.

    Returns:
      A dict with model, data, training, clean, robustness, flags, limits and loading.
    """
    request = config["request"]
    as_trained = transforms is None
    results, per_example, known_as = _of_this(config, measured if as_trained else None)
    robust = _robustness(results, per_example, known_as) if results else []
    return {
        "model": _model(config, request, name, transforms),
        "data": _data(config, request, results),
        "training": _training(config, request),
        "clean": _clean(config) if as_trained else None,
        "robustness": robust,
        "flags": _flags(results, known_as) if results else [],
        "limits": _limits(robust, as_trained),
        "loading": _loading(config, *saved_as),
    }


def to_markdown(card: Mapping[str, Any]) -> str:
    """The card as GitHub-flavoured Markdown."""
    return page(card)


def rendered(card: Mapping[str, Any]) -> dict[str, bytes]:
    """Name to content of the files that a card consists of."""
    text = files.to_json(card) + "\n"
    return {MARKDOWN: to_markdown(card).encode(), JSON: text.encode()}


# === Parts ===


def _of_this(
    config: Mapping[str, Any], measured: tuple[Results, PerExample] | None
) -> tuple[Results | None, PerExample, str]:
    """Results, arrays and the name in them of the model with the run's weights."""
    results, per_example = measured or (None, {})
    for known_as, model in (results or {}).get("models", {}).items():
        if model["weights_sha256"] == config["weights_sha256"]:
            return results, per_example, known_as
    return None, {}, ""


def _model(
    config: Mapping[str, Any],
    request: Mapping[str, Any],
    name: str,
    transforms: str | None,
) -> dict[str, Any]:
    return {
        "name": name,
        "architecture": request["model"],
        "parameters": config["num_params"],
        "image_shape": list(config["image_shape"]),
        "class_names": list(config["class_names"]),
        "transforms": transforms or request.get("transforms"),
        # That of the model with its transformations is not known to the run.
        "weights_sha256": config["weights_sha256"] if transforms is None else None,
        "adapted_from": {
            "initial_weights": request.get("initial_weights"),
            "teacher": request.get("teacher"),
            "sources": list(config.get("sources") or []),
        },
    }


def _data(
    config: Mapping[str, Any], request: Mapping[str, Any], results: Results | None
) -> dict[str, Any]:
    return {
        "dataset": config["dataset"],
        "fingerprint": request["dataset_fingerprint"],
        "note": results["dataset"].get("note") if results else None,
        "test_examples": config["test_examples"],
    }


def _training(config: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    command = config.get("command")
    return {
        "defense": request["defense"],
        "recipe": {k: v for k, v in request.items() if k not in _ELSEWHERE},
        "best_epoch": config["best_epoch"],
        "epochs_trained": config.get("epochs_trained"),
        # To make it again nothing is to be resumed or replaced.
        "command": command and re.sub(r" --(resume|overwrite)\b", "", command),
        "git_commit": config.get("git_commit"),
        "versions": dict(config["versions"]),
    }


def _clean(config: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracies of the run; the interval is Wilson's of the test images."""
    accuracy, n = config["test_accuracy"], config["test_examples"]
    return {
        "accuracy": accuracy,
        "interval": list(wilson(round(accuracy * n), n)),
        "num_examples": n,
        "validation_accuracy": config["validation_accuracy"],
    }


def _robustness(
    results: Results, per_example: PerExample, name: str
) -> list[dict[str, Any]]:
    """The worst case under each threat model that it was attacked under."""
    keyed = {record["key"]: record for record in results["records"]}
    each = [
        (threat, robustness(results, per_example, name, threat))
        for threat in threat_models(results)
    ]
    return [
        {
            "threat_model": {**threat.as_json(), "title": formats.within(threat)},
            "attacks": list(
                dict.fromkeys(formats.attack(keyed[key]) for key in found.keys)
            ),
            "accuracy": found.accuracy,
            "interval": list(found.interval),
            "num_examples": found.num_examples,
            "clean_accuracy": found.clean_accuracy,
        }
        for threat, found in each
        if found is not None
    ]


def _flags(results: Results, name: str) -> list[dict[str, Any]]:
    """The red flags that name the model, or none of the models."""
    others = [other for other in results["models"] if other != name]
    return [
        dict(flag)
        for flag in results["flags"]
        if _names(flag["where"], name)
        or not any(_names(flag["where"], other) for other in others)
    ]


def _names(text: str, name: str) -> bool:
    """Whether a text names a model: not as a part of a longer name."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text) is not None


def _limits(robust: list[dict[str, Any]], as_trained: bool) -> list[str]:
    limits = [
        "It was trained for the classes and images of its data set; of others nothing "
        "is known.",
        "Accuracies are of the data set's test images, as it holds them.",
    ]
    if not as_trained:
        limits += ["Behind its transformations no accuracy was measured, either."]
    if not robust:
        return [_NOT_MEASURED, *limits]
    known = ", ".join(each["threat_model"]["title"] for each in robust)
    return [
        f"Robustness was measured under {known} alone, and is an upper bound: a "
        "stronger attack may find more.",
        *limits,
    ]


def _loading(
    config: Mapping[str, Any], keras_file: str, directory: str
) -> dict[str, Any]:
    shape = [None, *config["image_shape"]]
    return {
        "python": [
            "import tf_advdefense as adv",
            f'model = adv.load_model("{keras_file}")  # images in [0, 1] to logits',
        ],
        "saved_model": [
            "import tensorflow as tf",
            f'loaded = tf.saved_model.load("{directory}")',
            'loaded.signatures["serving_default"](tf.constant(images))["class"]',
        ],
        "signature": {
            "images": {"dtype": "float32", "shape": shape, "range": [0, 1]},
            "outputs": ["logits", "probabilities", "class"],
        },
    }
