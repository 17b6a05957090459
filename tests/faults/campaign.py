"""What the campaigns of faults share: how many trials, the small work, and the counts.

A sample runs with every test; `bin/test --faults` runs them whole and prints how many
faults of which kind ended how.
"""

import collections
import json
import os
import re

import binaries
import numpy as np
import pytest

WHOLE = os.environ.get("FAULTS") == "whole"
only_whole = pytest.mark.skipif(not WHOLE, reason="bin/test --faults runs it")
COUNTS = collections.Counter()
TRAIN = [
    *("--dataset=digits", "--model=small_cnn", "--model_args=width=4"),
    *("--batch_size=32", "--epochs=3", "--train_examples=96"),
]
FGSM = ["--dataset=digits", "--batch_size=16", "--attack=fgsm", "--eps=0.1"]
REPORT = [
    *("--dataset=digits", "--batch_size=16", "--attacks=fgsm", "--eps=0.1"),
    *("--num_examples=16", "--num_costly=16"),
]
# Fields of results that time, or the place, decides.
_OF_THE_MOMENT = ("seconds", "commands", "versions")


def trials(sample, whole):
    """The numbers of the trials in this run."""
    return range(whole if WHOLE else sample)


def count(kind, outcome):
    """Note how a fault ended, for the summary."""
    COUNTS[kind, outcome] += 1


def succeeded(result):
    assert result.returncode == 0, result.stderr
    return result


def is_one_line(result):
    """Whether a command refused in one line; before it there may be progress."""
    *before, line = result.stderr.splitlines() or [""]
    said = re.match(
        "(train|make_adv|report|gate|export|bench): (?!This is a bug)", line
    )
    return result.returncode == 2 and said and "Traceback" not in "".join(before)


def weights(outputs, name="a"):
    """The hash of a run's weights and architecture."""
    return config(outputs, name)["weights_sha256"]


def config(outputs, name):
    """The configuration of a run."""
    return json.loads((outputs / "runs" / name / "config.json").read_text())


def set_files(outputs, name):
    """The SHA-256 of each file of an adversarial set."""
    return json.loads((outputs / "adv" / name / "config.json").read_text())["files"]


def numbers(outputs):
    """All that a report holds but what the moment decides."""
    results = json.loads((outputs / "report" / "results.json").read_text())
    with np.load(outputs / "report" / "per_example.npz") as arrays:
        held = {name: arrays[name].tolist() for name in sorted(arrays)}
    return _lasting(results), held


def _lasting(value):
    if isinstance(value, dict):
        return {k: _lasting(v) for k, v in value.items() if k not in _OF_THE_MOMENT}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


def make_base(outputs):
    """A finished run, a set of each kind, and a report."""
    there = f"--output_dir={outputs}"
    succeeded(binaries.run("train", *TRAIN, "--name=a", there))
    craft = [*FGSM, "--run=a", "--num_examples=32", there]
    succeeded(binaries.run("make_adv", *craft))
    succeeded(binaries.run("make_adv", *craft, "--split=train"))
    succeeded(binaries.run("report", *REPORT, there))
    return outputs
