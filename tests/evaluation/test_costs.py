"""What attacks are said to take: by passes that were counted, and by what is right."""

import pathlib

import keras
import numpy as np
import pytest

from tf_advdefense.attacks import ATTACKS
from tf_advdefense.attacks import make_attack
from tf_advdefense.evaluation import costs
from tf_advdefense.evaluation.costs import Cost
from tf_advdefense.evaluation.records import load_results

_RESULTS = pathlib.Path(__file__).resolve().parents[2] / "docs/results"
# Networks that draw, on which nothing stops early.
_RANDOM = {"crop_rescale", "tv", "quilting"}


def _counted():
    """Records of attacks that stop early and whose passes were counted."""
    for path in sorted(_RESULTS.rglob("results.json")):
        for record in load_results(path.parent)[0]["records"]:
            attack = ATTACKS.get(record["attack"])
            stops = attack is not None and attack.spent is not None
            own = record["setting"] == "white-box" and record["target"] not in _RANDOM
            if stops and own and record["forwards"]:
                yield record


def test_shares_are_those_that_were_counted():
    """Networks of all robustness: within a factor of two, or the passes of an image."""
    records = list(_counted())
    assert {r["attack"] for r in records} >= {"apgd_ce", "apgd_dlr", "autoattack", "cw"}
    assert max(r["accuracy"] for r in records) > 0.9
    for record in records:
        attack = make_attack(record["attack"])
        hyper = attack.hyper._asdict()
        given = {
            k: v for k, v in record["params"].items() if k in hyper and k != "norm"
        }
        shape = (28, 28, 1) if record["target"].startswith("mnist") else (32, 32, 3)
        most = sum(attack.replace(**given).cost(shape, 10))
        right = record["clean_correct"] / record["num_examples"]
        counted = record["forwards"] + record["backwards"]
        likely = most * costs.share(attack.spent, right, record["accuracy"])
        one = most / record["num_examples"]  # Of which the last attack fools one more.
        where = record["target"], record["attack"], counted, likely
        assert likely < 2 * counted + one and counted < 2 * likely + one, where


def _classifier(weight):
    """Of one pixel: its class is whether it lies above a half, surer by `weight`."""
    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Flatten(), dense])
    dense.set_weights([np.array([[-weight, weight]]), np.array([weight, -weight]) / 2])
    return model


def test_images_out_of_reach_take_all_passes(monkeypatch):
    monkeypatch.setattr(costs, "_SHORT", 0.0)
    monkeypatch.setattr(costs, "time_passes", lambda *_, **__: (1.0, 1.0))
    # Of 20 images 5 are wrong, 5 are within 0.1 of the other class, 10 are not.
    pixels = np.repeat(np.float32([0.9, 0.55, 0.95, 0.05]), 5)
    images, labels = pixels.reshape(20, 1, 1, 1), np.repeat([0, 1, 1, 0], 5)
    given = {"num_classes": 2, "batch_size": 20}
    attack = make_attack("apgd_ce", eps=0.1)
    cost = costs.cost_of(_classifier(4.0), [(attack, 40)], images, labels, **given)
    assert (
        cost.most
        == 2 * sum(attack.cost((1, 1, 1), 2)) - 2 * attack.cost((1, 1, 1), 2)[1]
    )
    assert cost.likely == pytest.approx(cost.most * (0.5 + 0.02 * 0.25))
    search = make_attack("cw")
    cost = costs.cost_of(_classifier(4.0), [(search, 20)], images, labels, **given)
    assert cost.likely == pytest.approx(cost.most * 0.3 * 0.75)
    steady = make_attack("pgd")
    cost = costs.cost_of(_classifier(4.0), [(steady, 20)], images, labels, **given)
    assert cost.likely == cost.most == 20.0
    aimed = costs.cost_of(
        _classifier(4.0), [(attack, 20)], images, labels, targeted=True, **given
    )
    assert aimed.likely is None


@pytest.mark.quick
def test_both_are_said():
    assert str(Cost(174.0, 582.0, "")) == "about 2.9 min, at most 9.7 min"
    assert str(Cost(None, 7.0, "")) == "at most 7.0 s"
    both = costs.total([Cost(174.0, 582.0, ""), Cost(None, 18.0, "")])
    assert (both.likely, both.most) == (192.0, 600.0)
    assert costs.total([Cost(None, 7.0, "")]).likely is None
