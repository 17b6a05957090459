"""Defences: losses against NumPy, and which adversarial sets each may train on."""

import functools
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense import defenses
from tf_advdefense.defenses import DEFENSES

SHAPE = (4, 4, 3)
losses = pytest.mark.parametrize("name", DEFENSES)


def make_model():
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(momentum=0.75),
            keras.layers.Dense(3, bias_initializer="normal"),
        ]
    )


@functools.cache
def same_model():
    """Where its moving statistics do not matter: attacks on it are traced once."""
    return make_model()


@pytest.fixture
def batch():
    random = np.random.default_rng(6)
    return {
        "image": random.random((5, *SHAPE), np.float32),
        "label": random.integers(0, 3, 5),
        "adv_image": random.random((2, *SHAPE), np.float32) / 2,
        "adv_label": random.integers(0, 3, 2),
    }


def logits_of(model, images):
    """In training mode: normalised by the batch's own statistics."""
    x = images.reshape(len(images), -1).astype(np.float64)
    norm, dense = model.layers[1:]
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + norm.epsilon)
    return x @ np.asarray(dense.kernel) + np.asarray(dense.bias)


def cross_entropy(logits, labels):
    own = logits[np.arange(len(labels)), labels]
    return np.mean(np.log(np.exp(logits).sum(-1)) - own)


# === Losses ===


def test_plain_is_the_cross_entropy_of_clean_images(batch):
    model = make_model()
    loss, logits = defenses.make_defense("none")(model, batch)
    expected = logits_of(model, batch["image"])
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(loss, cross_entropy(expected, batch["label"]), rtol=1e-5)


@pytest.mark.parametrize("name", ["none", "adversarial"])
def test_label_smoothing_spreads_its_share_over_all_classes(name, batch):
    loss, _ = defenses.make_defense(name, label_smoothing=0.3)(make_model(), batch)
    kinds = ["", "adv_"] if name == "adversarial" else [""]
    images = np.concatenate([batch[f"{kind}image"] for kind in kinds])
    labels = np.concatenate([batch[f"{kind}label"] for kind in kinds])
    expected = logits_of(make_model(), images)
    uniform = np.mean(
        [
            cross_entropy(expected, np.full_like(labels, c))
            for c in range(expected.shape[1])
        ]
    )
    np.testing.assert_allclose(
        loss, 0.7 * cross_entropy(expected, labels) + 0.3 * uniform, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["pgd_at", "fast_at", "fgsm_at"])
def test_label_smoothing_of_crafted_images(name, batch):
    """At a radius of 0 it is that of the clean images."""
    hyper = {"label_smoothing": 0.3}
    loss, _ = defenses.make_defense(name, eps=0.0, **hyper)(make_model(), batch)
    plain, _ = defenses.make_defense("none", **hyper)(make_model(), batch)
    without, _ = defenses.make_defense("none")(make_model(), batch)
    np.testing.assert_allclose(loss, plain, rtol=1e-5)
    assert abs(float(plain - without)) > 1e-3


@pytest.mark.quick
@pytest.mark.parametrize("name", ["adversarial", "ensemble"])
def test_mixed_is_the_mean_over_both_in_one_pass(name, batch):
    model = make_model()
    loss, logits = defenses.make_defense(name)(model, batch)
    images = np.concatenate([batch["image"], batch["adv_image"]])
    labels = np.concatenate([batch["label"], batch["adv_label"]])
    expected = logits_of(model, images)
    np.testing.assert_allclose(loss, cross_entropy(expected, labels), rtol=1e-5)
    np.testing.assert_allclose(logits, expected[:5], atol=1e-5)
    # BatchNorm saw all seven images, once.
    mean = images.reshape(7, -1).mean(0)
    np.testing.assert_allclose(model.layers[1].moving_mean, 0.25 * mean, rtol=1e-5)


@losses
def test_loss_has_gradients(name, batch):
    model = same_model()
    everything = {"teacher": make_model(), "sources": [make_model()]}
    parts = {part: everything[part] for part in defenses.needed_parts(name)}
    quick = dict(nb_iter_linf=2, nb_iter_l2=2, nb_iter_l1=2)
    hyper = quick if name == "multi_norm" else {}
    with tf.GradientTape() as tape:
        loss, logits = defenses.make_defense(name, parts=parts, **hyper)(model, batch)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert loss.shape == () and logits.shape == (5, 3)
    assert all(np.isfinite(g).all() and np.any(g) for g in gradients)


# === Which sets ===


def config(source="resnet50", *, split="train", fingerprint="f", shape=SHAPE):
    return {
        "image_shape": list(shape),
        "request": {
            "source_model": source,
            "split": split,
            "dataset": "digits",
            "dataset_fingerprint": fingerprint,
        },
    }


def check(name, sets, model_name="resnet50"):
    defenses.check_sets(
        name, model_name=model_name, dataset="f", image_shape=SHAPE, sets=sets
    )


def test_sets_that_fit():
    check("none", {})
    check("adversarial", {"a": config(), "b": config()})
    check("ensemble", {"a": config("alexnet")})
    check("ensemble", {"a": config("alexnet"), "b": config("resnet50")})


@pytest.mark.quick
@pytest.mark.parametrize(
    "name, sets, message",
    [
        ("none", {"a": config()}, "=none` uses no adversarial sets.*: adv_data=a"),
        ("adversarial", {}, "=adversarial` needs adversarial sets.*split='train'"),
        ("ensemble", {}, "=ensemble` needs adversarial sets.*`make_set\\("),
        ("adversarial", {"a": config(fingerprint="g")}, "'a' made from digits"),
        ("ensemble", {"a": config("vgg", shape=(8, 8, 3))}, r"\[8, 8, 3\] for \[4, 4,"),
        ("adversarial", {"a": config(split="test")}, "must not see test images.*'a'"),
        ("ensemble", {"a": config("vgg", split="validation")}, "see validation images"),
        ("adversarial", {"a": config("vgg")}, "crafted on vgg for `model=resnet50`"),
        ("adversarial", {"a": config(), "b": config("vgg")}, "a set crafted on vgg"),
        ("ensemble", {"a": config()}, "only sets of resnet50.*another run"),
        ("ensemble", {"a": config("vgg"), "b": config(split="test")}, "test images.*b"),
        ("ensembel", {}, "Unknown defence 'ensembel'. Did you mean 'ensemble'"),
    ],
)
def test_refusals(name, sets, message):
    with pytest.raises(ValueError, match=message) as error:
        check(name, sets)
    assert "\n" not in str(error.value)


def test_unknown_names_everywhere():
    for function in (
        defenses.make_defense,
        defenses.needs_sets,
        defenses.needed_parts,
    ):
        with pytest.raises(ValueError, match="Unknown defence 'x'. Known: none"):
            function("x")


def test_needs_sets():
    assert [name for name in DEFENSES if defenses.needs_sets(name)] == [
        "adversarial",
        "ensemble",
    ]


def test_sources_are_drawn_alike_then_their_sets():
    sets = {"a": config("alexnet"), "b": config("vgg"), "c": config("alexnet")}
    assert defenses.set_weights(sets) == {"a": 0.25, "b": 0.5, "c": 0.25}
    assert defenses.set_weights({"a": config()}) == {"a": 1.0}
    assert defenses.set_weights({}) == {}


# === The registry ===


def test_names_and_summaries_are_known_without_tensorflow():
    script = """
import sys
from tf_advdefense import defenses
from tf_advdefense.defenses.choices import CRAFT_BN
from tf_advdefense.defenses.transforms import TRANSFORMS
from tf_advdefense.strategies import STRATEGIES
from tf_advdefense.training.registry import OPTIMIZERS, SCHEDULES
print(*defenses.SUMMARIES, *CRAFT_BN, *TRANSFORMS, *STRATEGIES)
print(*OPTIMIZERS, *SCHEDULES, "keras" in sys.modules, "tensorflow" in sys.modules)
"""
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[-2:] == ["False", "False"]
    assert {"pgd_at", "training", "jpeg", "mirrored", "sgd", "cyclic"} <= set(words)


@losses
def test_a_defence_is_one_explicit_object(name):
    entry = DEFENSES[name]
    assert entry.name == name and entry.summary == defenses.SUMMARIES[name]
    published = "arXiv", "openreview"
    cited = any(place in type(entry.hyper).__doc__ for place in published)
    assert cited or name == "none"
    parts = {part: [] for part in entry.parts}
    defense = defenses.make_defense(name, parts=parts)
    assert repr(defense).startswith(f"{name}(")
    assert (defense.craft is None) == (entry.craft is None)
    assert set(entry.hyper._asdict()) <= set(defense.hyper)
