"""A classifier as a SavedModel that is served without this package.

    export_saved_model(model, "outputs/runs/resnet50/saved_model", {"clean": 0.93})

and elsewhere, where only TensorFlow is installed:

    loaded = tf.saved_model.load("outputs/runs/resnet50/saved_model")
    loaded.signatures["serving_default"](images)["class"]

Gradients flow through the signature, as long as the loaded object is referenced.
"""

from collections.abc import Callable
from collections.abc import Mapping
import pathlib
from typing import Any

import keras
import tensorflow as tf

from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import identity

# An export holds these, the evaluation always, and nothing else.
_PARTS = ("saved_model.pb", "fingerprint.pb", "variables", "assets", *identity.CARD)
_EVALUATION = "evaluation.json"


def is_export(directory: files.Path) -> bool:
    """Whether a directory is an export of this package and holds nothing else."""
    held = {path.name for path in pathlib.Path(directory).iterdir()}
    return _EVALUATION in held and held <= {_EVALUATION, *_PARTS}


def export_saved_model(
    model: keras.Model,
    directory: files.Path,
    evaluation: dict[str, Any] | None = None,
    card: Mapping[str, bytes] | None = None,
) -> None:
    """Writes `model` as a SavedModel, its evaluation beside it, whole or not at all.

    `serving_default` takes `images`, float32 [batch, height, width, channels] in
    [0, 1], and returns `logits` and `probabilities`, float32 [batch, classes], and
    `class`, int64 [batch]. BatchNorm and dropout are in inference mode.

    Args:
        model: keras.Model from images to logits.
        directory: path; a former export there is replaced, and nothing else.
        evaluation: dict of JSON values, written as `evaluation.json` in `directory`.
        card: name to content of the files of a model card, `model_card.md` and
            `model_card.json`.

    Raises:
        FileExistsError: `directory` holds anything but a former export.
    """
    signature = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, "images")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", _endpoint(model), [signature])
    with files.replacing(directory, is_export) as temporary:
        archive.write_out(str(temporary), verbose=False)
        files.write_json(temporary / _EVALUATION, evaluation or {})
        write_card(temporary, card or {})


def write_card(directory: files.Path, card: Mapping[str, bytes]) -> None:
    """Writes a model card's files into a run or an export, each whole or not at all."""
    for name, content in card.items():
        assert name in identity.CARD, name
        files.write_bytes(pathlib.Path(directory) / name, content)


def exported_of_run(directory: files.Path) -> bool:
    """Whether an export lies there that is a run's model as it was trained."""
    directory = pathlib.Path(directory)
    if not directory.is_dir() or not is_export(directory):
        return False
    # One behind transformations names the run that it was made of.
    return "run" not in files.read_json(directory / _EVALUATION)


def _endpoint(model: keras.Model) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        # A mixed-precision model computes in float16, but is served in float32.
        logits = tf.cast(model(images, training=False), tf.float32)
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "class": tf.argmax(logits, axis=-1),
        }

    return serve
