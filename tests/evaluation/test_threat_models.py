"""Threat models against worst cases counted by hand, image by image."""

import numpy as np
import pytest

from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.evaluation.threat_models import ThreatModel
from tf_advdefense.evaluation.threat_models import curve
from tf_advdefense.evaluation.threat_models import knowledge_of
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.evaluation.threat_models import threat_models

FIELDS = {
    "target": "a",
    "setting": "white-box",
    "access": "gradients",
    "goal": "fixed-eps",
    "norm": "inf",
    "eps": 0.1,
    "eps_text": "0.1",
}
CLEAN = [1, 1, 1, 1, 1, 0]


def results(*measured):
    """Results of (fields, indices, right, distances) of one model, six images."""
    records, arrays = [], {}
    for number, (fields, index, ok, distance) in enumerate(measured):
        record = {**FIELDS, "attack": f"attack{number}", "key": f"k{number}", **fields}
        records.append(record)
        norm = record["norm"] or "2"
        arrays |= {
            f"k{number}/index": np.array(index),
            f"k{number}/clean_ok": np.array([CLEAN[i] for i in index], bool),
            f"k{number}/ok": np.array(ok, bool),
            f"k{number}/l{norm}": np.array(distance, np.float32),
        }
    return {"records": records}, arrays


SIX = range(6)
WEAK = ({}, SIX, [1, 1, 1, 0, 1, 0], [0.1] * 6)
STRONG = ({}, [5, 4, 3, 2, 1], [0, 1, 1, 0, 1], [0.1] * 5)
SMALLER = ({"eps": 0.05, "eps_text": "0.05"}, SIX, [1, 0, 1, 1, 1, 0], [0.05] * 6)
NEAR = (
    {"eps": None, "goal": "minimal-norm"},
    SIX,
    [0, 0, 0, 0, 0, 0],
    [0.3, 0.2, 0.2, 0.2, 0.099, 0],
)
BALL = ThreatModel("inf", 0.1)


@pytest.mark.quick
def test_the_worst_case_is_of_the_images_that_all_attacks_at_the_radius_share():
    found = robustness(*results(WEAK, STRONG), "a", BALL)
    assert found.index.tolist() == [1, 2, 3, 4, 5]
    assert found.clean_ok.tolist() == [True, True, True, True, False]
    # 2 falls to the strong one, 3 to the weak one, 5 is wrong anyway.
    assert found.ok.tolist() == [True, False, False, True, False]
    assert (found.accuracy, found.clean_accuracy) == (0.4, 0.8)
    assert found.interval == wilson(2, 5) and found.keys == ("k0", "k1")


@pytest.mark.quick
@pytest.mark.parametrize(
    "other, falls",
    [
        (SMALLER, 1),  # the larger ball holds the smaller one
        (NEAR, 4),  # a minimal norm within it
        (
            ({"norm": "2", "eps": 1.0}, SIX, [0] * 6, [1.0] * 6),
            None,
        ),  # its linf is unknown
        (({"target": "b"}, SIX, [0] * 6, [0.1] * 6), None),
    ],
)
def test_any_example_in_the_ball_counts(other, falls):
    found = robustness(*results(WEAK, other), "a", BALL)
    expected = [bool(ok) and i != falls for i, ok in enumerate(WEAK[2])]
    assert found.ok.tolist() == expected


@pytest.mark.quick
def test_who_knows_less_can_do_less():
    transfer = ({"setting": "transfer"}, SIX, [0, 1, 1, 1, 1, 0], [0.1] * 6)
    queries = ({"access": "scores"}, SIX, [1, 0, 1, 1, 1, 0], [0.1] * 6)
    measured = results(WEAK, transfer, queries)
    assert [knowledge_of(r) for r in measured[0]["records"]] == [
        "white-box",
        "transfer",
        "black-box",
    ]
    for knowledge, right in (("transfer", 4), ("black-box", 3), ("white-box", 2)):
        threat = ThreatModel("inf", 0.1, knowledge=knowledge)
        assert robustness(*measured, "a", threat).correct == right, knowledge


@pytest.mark.quick
def test_examples_of_its_parent_are_all_there_is_to_know_of_a_deployed_model():
    """Without a gradient of its own, and not those of whichever other model."""
    signs = {"alike_clean": 6, "alike": 4}
    transfer = ({"setting": "transfer"}, SIX, [0, 1, 1, 1, 1, 0], [0.1] * 6)
    parents = ({**transfer[0], "signs": signs}, *transfer[1:])
    queries = ({"access": "scores"}, SIX, [1, 0, 1, 1, 1, 0], [0.1] * 6)
    assert robustness(*results(transfer), "a", BALL) is None
    found, arrays = results(parents)
    assert knowledge_of(found["records"][0]) == "transfer"
    assert robustness(found, arrays, "a", BALL).correct == 4
    assert robustness(*results(parents, queries), "a", BALL).correct == 3
    # A random search on the parent has climbed nothing.
    noise = ({**parents[0], "access": "scores"}, *parents[1:])
    assert threat_models(results(noise)[0])[0].knowledge == "black-box"


@pytest.mark.quick
@pytest.mark.parametrize("searched", [False, True])
def test_several_deployed_models_do_not_hide_their_parents_own_numbers(searched):
    deployed = [
        (
            {"target": name, "setting": "transfer", "signs": {"alike": 6}},
            SIX,
            CLEAN,
            [0.1] * 6,
        )
        for name in ("b", "c")
    ]
    queries = [
        ({"target": name, "access": "scores"}, SIX, CLEAN, [0.1] * 6)
        for name in ("a", "b", "c")
    ]
    found, arrays = results(WEAK, *deployed, *(queries if searched else ()))
    (threat,) = threat_models(found)
    assert threat.knowledge == "white-box"
    right = [robustness(found, arrays, name, threat).correct for name in "abc"]
    assert right == [4, 5, 5]


@pytest.mark.quick
def test_a_minimal_norm_alone_answers_any_radius():
    measured = results(NEAR)
    for eps, right in ((0.0, 5), (0.098, 5), (0.1, 4), (0.2, 1), (0.3, 0)):
        assert robustness(*measured, "a", ThreatModel("inf", eps)).correct == right
    assert robustness(*measured, "a", ThreatModel("2", 1.0)) is None
    clean_ok, reach = curve(*measured, "a", "inf")
    assert (clean_ok & (reach > 0)).sum() == 5
    np.testing.assert_allclose(reach, [0.3, 0.2, 0.2, 0.2, 0.099, 0])


@pytest.mark.quick
def test_float32_distances_at_the_radius_are_within_it():
    eps = 8 / 255
    measured = results(({"eps": eps}, SIX, [0] * 6, [np.float32(eps) + 4e-9] * 6))
    assert robustness(*measured, "a", ThreatModel("inf", eps)).correct == 0


@pytest.mark.quick
def test_the_headline_is_what_was_asked_for_or_attacked_most():
    at = lambda eps, norm="inf": ({"eps": eps, "norm": norm}, SIX, CLEAN, [eps] * 6)
    asked = [{"norm": "2", "eps": 0.5, "eps_text": "0.5", "knowledge": "white-box"}]
    found, arrays = results(at(2 / 255), at(8 / 255), at(10.0, "1"), at(10.0, "1"))
    assert [t.norm for t in threat_models(found)] == ["1", "inf", "inf"]
    assert [t.eps for t in threat_models(found)][1] == 8 / 255
    assert threat_models({**found, "threat_models": asked}) == [ThreatModel("2", 0.5)]
