"""Where a model stands among the zoo's networks: paired or not, and how it is said."""

import math

import numpy as np
import pytest

from tf_advdefense import zoo
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.reference import placements
from tf_advdefense.reporting import reference
from tf_advdefense.reporting.contents import build_report

N = 100
DATA = {"name": "cifar10", "fingerprint": "f", "class_names": ["a", "b"], "num_test": N}


def measured(right, fingerprint="f", attack="autoattack", eps=8 / 255, **other):
    """Results of models, each right under attack on its first so many images."""
    found, arrays = [], {}
    for name, number in right.items():
        key = f"{name}/{attack}"
        ok = np.arange(N) < number
        arrays[f"{key}/index"] = np.arange(N, dtype=np.int32)
        arrays[f"{key}/clean_ok"], arrays[f"{key}/ok"] = np.ones(N, bool), ok
        record = dict.fromkeys(records.RECORD) | {
            "key": key,
            "target": name,
            "attack": attack,
            "setting": "white-box",
            "title": "AutoAttack",
            "norm": "inf",
            "goal": "fixed-eps",
            "access": "gradients",
            "eps": eps,
            "eps_text": "8/255",
            "params": {},
            "num_examples": N,
            "clean_correct": N,
            "correct": number,
            "accuracy": number / N,
            "interval": [0.0, 1.0],
            "fooled": N - number,
            "forwards": 1.0,
            "backwards": 1.0,
            "seconds": 1.0,
            **other,
        }
        found.append(record)
    models = {
        name: dict.fromkeys(records.MODEL)
        | {"defense": "none", "role": "target", "weights_sha256": f"of {name}"}
        for name in right
    }
    results = {
        "dataset": {**DATA, "fingerprint": fingerprint},
        "models": models,
        "records": found,
        "versions": {},
        "commands": [],
        "flags": [],
        "threat_models": [],
    }
    return results, arrays


@pytest.fixture
def three(tmp_path, monkeypatch):
    """A zoo of three networks."""
    known = measured({"zoo-plain": 0, "zoo-middle": 40, "zoo-best": 80})
    records.save_results(tmp_path, *known)
    monkeypatch.setattr(zoo, "DIRECTORY", tmp_path)


def test_on_the_same_images_it_is_mcnemars_test(three):
    (found,) = placements(*measured({"mine": 45}))
    assert found["target"] == "mine" and found["same_images"]
    assert [each["name"] for each in found["networks"]] == [
        *("zoo-best", "zoo-middle", "zoo-plain")
    ]
    best, middle, plain = found["networks"]
    # 5 images more than `middle`, and none fewer: p = 2 / 2**5.
    assert (middle["gain"], middle["p"]) == pytest.approx((0.05, 1 / 16))
    assert (middle["stands"], middle["num_examples"]) == ("alike", N)
    assert (best["stands"], plain["stands"]) == ("below", "above")
    assert best["gain"] == pytest.approx(-0.35) and best["accuracy"] == 0.8


def test_on_another_copy_it_is_fishers_test(three):
    (found,) = placements(*measured({"mine": 45}, fingerprint="g"))
    assert not found["same_images"]
    best, middle, plain = found["networks"]
    # Of 85 of 200 images, 100 of which are the model's, 45 or a likelier number are.
    ways = [math.comb(100, k) * math.comb(100, 85 - k) for k in range(86)]
    p = sum(w for w in ways if w <= ways[45]) / sum(ways)
    assert middle["p"] == pytest.approx(p)
    assert [each["stands"] for each in found["networks"]] == ["below", "alike", "above"]


@pytest.mark.parametrize(
    "other",
    [
        {"attack": "pgd"},
        {"eps": 4 / 255},
        {"norm": "2"},
        {"setting": "transfer"},
    ],
)
def test_nothing_but_autoattack_in_the_same_ball_is_compared(three, other):
    assert placements(*measured({"mine": 45}, **other)) == []


def test_its_networks_are_not_placed_among_themselves(three):
    results, arrays = measured({"mine": 45, "zoo-best": 80})
    (found,) = placements(results, arrays)
    assert found["target"] == "mine"


def test_other_classes_have_no_reference(three):
    results, arrays = measured({"mine": 45})
    results["dataset"]["class_names"] = ["a", "c"]
    assert placements(results, arrays) == []


def test_an_empty_zoo_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "DIRECTORY", tmp_path)
    assert placements(*measured({"mine": 45})) == []


def test_what_a_report_says(three):
    results, arrays = measured({"mine": 45})
    results["reference"] = placements(results, arrays)
    said = (
        "`mine` is more robust than 1 of the 3 networks of the zoo under AutoAttack at "
        "L∞ 8/255, not told apart from 1, less robust than 1 (McNemar's exact test, "
        "the same images)."
    )
    assert reference.sentences(results) == [said]
    report = build_report(results, arrays)
    assert said in report.support
    section = next(s for s in report.sections if s.title.startswith("Beside the net"))
    table = section.blocks[1]
    assert [row[0].text for row in table.rows] == [
        *("`zoo-best`", "`zoo-middle`", "`zoo-plain`")
    ]
    assert [cell.text for cell in table.rows[1][1:]] == ["40.0", "+5.0", "0.062", "100"]
