"""HopSkipJump, iteration by iteration, against CleverHans' on the same draws."""

import json

from closed_forms import SHAPE
from closed_forms import length
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.black_box import hop_skip_jump as module
from tf_advdefense.attacks.black_box import hop_skip_jump_phases as phases
from tf_advdefense.attacks.core import draws
from tf_advdefense.attacks.core.attack import Task
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.model_fn import inference

GOLDEN_SETTINGS = [
    "l2",
    "l2_grid",
    "l2_gamma",
    "inf",
    "inf_grid",
    "l2_targeted",
    "inf_targeted",
]
both_norms = pytest.mark.parametrize("norm", [2, np.inf])


@pytest.fixture(scope="module")
def golden():
    return small_models.golden_arrays("hop_skip_jump")


def test_every_golden_setting_is_checked(golden):
    assert small_models.golden_settings(golden) == set(GOLDEN_SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("setting", GOLDEN_SETTINGS)
def test_every_iteration_comes_as_far_as_cleverhans(golden, setting, monkeypatch):
    def recorded(name):
        def draw(keys, counter, shape):
            # Rows that ask for something else count further than the table goes.
            iteration, evaluation = (
                tf.minimum(part, length - 1)
                for part, length in zip(counter, golden[name].shape)
            )
            return tf.gather_nd(golden[name], tf.stack([iteration, evaluation], 1))

        return draw

    for name in ("normal", "uniform"):
        monkeypatch.setattr(draws, name, recorded(name))
    hyper = json.loads(str(golden[f"args_{setting}"]))
    targeted = hyper.pop("targeted", False)
    hyper["norm"] = {"inf": np.inf, 2: 2}[hyper["norm"]]
    if targeted:
        hyper["image_target"] = golden["starts"]
    distances, best = trace(small_models.two_layers(golden), golden, targeted, hyper)
    np.testing.assert_allclose(
        distances, golden[f"distances_{setting}"], rtol=1e-3, atol=1e-6
    )
    assert np.all(best <= distances[-1] + 1e-6)


def trace(model, golden, targeted, hyper):
    """The distance of each image after every iteration, and the result's."""
    attack = make_attack("hop_skip_jump", **hyper)
    x = tf.constant(golden["images"])
    y = golden["targets"] if targeted else np.argmax(model(x), axis=1)
    model, task, keys = inference(model), Task(targeted), row_keys(0, tf.range(len(x)))
    state = module.init(model, x, tf.constant(y), keys, attack.hyper, task)

    def query(state, distances):
        new = module.query(model, state, attack.hyper, task)
        turned = tf.where(new.iteration != state.iteration)[:, 0]
        place = tf.stack(
            [tf.gather(new.iteration, turned), tf.cast(turned, "int32")], 1
        )
        found = tf.gather(new.distance, turned)
        return new, tf.tensor_scatter_nd_update(distances, place, found)

    @tf.function
    def run(*states):
        working = lambda state, _: ~tf.reduce_all(state.progress.done)
        return tf.while_loop(working, query, states)

    distances = tf.zeros((hyper["num_iterations"] + 1, len(x)))
    state, distances = run(state, distances)
    return distances.numpy(), state.best_distance.numpy()


@both_norms
def test_a_direction_is_the_mean_of_samples_by_their_centred_answers(norm):
    rng = np.random.default_rng(2)
    samples = rng.normal(size=(7, 4, *SHAPE)).astype(np.float32)
    samples[:, 3] = 0  # noise that float32 or the bounds have swallowed
    answers = np.sign(rng.normal(size=(7, 4))).astype(np.float32)
    answers[:, 1], answers[:, 2] = 1, -1
    weights = answers - answers.mean(axis=0) * (np.abs(answers.mean(axis=0)) < 1)
    expected = np.einsum("in,inhwc->nhwc", weights, samples)
    direction = phases.estimated_direction(
        np.einsum("in,inhwc->nhwc", answers, samples),
        samples.sum(axis=0),
        answers.mean(axis=0),
        norm,
    ).numpy()
    if norm == 2:
        expected[:3] /= length(expected, 2)[:3].reshape(-1, 1, 1, 1)
    else:
        expected = np.sign(expected)
    np.testing.assert_allclose(direction, expected, atol=1e-6)
