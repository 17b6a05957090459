"""Auto-PGD against its authors' code, closed forms and its own promises."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.attacks import autopgd
from tf_advdefense.attacks import autopgd_dense
from tf_advdefense.attacks import autopgd_sparse
from tf_advdefense.attacks import engine
from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks import stages
from tf_advdefense.attacks.contract import defaults

GOLDEN = pathlib.Path(__file__).parent / "golden" / "apgd.npz"
ATTACKS = {"ce": "apgd_ce", "dlr": "apgd_dlr", "targeted_dlr": "apgd_t"}
NORMS = {"inf": np.inf, "2": 2, "1": 1}
every_attack = pytest.mark.parametrize("name", ["apgd_ce", "apgd_dlr", "apgd_t"])
every_norm = pytest.mark.parametrize("norm, eps", [(np.inf, 0.05), (2, 0.5), (1, 2.0)])


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        return dict(arrays)


def golden_model(golden):
    weights = {name: golden[name].astype(np.float64) for name in ("w1", "w2")}

    def model(images):
        flat = tf.cast(tf.reshape(images, [len(images), -1]), tf.float64)
        hidden = tf.tanh(flat @ weights["w1"] + golden["b1"].astype(np.float64))
        return tf.cast(hidden @ weights["w2"] + golden["b2"], tf.float32)

    return model


GOLDEN_SETTINGS = ["ce_inf", "dlr_inf", "targeted_inf", "ce_l2", "targeted_l2"]
GOLDEN_SETTINGS += ["ce_l1", "dlr_l1"]


def test_every_golden_setting_is_checked(golden):
    stored = {key.removeprefix("args_") for key in golden if key.startswith("args_")}
    assert stored == set(GOLDEN_SETTINGS)


@pytest.mark.parametrize("setting", GOLDEN_SETTINGS)
def test_every_point_of_a_run_is_the_originals(golden, setting):
    model = golden_model(golden)
    arguments = json.loads(str(golden[f"args_{setting}"]))
    loss, order = arguments["loss"], NORMS[arguments["norm"]]
    attack = make_attack(ATTACKS[loss], eps=arguments["eps"], norm=order)
    settings = {**attack.hyper, "targeted": False, "clip_min": 0.0, "clip_max": 1.0}
    points = golden[f"points_{setting}"]
    rows = golden[f"rows_{setting}"]
    assert len(rows) >= 4
    x, y = (tf.constant(golden[name][rows]) for name in ("images", "labels"))
    state = attack.stages.init(model, x, y, tf.constant(0, tf.int64), y, settings)
    state["point"] = state["best"] = tf.constant(points[0])
    state.update({key: state["point"] for key in ("former",) if key in state})
    if loss == "targeted_dlr":
        np.testing.assert_array_equal(state["targets"][:, 0], golden["targets"][rows])

    @tf.function(autograph=False)
    def run(state, span):
        step = lambda state: autopgd._iterate(model, state, settings, loss)
        return stages.loop(step, state, span)

    for point in points[1:-1]:
        state = run(state, 4)
        np.testing.assert_allclose(state["point"], point, atol=1e-4)
    state = run(state, 1)
    np.testing.assert_allclose(state["answer"], points[-1], atol=1e-4)
