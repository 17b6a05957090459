"""The runner over arrays: fixed shapes, however the work is cut, honest counts."""

import dataclasses
import time

import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.craft import craft_batches
from tf_advdefense.attacks.core.craft import estimate
from tf_advdefense.attacks.core.craft import time_passes
from tf_advdefense.images import fitting

ATTACKS = {
    "fgsm": {"eps": 0.1},
    "pgd": {"eps": 0.1, "nb_iter": 3, "rand_init": True},
    "cw": {},
}
SHAPE = (6, 6, 3)
KEYS = {
    "image": np.float32,
    "label": np.int64,
    "clean_index": np.int64,
    "clean_prediction": np.int64,
    "prediction": np.int64,
    "l0": np.float32,
    "l1": np.float32,
    "l2": np.float32,
    "linf": np.float32,
    "forwards": np.int64,
    "backwards": np.int64,
}
TARGETED = {"targets": np.full(40, 2)}
every_attack = pytest.mark.parametrize("name", ATTACKS)


@pytest.fixture(scope="module")
def model():
    return small_models.network(3, shape=SHAPE)


@pytest.fixture(scope="module")
def data(model):
    images = small_models.random_images(40, shape=SHAPE)
    labels = small_models.classes(model, images)
    labels[::5] = (labels[::5] + 1) % 4  # a few are misclassified beforehand
    return images, labels


def attack(name):
    if name == "sequence":
        sequence = small_models.within_budget("autoattack")
        return dataclasses.replace(
            sequence, parts=lambda *_: list(map(attack, ATTACKS))
        )
    return small_models.within_budget(name, **ATTACKS[name])


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@every_attack
def test_batches_hold_every_image_once(model, data, name):
    images, labels = data
    index = np.arange(500, 540)
    batches = list(craft_batches(model, attack(name), *data, index, batch_size=16))
    assert [len(batch["image"]) for batch in batches] == [16, 16, 8]
    out = {key: np.concatenate([b[key] for b in batches]) for key in batches[0]}
    assert {key: value.dtype.type for key, value in out.items()} == KEYS
    np.testing.assert_array_equal(out["clean_index"], index)
    np.testing.assert_array_equal(out["label"], labels)
    for key, x in (("clean_prediction", images), ("prediction", out["image"])):
        np.testing.assert_array_equal(out[key], small_models.classes(model, x))
    eta = np.abs(out["image"] - images).reshape(40, -1)
    np.testing.assert_array_equal(out["l0"], np.count_nonzero(eta, axis=1))
    np.testing.assert_allclose(out["l1"], eta.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(out["l2"], np.linalg.norm(eta, axis=1), rtol=1e-5)
    np.testing.assert_allclose(out["linf"], eta.max(axis=1), rtol=1e-5)


@every_attack
def test_a_slice_gives_the_bytes_of_the_whole(model, data, name):
    images, labels = data
    index = np.arange(40)
    whole = craft(model, attack(name), images, labels, index, batch_size=16)
    for rows in (slice(16, 32), slice(32, 40)):
        part = craft(
            model, attack(name), images[rows], labels[rows], index[rows], batch_size=16
        )
        assert_equal(part, {key: value[rows] for key, value in whole.items()})


@every_attack
def test_one_batch_is_the_attack_itself(model, data, name):
    images, labels = data[0][:8], data[1][:8]
    out = craft(model, attack(name), images, labels, batch_size=8, seed=2)
    adv = attack(name)(model, images, labels, seed=2)
    np.testing.assert_array_equal(out["image"], adv)


def test_dropping_finished_images_changes_rounding_only(model, data):
    images, labels = data[0][:32], data[1][:32]
    out = craft(model, attack("cw"), images, labels, batch_size=32)
    # Inside a tf.function every image stays until all are done.
    adv = tf.function(lambda: attack("cw")(model, images, labels))().numpy()
    close = np.max(np.abs(out["image"] - adv), axis=(1, 2, 3)) < 1e-4
    assert np.mean(close) >= 0.9


@every_attack
def test_eight_bit_images_are_divided_by_255(model, data, name):
    images, labels = data
    bytes_ = np.round(images * 255).astype(np.uint8)
    assert_equal(
        craft(model, attack(name), bytes_, labels, batch_size=16),
        craft(model, attack(name), bytes_ / np.float32(255), labels, batch_size=16),
    )


@every_attack
def test_nothing_is_traced_after_the_first_pass(model, data, name):
    counted, traces = small_models.counted(model)
    craft(counted, attack(name), *data, batch_size=16)
    assert {shape[0] for shape in traces} <= {16, None}
    first = len(traces)
    craft(counted, attack(name), data[0][::-1], data[1][::-1], batch_size=16)
    assert len(traces) == first


@every_attack
def test_a_model_that_overflows_is_refused(model, data, name):
    with pytest.raises(ValueError, match="gradient of the model's loss must be finite"):
        craft(lambda x: model(x) * np.nan, attack(name), *data, batch_size=16)


def test_fixed_batches_are_traced_in_the_first_batch(model, data):
    counted, traces = small_models.counted(model)
    batches = craft_batches(counted, attack("fgsm"), *data, batch_size=16)
    next(batches)
    first = len(traces)
    assert len(list(batches)) == 2 and len(traces) == first


def test_passes_count_the_gradients(model, data):
    out = craft(model, attack("pgd"), *data, batch_size=16)
    assert np.all(out["forwards"] == 3) and np.all(out["backwards"] == 3)
    out = craft(model, attack("cw"), *data, batch_size=16)
    misclassified = out["clean_prediction"] != out["label"]
    assert np.any(misclassified)
    np.testing.assert_array_equal(out["forwards"], out["backwards"])
    assert np.all(out["backwards"][misclassified] == 1)
    assert np.all(out["l2"][misclassified] == 0)
    assert np.all(out["backwards"][~misclassified] > 2)
    assert np.all(out["backwards"] <= attack("cw").cost(SHAPE, 4)[1])


def test_targets_and_predicted_labels(model, data):
    images, labels = data
    targets = (small_models.classes(model, images) + 1) % 4
    out = craft(model, attack("cw"), *data, targets=targets, batch_size=16)
    assert np.mean(out["prediction"] == targets) > 0.9
    np.testing.assert_array_equal(out["label"], labels)
    out = craft(model, attack("cw"), *data, attack_labels="predicted", batch_size=16)
    assert np.all(out["l2"] > 0)
    assert np.mean(out["prediction"] != out["clean_prediction"]) > 0.9


def test_padding_costs_an_attack_that_stops_per_image_nothing(model, data):
    sizes = []
    images, labels = data[0][:3], data[1][:3]
    cw = attack("cw")

    def advance(model_fn, state, hyper, task):
        sizes.append(len(state.progress.done))
        return cw.advance(model_fn, state, hyper, task)

    watched = dataclasses.replace(cw, advance=advance)
    craft(model, watched, images, labels, batch_size=64)
    assert set(sizes) == {8}


@pytest.mark.parametrize("settings", [{}, {"attack_labels": "predicted"}, TARGETED])
@pytest.mark.parametrize("name", [*ATTACKS, "sequence"])
def test_progress_counts_up_to_all_images(model, data, name, settings):
    """An image that was wrong before the attack is not fooled by it."""
    calls = []
    out = craft(
        model,
        attack(name),
        *data,
        batch_size=16,
        progress=lambda *numbers: calls.append(numbers),
        **settings,
    )
    done, totals, fooled = zip(*calls)
    assert sorted(done) == list(done) and sorted(fooled) == list(fooled)
    assert set(totals) == {40} and done[-1] == 40
    right = out["clean_prediction"] == out["label"]
    assert fooled[-1] == np.sum(right & (out["prediction"] != out["label"]))
    assert fooled[-1] < np.sum(out["prediction"] != out["label"])


def test_the_end_is_told_once(model, data):
    """Of a sequence, too, whose parts have fooled all before it ends."""
    calls = []
    parts = [attack("fgsm"), attack("cw"), attack("pgd")]
    sequence = dataclasses.replace(attack("sequence"), parts=lambda *_: parts)
    craft(model, sequence, *data, batch_size=40, progress=lambda *n: calls.append(n))
    assert [done for done, *_ in calls].count(40) == 1


def test_estimate_is_batches_times_passes(model, data, monkeypatch):
    ticks = iter([0.0, 1.0, 100.0, 102.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    seconds = time_passes(model, data[0], batch_size=16)
    assert seconds == (1.0, 2.0)
    kind = {"image_shape": data[0].shape[1:], "num_classes": 4, "batch_size": 16}
    gradients = estimate(attack("cw"), 40, seconds, **kind)
    assert gradients == 80 * 3 * 2.0
    queries = dataclasses.replace(attack("cw"), passes=lambda *_: (50, 20))
    both = estimate(queries, 40, seconds, **kind)
    assert both == (20 * 2.0 + 30 * 1.0) * 3


@pytest.mark.parametrize(
    "message, settings",
    [
        ("`labels` must have one entry per image. Received: shape (3,) for 40", {}),
        ("`targets` must have one entry per image", {"targets": np.zeros(2, int)}),
        ("`index` must have one entry per image", {"index": np.arange(7)}),
        ("`attack_labels` must be 'true' or 'predicted'", {"attack_labels": "all"}),
    ],
)
def test_arrays_that_do_not_fit_are_refused(model, data, message, settings):
    labels = data[1] if settings else data[1][:3]
    with pytest.raises(ValueError) as error:
        craft(model, attack("fgsm"), data[0], labels, **settings)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "batch_size, number, size",
    [(128, 128, 128), (128, 65, 128), (128, 64, 64), (4096, 16, 16), (99, 3, 99)],
)
def test_few_images_make_a_small_batch(batch_size, number, size):
    assert fitting(batch_size, number) == size
