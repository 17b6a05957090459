"""Which model it is: the hash of its architecture and weights.

    model_sha256(model)               # equal for a model, its copy and its file
    check(model, config["weights_sha256"], "outputs/runs/a/model.keras")

The bytes of a `.keras` file hold dates and the settings of a training, so that equal
models are unequal files. Former versions recorded the hash of the file, or of all
files of a SavedModel: `is_of` takes such a value for the model that it names.
"""

from collections.abc import Iterator
import hashlib
import json
import pathlib
import secrets
from typing import Any

import keras

from tf_advdefense.artifacts import files

# The files of a model card in an export: they speak of the model, of which they are no
# part.
CARD = ("model_card.md", "model_card.json")
# Of a serialised object: what a training adds, and what follows from the weights.
_NO_ARCHITECTURE = ("compile_config", "build_config")


def model_sha256(model: keras.Model) -> str:
    """The SHA-256 of a model's architecture and weights, hexadecimal.

    Layers' names, which count the layers made before in the same process, do not enter,
    nor does the place that a SavedModel was loaded from: its files do, since its graph
    is known from them alone. Where Keras cannot write the architecture down, equal
    weights may be of unequal models: such a model gets another value each time, so that
    nothing that was measured is taken for its own.
    """
    digest = hashlib.sha256(_architecture(model).encode())
    for weight in model.get_weights():
        digest.update(f"{weight.shape} {weight.dtype}".encode())
        digest.update(weight.tobytes())
    return digest.hexdigest()


def files_sha256(path: files.Path) -> str:
    """The SHA-256 of a model's file, or of all files of a directory.

    Of a directory every file's relative path and SHA-256 enter, in sorted order, but
    for those of a model card: it is written anew with every report on the model.
    """
    path = pathlib.Path(path)
    if path.is_file():
        return files.sha256(path)
    digest = hashlib.sha256()
    cards = {path / name for name in CARD}
    for file in sorted(p for p in path.rglob("*") if p.is_file() and p not in cards):
        line = f"{file.relative_to(path).as_posix()} {files.sha256(file)}\n"
        digest.update(line.encode())
    return digest.hexdigest()


def is_of(recorded: str, model: keras.Model, path: files.Path) -> bool:
    """Whether a recorded hash, of today or of a former version, is this model's.

    Args:
        recorded: hexadecimal SHA-256.
        model: the model that was loaded.
        path: where from.
    """
    return recorded in (model_sha256(model), files_sha256(path))


def check(model: keras.Model, recorded: str, path: files.Path) -> None:
    """Raises ValueError where a run's model is not the one that was recorded."""
    if not is_of(recorded, model, path):
        raise ValueError(
            "A run's model must be the one that its training ended with. Received: "
            f"{path}, whose architecture or weights are others. Give it as a "
            "`model_path` from elsewhere, or train the run again with `overwrite`."
        )


def renamed(value: Any, names: dict[str, str]) -> Any:
    """JSON values with some texts, such as former hashes, replaced by others."""
    if isinstance(value, dict):
        return {key: renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


# === Architecture ===


def _architecture(model: keras.Model) -> str:
    try:
        described = json.loads(model.to_json())
    except Exception:  # whatever a layer without `get_config` raises
        return secrets.token_hex()
    names = dict.fromkeys(_layer_names(described))
    numbers = {name: f"layer {i}" for i, name in enumerate(names)}
    return json.dumps(_nameless(described, numbers), sort_keys=True)


def _layer_names(value: Any) -> Iterator[str]:
    """Names of layers, in the order in which they are written down."""
    if isinstance(value, dict):
        if isinstance(name := _own_name(value), str):
            yield name
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _layer_names(item)


def _own_name(value: dict[str, Any]) -> Any:
    """The name in an object's `config`; that of a policy, "float32", is no name."""
    config = value.get("config")
    if not isinstance(config, dict) or "DTypePolicy" in str(value.get("class_name")):
        return None
    return config.get("name")


def _nameless(value: Any, numbers: dict[str, str]) -> Any:
    """A described object with numbers for the names of its layers."""
    if isinstance(value, list):
        refers = len(value) == 3 and isinstance(value[0], str)
        first = [numbers.get(value[0], value[0])] if refers else []
        return first + [_nameless(item, numbers) for item in value[len(first) :]]
    if not isinstance(value, dict):
        return value
    if "DTypePolicy" in str(value.get("class_name")):
        return value
    kept = {
        key: _nameless(item, numbers)
        for key, item in value.items()
        if key not in _NO_ARCHITECTURE
    }
    if isinstance(name := kept.get("name"), str):
        kept["name"] = numbers.get(name, name)
    if value.get("class_name") == "TFSMLayer":
        kept["config"]["filepath"] = files_sha256(value["config"]["filepath"])
    return kept
