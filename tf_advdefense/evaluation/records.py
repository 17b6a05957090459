"""Results: what was measured, example by example, in one versioned format.

    results, per_example = load_results("outputs/report")
    results["records"][0]["correct"] == per_example["resnet50/fgsm/ok"].sum()

`results.json` is {"format": 2, "dataset": {...}, "models": {name: MODEL fields},
"records": [RECORD fields, ...], "versions": {...}, "commands": [...]}, and
`per_example.npz` beside it holds, for each record's `key`, the arrays

    KEY/index     int32    the images' indices in their split
    KEY/clean_ok  bool     correctly classified when clean
    KEY/ok        bool     correctly classified when clean *and* when attacked
    KEY/l1, KEY/l2, KEY/linf  float32  norms of the perturbations

so that every number of a report can be computed anew. This module does without
TensorFlow, and so does whoever only reads results.
"""

import io
import json
import math
import pathlib

import numpy as np

from tf_advdefense.artifacts import files

FORMAT = 2
MODEL = (
    *("model", "defense", "adv_data", "seed", "epochs", "num_params"),
    "sources",  # names of the models whose examples it was trained on, or null
    *("train_examples", "validation_accuracy", "test_accuracy", "weights_sha256"),
    "role",  # "target", "source" or "control"
)
RECORD = (
    "key",  # unique
    *("target", "source"),  # names of models; the source is null for clean images
    # "clean", "fgsm", ...; "clean", "white-box", "transfer", and "oblivious": crafted
    # on the model without its defence, where "white-box" is adaptive.
    *("attack", "setting"),
    *("norm", "kind"),  # "inf", "2", "1" or null; see attacks.ATTACKS
    *("eps", "eps_text", "params", "adv_set"),
    *("num_examples", "clean_correct", "correct"),  # correct: clean and attacked
    *("accuracy", "interval"),  # correct / num_examples, and its 95 % Wilson interval
    "fooled",  # correct when clean and wrong when attacked; the norms are over these
    *("mean_l0", "mean_l1", "mean_l2", "mean_linf"),
    *("median_l0", "median_l1", "median_l2", "median_linf"),
    *("forwards", "backwards"),  # mean passes of the attack per image
    "seconds",
)


def wilson(correct, total, z=1.959964):
    """The interval of Wilson (1927) for a share, by default at 95 %.

    Args:
      correct, total: counts, 0 <= correct <= total.
      z: normal quantile of the confidence level.

    Returns:
      (low, high) within [0, 1]; (0, 1) when `total` is 0.
    """
    if total == 0:
        return 0.0, 1.0
    share, weight = correct / total, z * z / total
    centre = share + weight / 2
    half = z * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    return (
        max(0.0, (centre - half) / (1 + weight)),
        min(1.0, (centre + half) / (1 + weight)),
    )


def save_results(directory, results, per_example):
    """Writes `results.json` and `per_example.npz`, each whole or not at all.

    Args:
        directory: path.
        results: dict of the format above; "format" is added.
        per_example: dict of arrays by "KEY/NAME".

    Raises:
        ValueError: two records of one key, or a record or model that lacks a field.
    """
    _check(results)
    directory = pathlib.Path(directory)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **per_example)
    # The records last: each then finds its arrays, whenever this is interrupted.
    files.write_bytes(directory / "per_example.npz", buffer.getvalue())
    files.write_json(directory / "results.json", {"format": FORMAT, **results})


def load_results(directory):
    """Returns (results, per_example) as they were saved.

    Raises:
        FileNotFoundError: there are no results in `directory`.
        ValueError: they are of another format or not readable.
    """
    directory = pathlib.Path(directory)
    if not (directory / "results.json").exists():
        raise FileNotFoundError(
            f"No results.json in {directory}. Make it with bin/report."
        )
    results = files.read_json(directory / "results.json")
    if results.get("format") != FORMAT:
        raise ValueError(
            f"{directory}/results.json must be of format {FORMAT}. Received: "
            f"{results.get('format')!r}. Measure again with bin/report in another "
            "directory."
        )
    return results, _read_arrays(directory / "per_example.npz")


def store(directory, record, arrays):
    """Keeps one measurement for any later report, whole or not at all.

    Args:
        directory: of the store; has a file per key.
        record: a record of the format above.
        arrays: its per-example arrays by "KEY/NAME".
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, allow_pickle=False, record=np.array(json.dumps(record)), **arrays
    )
    files.write_bytes(_stored_path(directory, record["key"]), buffer.getvalue())


def stored(directory, key):
    """Returns (record, arrays) as they were stored under `key`, or None.

    Raises:
        ValueError: the file is damaged.
    """
    path = _stored_path(directory, key)
    if not path.exists():
        return None
    arrays = _read_arrays(path)
    return json.loads(str(arrays.pop("record"))), arrays


def _stored_path(directory, key):
    return pathlib.Path(directory) / f"{key}.npz"


def _check(results):
    keys = [record.get("key") for record in results["records"]]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"Records need unique keys. Received twice: {twice}.")
    for fields, entries in (
        (RECORD, zip(keys, results["records"])),
        (MODEL, results["models"].items()),
    ):
        for name, entry in entries:
            lacking = [field for field in fields if field not in entry]
            if lacking:
                raise ValueError(
                    f"The entry {name!r} lacks {', '.join(lacking)}. Give null where "
                    "a value is unknown."
                )


def _read_arrays(path):
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # NumPy lets through what zipfile and zlib raise.
        raise ValueError(
            f"{path} is missing or damaged ({error}). Remove it and measure again with "
            "bin/report."
        ) from error
