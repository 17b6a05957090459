"""What attackers craft on: all of a defended model, or less than that."""

import functools

import keras
import numpy as np
import pytest

from tf_advdefense import attacks
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.losses import margin
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.defenses import transforms
from tf_advdefense.defenses.adaptive import attacked_view
from tf_advdefense.evaluation import plan as planning
from tf_advdefense.evaluation import scoring as evaluation
from tf_advdefense.evaluation.targets import Target

SHAPE, CLASSES, T = (6, 6, 3), 4, 100.0


@functools.cache
def linear_model(scale=1.0):
    """A linear model, whose logits are `scale` times as large; traced once for all."""
    keras.utils.set_random_seed(4)
    dense = keras.layers.Dense(CLASSES, use_bias=False)
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), dense])
    dense.kernel.assign(scale * dense.kernel)
    return model


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).integers(0, 256, (40, *SHAPE), np.uint8)
    labels = np.argmax(linear_model()(images / np.float32(255)), -1)
    split = Split(images, labels, np.arange(40))
    return Dataset("shapes", tuple("abcd"), "f" * 64, split, split, split)


def test_an_undefended_model_is_attacked_as_it_is():
    model = linear_model()
    assert attacked_view("white-box", model) is model
    assert attacked_view("oblivious", model) is model


def test_who_overlooks_the_transformations_attacks_the_classifier():
    classifier = linear_model()
    layers = transforms.parse_transforms("bit_depth:bits=1")
    model = transforms.with_transforms(classifier, layers)
    assert attacked_view("oblivious", model) is classifier
    assert attacked_view("white-box", model) is model


def test_the_adaptive_attacker_divides_by_the_temperature(data):
    model = linear_model()
    images = data.test.images / np.float32(255)
    cooled = attacked_view("white-box", model, T)
    np.testing.assert_allclose(cooled(images), model(images) / T, rtol=1e-6)
    assert attacked_view("oblivious", model, T) is model


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd_ce"])
def test_vanished_gradients_are_no_robustness(data, name):
    """At a scale where float32's cross-entropy is exactly flat, as when distilled."""
    model = linear_model(scale=T * 1e3)
    chosen = [("0.3", attacks.make_attack(name, eps=0.3))]
    target = Target("a", None, "1" * 64, {}, temperature=T * 1e3, masked=True)
    _, white_box, oblivious = planning.plan(
        [target], [], chosen, data, num_examples=40, few=40, batch_size=40
    )
    accuracy = {}
    for measurement in (white_box, oblivious):
        record, _ = measurement.take(model, data, 40)
        assert record["clean_correct"] == 40 and record["source"] == "a"
        accuracy[record["setting"]] = record["accuracy"]
    assert accuracy["white-box"] <= 0.1
    # Who overlooks the temperature climbs the log odds, which do not vanish either.
    assert accuracy["oblivious"] <= 0.1
    # The plain model at the same place: the scale changes no class.
    fields, _ = evaluation.under_attack(linear_model(), chosen[0][1], data.test, 40)
    assert abs(fields["accuracy"] - accuracy["white-box"]) <= 0.05


def test_only_defences_that_can_be_overlooked_are_measured_twice(data):
    chosen = [("8/255", attacks.make_attack("fgsm"))]

    def plan(**fields):
        target = Target("a", None, "1" * 64, {}, **fields)
        return planning.plan(
            [target], [], chosen, data, num_examples=10, few=5, batch_size=4
        )

    plain, masked = plan(), plan(masked=True)
    assert [m.record["setting"] for m in plain] == ["clean", "white-box"]
    assert [m.record["setting"] for m in masked] == ["clean", "white-box", "oblivious"]
    assert masked[2].title == "fgsm 8/255 on a (oblivious)"
    assert [m.key for m in masked[:2]] == [m.key for m in plain]
    # Another temperature is another attack.
    assert plan(temperature=T)[1].key != plain[1].key
    assert plan(temperature=T)[0].key == plain[0].key


@functools.cache
def random_model():
    layers = transforms.parse_transforms("crop_rescale:fraction=0.7,draws=1")
    return transforms.with_transforms(linear_model(), layers, eot_draws=6)


# Attacks that stop at the first success of a deterministic model. Those below are
# traced once: whatever is not the radius is part of a trace.
SEARCHES = {
    "apgd_ce": {"n_iter": 15},
    "apgd_dlr": {"n_iter": 15},
    "noise": {"n_draws": 100},
    "square": {"n_queries": 60},
    "pgd": {"nb_iter": 5, "nb_restarts": 3},
    "spsa": {"nb_iter": 4, "spsa_samples": 4, "early_stop_loss_threshold": 0.0},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_of_a_random_model_the_first_success_is_not_enough(data, name):
    """It fools the expectation by a hair, and so every other draw."""
    attack = attacks.make_attack(name, eps=0.4, **SEARCHES[name])
    for model, stops in ((linear_model(), True), (random_model(), False)):
        forwards = craft(
            model, attack, data.test.images, data.test.labels, batch_size=40
        )["forwards"]
        assert (forwards < attack.cost(SHAPE, CLASSES)[0]).any() == stops


L1 = {"eps": 6.0, "norm": 1}


@pytest.mark.parametrize(
    "name, few, many",
    [
        ("noise", {"n_draws": 5}, {"n_draws": 100}),
        ("square", {"n_queries": 10}, {"n_queries": 60}),
        ("apgd_ce", {**L1, "n_iter": 4}, {**L1, "n_iter": 40}),
    ],
)
def test_what_fools_a_random_model_is_made_to_fool_it_by_more(data, name, few, many):
    model, labels = random_model(), data.test.labels
    leads = []
    for hyper in (few, many):
        attack = attacks.make_attack(name, **{"eps": 0.3, **hyper})
        adv = craft(model, attack, data.test.images, labels, batch_size=40)
        expected = inference(model)(adv["image"])
        leads.append(margin(labels, expected).numpy())
    fooled = leads[0] > 0
    assert fooled.sum() > 5
    assert leads[1][fooled].mean() > leads[0][fooled].mean() + 0.1


def test_the_mean_over_draws_is_not_taken_again(data):
    """AutoAttack's version for random models asks for 20 passes at each step."""
    once, often = (
        craft(
            random_model(),
            attacks.make_attack("apgd_ce", eps=0.4, n_iter=15, eot_iter=passes),
            data.test.images,
            data.test.labels,
            batch_size=40,
        )
        for passes in (1, 20)
    )
    for key in ("image", "forwards", "backwards"):
        np.testing.assert_array_equal(once[key], often[key])
