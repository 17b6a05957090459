"""Results: what was measured, example by example, in one versioned format.

    results, per_example = load_results("outputs/report")
    results["records"][0]["correct"] == per_example["resnet50/fgsm/ok"].sum()

`results.json` holds `Results`, and `per_example.npz` beside it, for each record's
`key`, the arrays

    KEY/index     int32    the images' indices in their split
    KEY/clean_ok  bool     correctly classified when clean
    KEY/ok        bool     correctly classified when clean *and* when attacked
    KEY/l0, KEY/l1, KEY/l2, KEY/linf  float32  norms of the perturbations
    KEY/passes    int32    forward and backward passes; of attacks that were run
    KEY/label     int32    the true classes; of clean images
    KEY/masked    bool     without a gradient; of white-box attacks that need one

so that every number of a report can be computed anew. Files of former formats are
read as if they were of today's. This module does without TensorFlow.
"""

from collections.abc import Mapping
import io
import json
import os
import pathlib
from typing import Any
from typing import NotRequired
from typing import TypedDict

import numpy as np

from tf_advdefense import untrusted
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts.former_formats import without_kind
from tf_advdefense.evaluation.placement import Placement

FORMAT = 5
Path = str | os.PathLike[str]
PerExample = dict[str, np.ndarray]


class Model(TypedDict):
    """A model that was measured; None where something is not known."""

    model: str | None  # its architecture
    defense: str  # "none" if it has none
    adv_data: list[str] | None  # the adversarial sets it was trained on
    seed: int | None
    epochs: int | None
    num_params: int | None
    sources: list[str] | None  # the models whose examples it was trained on
    train_examples: int | None
    validation_accuracy: float | None
    test_accuracy: float | None
    weights_sha256: str
    adapted: list[str] | None  # what was done to a model from elsewhere
    warnings: list[str] | None  # what could not be done
    role: str  # "target", "source" or "control"; see `targets.roles`


class Signs(TypedDict, total=False):
    """What `red_flags` asks beyond counts; absent where it was not looked at.

    Of gradients at the clean images, `signs.Looks`; the others, `signs`.
    """

    untrained: bool  # its weights are as a new model has them
    still_right: int  # right when attacked, whatever they were when clean
    rounded: int  # resist when the examples are rounded to grey levels
    raised: int  # rightly classified, and less surely so when attacked
    missed: int  # fool what was attacked in the model's place, but not the model
    # Of a random model, classified on draws of its own: how many, on what share of them
    # an image is right clean and attacked, the mean over images, and its 95 % interval.
    draws: int
    right_share: float
    right_interval: list[float]
    fooled_by: dict[str, int]  # of a sequence: by which of its parts
    alike_clean: int  # of a deployed model: predicted as its parent does, when clean
    alike: int  # and when attacked, by the parent's examples
    seen: int  # rightly classified images whose gradients were looked at
    zero_gradients: int  # the gradient of the log odds is exactly zero
    zero_ce_gradients: int  # that of the cross-entropy is, in float32
    tiny_ce_gradients: int  # or it is below 1e-6 in every pixel
    median_log_odds: float | None  # of the label
    cosine: float | None  # median, of gradients half a grey level apart
    unstable: int  # wrong half a grey level apart


class Record(TypedDict):
    """One model under one condition; None where a field does not apply."""

    key: str  # unique
    target: str  # name of the model that is scored
    source: str | None  # the model that was attacked, "A+B" if several at once
    attack: str  # "clean", "fgsm", ...
    title: str | None  # the attack's name in a report
    # "clean", "white-box", "transfer", and "oblivious": crafted on the model without
    # its defence, where "white-box" is adaptive.
    setting: str
    norm: str | None  # "inf", "2", "1" or "0"
    goal: str | None  # "fixed-eps", "minimal-norm" or "none"
    access: str | None  # "gradients", "scores" or "decisions"
    eps: float | None
    eps_text: str | None  # as the user wrote it: "8/255"
    params: dict[str, Any]  # every hyperparameter
    adv_set: str | None  # name of the adversarial set
    num_examples: int
    clean_correct: int
    correct: int  # clean and attacked
    accuracy: float  # correct / num_examples
    interval: list[float]  # its 95 % Wilson interval
    fooled: int  # correct when clean and wrong when attacked; the norms are over these
    mean_l0: float | None
    mean_l1: float | None
    mean_l2: float | None
    mean_linf: float | None
    median_l0: float | None
    median_l1: float | None
    median_l2: float | None
    median_linf: float | None
    forwards: float  # mean forward passes of the attack per image
    backwards: float
    seconds: float
    signs: Signs | None


class Flag(TypedDict):
    """A reason to distrust a number; see `red_flags`."""

    flag: str
    where: str
    detail: str
    remedy: NotRequired[str]  # since format 4


class Results(TypedDict, total=False):
    """The content of `results.json`."""

    format: int
    dataset: dict[str, Any]
    models: dict[str, Model]
    records: list[Record]
    versions: dict[str, str]
    commands: list[str]  # that made the runs, the sets and the results
    flags: list[Flag]
    # Sets left out, each with its source, which has been trained again since.
    stale_sets: dict[str, str]
    # Name to models that differ by their seed; since format 5.
    groups: dict[str, list[str]]
    # Fields of `ThreatModel`: what was asked for, the headline first; since format 5.
    threat_models: list[dict[str, Any]]
    # "seed" and "batch_size" of white-box attacks; absent from former results.
    settings: dict[str, int]
    reference: list[Placement]  # the same


MODEL = tuple(Model.__annotations__)
RECORD = tuple(Record.__annotations__)


def save_results(directory: Path, results: Results, per_example: PerExample) -> None:
    """Writes `results.json` and `per_example.npz`, each whole or not at all.

    Args:
      directory: path.
      results: all of `Results` but its format, which is added.
      per_example: arrays by "KEY/NAME".

    Raises:
      ValueError: two records of one key, or a record or model that lacks a field.
    """
    _check(results)
    directory = pathlib.Path(directory)
    # The records last: each then finds its arrays, whenever this is interrupted.
    files.write_bytes(directory / "per_example.npz", _compressed(per_example))
    files.write_json(directory / "results.json", {"format": FORMAT, **results})


def load_results(directory: Path) -> tuple[Results, PerExample]:
    """Returns (results, per_example) as they were saved, in today's format.

    Raises:
      FileNotFoundError: there are no results in `directory`.
      ValueError: they are of an unknown format or not readable.
    """
    directory = pathlib.Path(directory)
    if not (directory / "results.json").exists():
        raise FileNotFoundError(
            f"No results.json in {directory}. Make it with `compare`."
        )
    results = files.read_json(directory / "results.json")
    if results.get("format") not in range(1, FORMAT + 1):
        raise ValueError(
            f"{directory}/results.json must be of format {FORMAT} or a former one. "
            f"Received: {results.get('format')!r}. Measure again with `compare` in "
            "another directory."
        )
    return _in_todays_format(results), _read_arrays(directory / "per_example.npz")


def store_of(output_dir: Path) -> pathlib.Path:
    """Where the measurements of an output directory are kept."""
    return pathlib.Path(output_dir, "measurements")


def store(directory: Path, record: Record, arrays: PerExample) -> None:
    """Keeps one measurement for any later report, whole or not at all.

    Args:
      directory: of the store; has a file per key.
      record: of one measurement.
      arrays: its per-example arrays by "KEY/NAME".
    """
    path = _stored_path(directory, record["key"])
    files.write_bytes(path, _compressed({"record": _text(record), **arrays}))


def stored(directory: Path, key: str) -> tuple[Record, PerExample] | None:
    """Returns (record, arrays) as they were stored under `key`, or None.

    Raises:
      ValueError: the file is damaged.
    """
    path = _stored_path(directory, key)
    if not path.exists():
        return None
    arrays = _read_arrays(path)
    return _record_today(json.loads(str(arrays.pop("record")))), arrays


# === Former formats ===


def _in_todays_format(results: dict[str, Any]) -> Results:
    models = {
        name: {"sources": None, "adapted": None, "warnings": None, **model}
        for name, model in results.get("models", {}).items()
    }
    records = [_record_today(record) for record in results.get("records", [])]
    absent: Any = {"threat_models": [], "groups": {}}
    return absent | results | {"format": FORMAT, "models": models, "records": records}


def _record_today(record: Any) -> Record:
    """Format 3 had no `signs`, 2 had `kind`; 1 counted gradients alone, in `passes`."""
    record = {"signs": None, **record}
    if "kind" not in record:
        return record
    today: Any = {"title": None, **without_kind(record)}
    if "passes" in today:
        gradients = today.pop("passes")
        today |= {"forwards": gradients, "backwards": gradients}
    return today


# === Parts ===


def _text(record: Record) -> np.ndarray:
    return np.array(json.dumps(record))


def _compressed(arrays: PerExample) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _stored_path(directory: Path, key: str) -> pathlib.Path:
    return pathlib.Path(directory) / f"{key}.npz"


def _check(results: Results) -> None:
    keys = [record.get("key") for record in results["records"]]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"Records need unique keys. Received twice: {twice}.")
    for record in results["records"]:
        _check_fields(record.get("key"), record, RECORD)
    for name, model in results["models"].items():
        _check_fields(name, model, MODEL)


def _check_fields(name: str, entry: Mapping, fields: tuple[str, ...]) -> None:
    lacking = [field for field in fields if field not in entry]
    if lacking:
        raise ValueError(
            f"The entry {name!r} lacks {', '.join(lacking)}. Give null where a value "
            "is unknown."
        )


def _read_arrays(path: pathlib.Path) -> PerExample:
    try:
        return untrusted.read_arrays(path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is missing or damaged ({error}). Remove it and measure again with "
            "`compare`."
        ) from error
