"""Runs: `outputs/runs/NAME`, a trained model and everything that made it.

    run = load_run("outputs", "resnet50")
    model = run.load_model()                 # images in [0, 1] -> logits

A run directory holds `request.json` and `config.json` (see `files`), `model.keras`,
`history.csv`, `checkpoints/`, `logs/` and, where exported, `saved_model/`. Models
load with `safe_mode=True`: no code that lies in a file is run.
"""

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess
from typing import Any

import keras

from tf_advdefense import __version__
from tf_advdefense import untrusted
from tf_advdefense import zoo
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import finished
from tf_advdefense.artifacts import identity
from tf_advdefense.models import tflite
from tf_advdefense.models.outputs import one_output

_PACKAGES = ("tensorflow", "keras", "cleverhans", "tensorflow_datasets", "numpy")
KERAS_FILES = (".keras", ".h5", ".hdf5")
# Fields of `config.json`, and of the request in it, without which nothing can be done.
_NEEDED = {
    "": ("request", "weights_sha256"),
    "request": ("model", "defense", "dataset", "dataset_fingerprint"),
}
_FILES = ".keras, .h5 or .tflite file"
_OTHERWISE = "Export it as a SavedModel, model.export(DIR), and give that directory."


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        name: unique among runs.
        directory: where it lies.
        config: its `config.json`.
        packaged: whether it is of the zoo, which comes with the package: nothing is
            written to its directory.
    """

    name: str
    directory: pathlib.Path
    config: dict[str, Any]
    packaged: bool = False

    @property
    def model_path(self) -> pathlib.Path:
        return self.directory / "model.keras"

    def load_model(self) -> keras.Model:
        """Its model, images in [0, 1] to logits.

        Raises:
            ValueError: `model.keras` is not the model that its training ended with.
        """
        model = load_model(self.model_path)
        # The very file needs no more: not every layer describes itself alike twice.
        if files.sha256(self.model_path) != self.config.get("model_file_sha256"):
            identity.check(model, self.config["weights_sha256"], self.model_path)
        return model

    @property
    def temperature(self) -> float:
        """The temperature that it was trained at; see `defenses.distillation`."""
        return self.config["request"].get("defense_args", {}).get("temperature", 1.0)

    @property
    def defense(self) -> str:
        """How it was defended, in words of the command line; "none" if it was not."""
        request = self.config["request"]
        named = [request["defense"]] * (request["defense"] != "none")
        named += filter(None, [request.get("transforms")])
        return " behind ".join(named) or "none"


def run_directory(output_dir: files.Path, name: str) -> pathlib.Path:
    """Returns where the run `name` lies or will lie."""
    return files.named(pathlib.Path(output_dir) / "runs", name)


def list_runs(output_dir: files.Path) -> list[str]:
    """Returns the sorted names of the finished runs."""
    return finished.names(pathlib.Path(output_dir) / "runs")


def load_run(output_dir: files.Path, name: str) -> Run:
    """Returns the finished run `name`, or, as zoo:NAME, a network of the zoo.

    Raises:
        FileNotFoundError: it is missing or unfinished; the message says what to do.
        ValueError: the zoo has no such network.
    """
    packaged = name.startswith(zoo.PREFIX)
    if packaged:
        directory = zoo.find(name.removeprefix(zoo.PREFIX))
    else:
        directory = run_directory(output_dir, name)
    config = finished.load_config(
        directory, kind="run", function="train_run", needed=_NEEDED
    )
    return Run(name.replace(":", "-"), directory, config, packaged)


# === Models ===


def save_model(directory: files.Path, model: keras.Model) -> dict[str, str]:
    """Writes `directory/model.keras`; returns what a run's config says of it.

    Returns:
        {"weights_sha256": of its architecture and weights (see `identity`),
        "model_file_sha256": of the file}.
    """
    path = pathlib.Path(directory) / "model.keras"
    with files.replacing(path) as temporary:
        model.save(temporary)
    return {
        "weights_sha256": identity.model_sha256(model),
        "model_file_sha256": files.sha256(path),
    }


def load_model(path: files.Path) -> keras.Model:
    """Returns the classifier at `path` as a `keras.Model` from images to logits.

    Args:
        path: a `.keras` or `.h5` file, a SavedModel directory, from elsewhere too, or
            a `.tflite` file, which has no gradient (`models.tflite`).
            Of a SavedModel the endpoint `serving_default` is taken, and of its outputs
            "logits", or else the only one, or the only floating one. What else a
            classifier from elsewhere may be, `models.foreign.adapt` sees to.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it is no model, damaged, needs code that is not at hand, or has
            a signature that is not one batch of float32 images to logits.
    """
    path = pathlib.Path(path)
    if (path / "saved_model.pb").exists():
        return _load_saved_model(path)
    if not path.exists():
        raise FileNotFoundError(
            f"No model at {path}. Give a {_FILES} or a SavedModel directory."
        )
    if path.is_file() and path.suffix == tflite.SUFFIX:
        return tflite.load_tflite(path)
    if path.name.endswith(".weights.h5"):
        raise ValueError(
            f"A model needs its architecture. Received: {path}, which holds weights "
            "alone. Save it with model.save('NAME.keras')."
        )
    if path.is_dir() or path.suffix not in KERAS_FILES:
        raise ValueError(
            f"A model is a {_FILES} or a directory with saved_model.pb. "
            f"Received: {path}. Save it with model.save('NAME.keras')."
        )
    return _load_keras(path)


def _load_keras(path: pathlib.Path) -> keras.Model:
    try:
        untrusted.check_archive(path)
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras lets through whatever its parts raise.
        text = str(error)
        if "Lambda" in text and "safe" in text:
            raise ValueError(
                f"{path} holds a Lambda layer, whose code is not run. {_OTHERWISE}"
            ) from error
        foreign = re.search(r"Could not locate (\w+ '\w+')", text)
        if foreign:
            raise ValueError(
                f"{path} needs code that is not at hand: {foreign[1]}. {_OTHERWISE}"
            ) from error
        absent = re.search(r"parent module (\w+)\S* cannot be imported", text)
        if absent:
            raise ValueError(
                f"{path} has layers of the package {absent[1]}, which cannot be "
                f"imported here. Install it. Or: {_OTHERWISE}"
            ) from error
        raise ValueError(
            f"{path} is damaged or no Keras model: {_first_line(text)} Save it again."
        ) from error


def _load_saved_model(path: pathlib.Path) -> keras.Model:
    try:
        layer = keras.layers.TFSMLayer(str(path), call_endpoint="serving_default")
    except Exception as error:  # TensorFlow has no common error for it either.
        raise ValueError(
            f"{path} is damaged or has no endpoint serving_default: "
            f"{_first_line(str(error))} Export it again."
        ) from error
    images = keras.Input(batch_shape=_image_shape(layer, path), name="images")
    # The layer in the model keeps the loaded object, and so its variables, alive.
    return keras.Model(images, _logits(layer(images), path), name="saved_model")


def _image_shape(
    layer: keras.layers.Layer, path: pathlib.Path
) -> tuple[int | None, ...]:
    """Returns the shape [None, H, W, C] that the endpoint takes."""
    function = layer.call_endpoint_fn
    # An endpoint of `keras.export` holds its concrete functions, any other is one.
    function = getattr(function, "concrete_functions", [function])[0]
    specs = keras.tree.flatten(function.structured_input_signature)
    (spec,) = specs if len(specs) == 1 else (None,)
    if spec is None or spec.dtype != "float32" or spec.shape.rank != 4 or spec.shape[0]:
        raise ValueError(
            f"serving_default of {path} must take one float32 batch [None, H, W, C]. "
            f"Received: {specs}. Export it with that signature."
        )
    return tuple(spec.shape)


def _logits(returned: Any, path: pathlib.Path) -> Any:
    try:
        return one_output(returned)
    except ValueError as error:
        raise ValueError(f"serving_default of {path}: {error}") from error


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given."])[0]


# === What made them ===


def versions() -> dict[str, str]:
    """Returns the versions of Python, this package and what its numbers rest on."""
    # CleverHans' own `__version__` hashes its files: metadata is right and fast.
    return {
        "tf_advdefense": __version__,
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
    }


def git_commit(file: files.Path = __file__) -> str | None:
    """Returns the commit of the work tree that tracks `file`, or None.

    The suffix "-dirty" says that the tree had uncommitted changes.
    """
    folder, name = os.path.split(os.path.abspath(file))
    if _git(folder, "ls-files", "--error-unmatch", name) is None:
        return None  # Installed inside somebody else's work tree.
    everything = ("--always", "--dirty", "--abbrev=40", "--exclude=*")
    return _git(folder, "describe", *everything)


def _git(folder: str, *arguments: str) -> str | None:
    command = ["git", "-C", folder, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
