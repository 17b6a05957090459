"""What changed between two result files, against counting by hand; their page."""

import copy
import json
import subprocess
import sys

import binaries
import numpy as np
import pytest

from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.changes import changes
from tf_advdefense.evaluation.statistics import mcnemar
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.reporting import comparison

pytestmark = pytest.mark.quick


def record(target, attack, ok, **fields):
    ok = np.asarray(ok)
    absent = dict.fromkeys(records.RECORD)
    told = {"key": f"{target}-{attack}", "target": target, "attack": attack}
    counts = {"num_examples": len(ok), "correct": int(ok.sum()), "signs": None}
    setting = "clean" if attack == "clean" else "white-box"
    return {
        **absent,
        **told,
        **counts,
        "params": {},
        "setting": setting,
        "accuracy": ok.mean(),
        "interval": wilson(int(ok.sum()), len(ok)),
        **fields,
    }


def made(seed, names=("a",), count=40, first=0):
    """Results of models that were attacked in one ball, on images from `first` on."""
    draws = np.random.default_rng(seed)
    results = {
        "dataset": {"name": "d", "fingerprint": "f" * 64, "class_names": ["x", "y"]},
        "models": {
            name: {**dict.fromkeys(records.MODEL), "weights_sha256": name}
            for name in names
        },
        "records": [],
        "flags": [],
        "commands": [],
        "versions": {},
        "threat_models": [
            {"norm": "inf", "eps": 0.1, "eps_text": "0.1", "knowledge": "white-box"}
        ],
    }
    arrays = {}
    ball = {"norm": "inf", "eps": 0.1, "eps_text": "0.1", "goal": "fixed-eps"}
    ball |= {"access": "gradients"}
    for name in names:
        clean = draws.random(count) < 0.9
        for attack, rate in (("clean", 1.0), ("pgd", 0.6), ("fgsm", 0.7)):
            ok = clean & (draws.random(count) < rate)
            fields = {} if attack == "clean" else {**ball, "params": {"eps": 0.1}}
            found = record(name, attack, ok, **fields)
            results["records"].append(found)
            key = found["key"]
            arrays[f"{key}/index"] = np.arange(first, first + count)
            arrays[f"{key}/clean_ok"], arrays[f"{key}/ok"] = clean, ok
    return results, arrays


def by_name(found):
    return {(c.model, c.kind, c.what): c for c in found.each}


def counted(old, new):
    """(only new, only old, difference) of boolean arrays of the same images."""
    return (new & ~old).sum(), (old & ~new).sum(), new.mean() - old.mean()


def test_every_condition_is_counted_by_hand():
    old, new = made(0), made(1)
    found = by_name(changes(old, new))
    assert list(found) == [
        ("a", "clean", "no attack"),
        ("a", "threat model", "L∞ 0.1"),
        ("a", "attack", "PGD L∞ 0.1"),
        ("a", "attack", "FGSM L∞ 0.1"),
    ]
    then, now = (
        [a[f"a-{n}/ok"] for n in ("clean", "pgd", "fgsm")] for _, a in (old, new)
    )
    worst = then[1] & then[2], now[1] & now[2]
    pairs = [(then[0], now[0]), worst, (then[1], now[1]), (then[2], now[2])]
    for change, each in zip(found.values(), pairs):
        only_new, only_old, difference = counted(*each)
        assert (change.pair.only_first, change.pair.only_second) == (only_new, only_old)
        assert change.pair.gain == pytest.approx(difference)
        assert change.pair.p == mcnemar(only_new, only_old)
        assert change.as_json()["new_correct"] == each[1].sum()
        assert change.as_json()["old_correct"] == each[0].sum()


def test_images_that_differ_are_left_out_and_told():
    old, new = made(0), made(1, first=10)
    found = changes(old, new)
    assert {c.pair.n for c in found.each} == {30}
    assert "Only common images count under no attack (30 of 40 and 40)" in found.note
    (clean, *_) = found.each
    expected = counted(old[1]["a-clean/ok"][10:], new[1]["a-clean/ok"][:30])
    assert (clean.pair.only_first, clean.pair.only_second) == expected[:2]
    assert "\n" not in found.note
    assert "The same images" in changes(old, made(1)).note


def test_models_of_one_name_or_the_only_ones():
    assert changes(made(0), made(1, ["b"])).each[0].model == "a -> b"
    found = changes(made(0, ["a", "b"]), made(1, ["b", "c"]))
    assert {c.model for c in found.each} == {"b"}
    with pytest.raises(ValueError, match="Received: a, b and c, d."):
        changes(made(0, ["a", "b"]), made(1, ["c", "d"]))


@pytest.mark.parametrize("field, value", [("eps", 0.2), ("params", {"eps": 0.3})])
def test_other_conditions_are_not_shared(field, value):
    old, new = made(0), made(1)
    for each in new[0]["records"][1:]:
        each[field] = value
    assert not [c for c in changes(old, new).each if c.kind == "attack"]


def test_examples_of_a_source_that_was_trained_again_are_others():
    old, new = made(0, ["a", "s"]), made(1, ["a", "s"])
    for results, _ in (old, new):
        results["records"][1] |= {"setting": "transfer", "source": "s"}
    assert ("a", "attack", "PGD L∞ 0.1 of s") in by_name(changes(old, new))
    new[0]["models"]["s"]["weights_sha256"] = "again"
    assert ("a", "attack", "PGD L∞ 0.1 of s") not in by_name(changes(old, new))


def test_other_data_sets_are_refused_and_other_names_told():
    old, new = made(0), made(1)
    new[0]["dataset"] = {**new[0]["dataset"], "name": "e"}
    assert "The data set is called d and e" in changes(old, new).note
    new[0]["dataset"]["fingerprint"] = "e" * 64
    with pytest.raises(ValueError, match="the same data set") as error:
        changes(old, new)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="images in common"):
        changes(made(0), made(1, first=100))


def test_the_page_and_its_numbers(tmp_path):
    found = changes(made(0), made(1))
    path = comparison.write(tmp_path, found, "old/results.json", "new")
    text = (tmp_path / "comparison.md").read_text()
    assert path == str(tmp_path / "comparison.md") and "`old/results.json`" in text
    told = json.loads((tmp_path / "comparison.json").read_text())
    assert told["changes"] == [c.as_json() for c in found.each]
    assert told["note"] == found.note and found.note in text
    lines = str(comparison.table(found)).splitlines()
    assert len(lines) == 1 + 4 and text.count("\n| a |") == 4
    first = found.each[0].pair
    assert f"{100 * first.correct[1] / first.n:.1f}" in lines[1].split()


# === The command ===


@pytest.fixture
def two(tmp_path):
    for name, loaded in (("old", made(0)), ("new", made(1))):
        records.save_results(tmp_path / name, *copy.deepcopy(loaded))
    return f"--compare={tmp_path}/old/results.json,{tmp_path}/new"


def test_the_command_prints_and_writes(two, tmp_path):
    result = binaries.run("report", two, f"--report_dir={tmp_path}/report")
    assert result.returncode == 0 and not result.stderr
    assert "PGD L∞ 0.1" in result.stdout and "of 4 tests" in result.stdout
    assert (tmp_path / "report" / "comparison.json").exists()
    assert str(tmp_path / "report" / "comparison.md") in result.stdout
    alone = two.rpartition(",")[0]
    result = binaries.run("report", alone, f"--report_dir={tmp_path}/no")
    assert result.returncode == 2 and "takes two result files" in result.stderr
    assert not (tmp_path / "no").exists()


def test_tensorflow_is_not_loaded(two, tmp_path):
    script = (
        "import sys\n"
        "from tf_advdefense.commands import main\n"
        "code = main.run(sys.argv[1:])\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    line = [sys.executable, "-c", script, "report", two, f"--output_dir={tmp_path}"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
