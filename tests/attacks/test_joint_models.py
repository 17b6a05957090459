"""Attacks on several models at once: the mean of their losses, the joint decision."""

import numpy as np
import pytest
import small_models
from small_models import BUDGETS
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.core.model_fn import joint_logits
from tf_advdefense.attacks.gradient.fast_gradient import fgsm

STEPS = {"eps": 0.1, "eps_iter": 0.03, "nb_iter": 4}
# Attacks on a loss, and those on a decision.
ON_LOSSES = {
    "fgsm": {"eps": 0.1},
    "fgsm-2": {"eps": 0.5, "norm": 2},
    "fgsm-1": {"eps": 0.5, "norm": 1},
    "bim": STEPS,
    "mim": STEPS,
    "pgd": {**STEPS, "rand_init": True},
    "pgd-2": {**STEPS, "norm": 2},
    "pgd-1": {**STEPS, "eps": 2.0, "norm": 1},
    "pgd-margin": {**STEPS, "loss": "margin"},
    "pgd-restarts": {**STEPS, "eps": 0.01, "nb_restarts": 3},
    "sparse_l1": {"nb_iter": 4},
}
ON_DECISIONS = {
    "cw": {**BUDGETS["cw"], "max_iterations": 60, "binary_search_steps": 3},
    "fmn": {"steps": 30},
    "minimal_eps": {"nb_iter": 5},
}


@pytest.fixture(scope="module")
def models():
    return [small_models.network(1), small_models.network(2)]


@pytest.fixture(scope="module")
def images():
    return small_models.random_images(6, seed=5)


@pytest.fixture(scope="module")
def labels(models, images):
    return small_models.classes(inference(models), images)


def attack(case):
    hyper = {**ON_LOSSES, **ON_DECISIONS}[case]
    return make_attack(case.split("-")[0], **hyper)


@pytest.mark.slow
@pytest.mark.parametrize("case", ON_LOSSES)
def test_a_model_twice_is_the_model(models, images, labels, case):
    model = models[0]
    alone = attack(case)(model, images, labels, seed=3)
    np.testing.assert_allclose(
        attack(case)([model, model], images, labels, seed=3), alone, atol=1e-6
    )
    np.testing.assert_array_equal(attack(case)([model], images, labels, seed=3), alone)


def gradients(models, images, labels):
    """Of the mean of the losses, and of the loss of the mean of log-probabilities."""
    x = tf.constant(images)
    loss_fn = tf.nn.sparse_softmax_cross_entropy_with_logits
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        logits = [model(x) for model in models]
        mean = sum(loss_fn(labels, each) for each in logits) / len(logits)
        joint = loss_fn(labels, joint_logits(logits))
    return tape.gradient(mean, x).numpy(), tape.gradient(joint, x).numpy()


@pytest.mark.parametrize("targeted", [False, True])
def test_one_step_goes_along_the_mean_loss(models, images, labels, targeted):
    mean, joint = gradients(models, images, labels)
    step = fgsm(models, images, labels, targeted, eps=0.01) - images
    step, inside = step.numpy(), (images > 0.02) & (images < 0.98)
    sign = -1 if targeted else 1
    np.testing.assert_array_equal(np.sign(step)[inside], sign * np.sign(mean)[inside])
    assert np.any(np.sign(joint)[inside] != np.sign(mean)[inside])


@pytest.mark.parametrize("case", ["fgsm", "bim", "mim", "pgd", "pgd-margin"])
def test_the_order_of_the_models_is_of_no_matter(models, images, labels, case):
    np.testing.assert_allclose(
        attack(case)(models, images, labels),
        attack(case)(models[::-1], images, labels),
        atol=1e-6,
    )


@pytest.mark.parametrize("case", [*ON_LOSSES, *ON_DECISIONS])
def test_neighbours_have_no_influence(models, images, labels, case):
    adv = attack(case)(models, images, labels).numpy()[2]
    others = images * np.nan
    others[2] = images[2]
    np.testing.assert_array_equal(attack(case)(models, others, labels)[2], adv)
    assert np.any(adv != images[2])


@pytest.mark.parametrize("case", [*ON_LOSSES, *ON_DECISIONS])
def test_the_joint_classifier_is_misled(models, images, labels, case):
    """Its loss rises, and the attacks on decisions change them."""
    logits_fn = inference(models)
    adv = attack(case)(models, images, labels)
    loss = [
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits_fn(x)).numpy()
        for x in (images, adv)
    ]
    assert np.all(loss[1] > loss[0])
    if case in ON_DECISIONS:
        assert np.all(small_models.classes(logits_fn, adv) != labels)


def test_models_again_are_not_traced_anew(models, images, labels):
    counted, traces = small_models.counted(models[0])
    for case in ("fgsm", "pgd", "pgd-margin"):
        attack(case)([counted, models[1]], images, labels)
        first = len(traces)
        attack(case)([counted, models[1]], images, labels)
        assert len(traces) == first
