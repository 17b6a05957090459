"""A model card as Markdown; see `model_card`, which makes it."""

from collections.abc import Mapping
from typing import Any

from tf_advdefense.reporting import formats
from tf_advdefense.reporting import markdown
from tf_advdefense.reporting.document import Bullets
from tf_advdefense.reporting.document import Cell
from tf_advdefense.reporting.document import Code
from tf_advdefense.reporting.document import Prose
from tf_advdefense.reporting.document import Report
from tf_advdefense.reporting.document import Section
from tf_advdefense.reporting.document import Table
from tf_advdefense.reporting.formats import code

_HEADER = (
    "threat model",
    "attacks",
    "robust accuracy, %",
    "95 %",
    "images",
    "clean, %",
)


def page(card: Mapping[str, Any]) -> str:
    """The card in sections, in the order in which a reader needs them."""
    sections = [
        Section("Model", [Bullets(_model(card["model"], card["data"]))]),
        Section("Robustness", _robustness(card)),
        Section("Limits", [Bullets(card["limits"][1:])]),
        Section("Training", _training(card["training"])),
        Section("Loading", _loading(card["loading"])),
    ]
    title = f"Model card: {card['model']['name']}"
    kicker = [card["data"]["dataset"], formats.defense(card["training"]["defense"])]
    said = card["limits"][0]
    return markdown.render(Report(title, kicker, said, "", "", [], [], sections))


def _model(model: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    names = ", ".join(model["class_names"])
    shape = " x ".join(map(str, model["image_shape"]))
    lines = [
        f"Architecture: {code(model['architecture'])}, "
        f"{formats.count(model['parameters'])} parameters.",
        f"Input: images {shape} in [0, 1]. Classes: {names}.",
        f"Data set: {data['dataset']}, fingerprint {code(data['fingerprint'])}.",
    ]
    if data["note"]:
        lines.append(f"Of the data: {data['note']}")
    if model["transforms"]:
        lines.append(f"Input transformations inside: {code(model['transforms'])}.")
    if model["weights_sha256"]:
        lines.append(f"SHA-256 of its weights: {code(model['weights_sha256'])}.")
    return lines + _origin(model["adapted_from"])


def _origin(adapted: Mapping[str, Any]) -> list[str]:
    """What it was made from, where that is not chance alone."""
    lines = []
    if adapted["initial_weights"]:
        lines.append(f"Trained from given weights, {code(adapted['initial_weights'])}.")
    if adapted["teacher"]:
        lines.append(f"Distilled from a teacher, {code(adapted['teacher'])}.")
    if adapted["sources"]:
        listed = formats.listing(list(map(code, adapted["sources"])))
        lines.append(f"Trained on adversarial examples of {listed}.")
    return lines or ["Trained from random weights."]


def _robustness(card: Mapping[str, Any]) -> list[Any]:
    blocks: list[Any] = [Prose(_clean(card["clean"]))]
    if card["robustness"]:
        rows = [[Cell(text) for text in _row(each)] for each in card["robustness"]]
        caption = "The worst case over all attacks, image by image"
        blocks.append(Table(caption, [Cell(text) for text in _HEADER], rows))
    else:
        blocks.append(Prose("Robustness was not measured."))
    if card["flags"]:
        blocks.append(
            Bullets(
                [
                    f"Red flag: {flag['flag']}, {flag['where']}: {flag['detail']}"
                    for flag in card["flags"]
                ]
            )
        )
    return blocks


def _clean(clean: Mapping[str, Any] | None) -> str:
    if clean is None:
        return "Clean accuracy was not measured."
    return (
        f"Clean accuracy: {formats.percent(clean['accuracy'])} % "
        f"({formats.interval(clean['interval'])}) of "
        f"{formats.count(clean['num_examples'])} test images, "
        f"{formats.percent(clean['validation_accuracy'])} % of the validation images."
    )


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        each["threat_model"]["title"],
        formats.listing(each["attacks"]),
        formats.percent(each["accuracy"]),
        formats.interval(each["interval"]),
        formats.count(each["num_examples"]),
        formats.percent(each["clean_accuracy"]),
    )


def _training(training: Mapping[str, Any]) -> list[Any]:
    recipe = [
        f"{key}: {code(value)}"
        for key, value in training["recipe"].items()
        if value not in (None, {}, [])
    ]
    versions = (f"{name} {v}" for name, v in training["versions"].items())
    made = [
        f"Defence: {formats.defense(training['defense'])}. Kept: the weights of epoch "
        f"{training['best_epoch']}.",
        f"Commit: {code(training['git_commit'] or 'unknown')}. "
        f"Versions: {', '.join(versions)}.",
    ]
    blocks: list[Any] = [Bullets(made + recipe)]
    return blocks + [Code([training["command"]])] * bool(training["command"])


def _loading(loading: Mapping[str, Any]) -> list[Any]:
    images = loading["signature"]["images"]
    shape = ", ".join(map(str, images["shape"]))
    outputs = formats.listing(list(map(code, loading["signature"]["outputs"])))
    return [
        Prose("In Python, with this package, where the file lies:"),
        Code(loading["python"]),
        Prose(
            f"Where only TensorFlow is installed. `serving_default` takes images "
            f"{images['dtype']} `[{shape}]` in [0, 1] and returns {outputs}:"
        ),
        Code(loading["saved_model"]),
    ]
