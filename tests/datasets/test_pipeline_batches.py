"""Training batches: functions of (seed, epoch, position), and the adversarial mix."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.datasets import Split
from tf_advdefense.datasets import augmentation
from tf_advdefense.datasets import cutmix
from tf_advdefense.datasets import pipeline

SIDE = 6
CLEAN, BATCH = 23, 5
STEPS = CLEAN // BATCH
FOUR = augmentation.Augmentation(flip=True, pad=4)


def make_split(size=CLEAN):
    """Image i is grey level i everywhere, and has label 100 + i."""
    images = np.zeros((size, SIDE, SIDE, 3), np.uint8)
    images += np.arange(size, dtype=np.uint8)[:, np.newaxis, np.newaxis, np.newaxis]
    return Split(images, 100 + np.arange(size), np.arange(size))


def adversarial_images(level, count=40):
    """Endless images at level + i/1000, with label 1000 * level + i."""
    number = np.arange(count)
    images = np.ones((count, SIDE, SIDE, 3), np.float32)
    images *= (level + number / 1000).astype(np.float32).reshape(-1, 1, 1, 1)
    examples = {"image": images, "label": (1000 * level + number).astype(np.int64)}
    return tf.data.Dataset.from_tensor_slices(examples).repeat()


def two_sources(epoch):
    return [(0.25, adversarial_images(0.5)), (0.75, adversarial_images(0.75))]


def batches(split=None, **options):
    options = {
        "batch_size": BATCH,
        "epochs": 1,
        "seed": 0,
        "augment": FOUR,
        "augment_adv": FOUR,
        **options,
    }
    return list(
        pipeline.training_batches(split or make_split(), **options).as_numpy_iterator()
    )


def assert_equal(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], strict=True)


def labels(left):
    return np.concatenate([batch["label"] for batch in left])


# === Clean batches ===


def test_batches_hold_the_images_in_float32():
    for batch in batches(augment=None):
        assert batch["image"].dtype == np.float32 and batch["label"].dtype == np.int64
        levels = (batch["label"] - 100) / np.float32(255)
        expected = np.broadcast_to(levels.reshape(-1, 1, 1, 1), batch["image"].shape)
        np.testing.assert_allclose(batch["image"], expected, atol=1e-7)


def test_an_epoch_never_repeats_an_image():
    for epoch in range(3):
        seen = labels(batches(initial_epoch=epoch, epochs=epoch + 1, augment=None))
        assert len(seen) == STEPS * BATCH == len(set(seen))


def test_every_image_gets_its_turn():
    seen = labels(batches(epochs=6, augment=None))
    assert set(seen) == set(100 + np.arange(CLEAN))


@pytest.mark.parametrize("adversarial", [None, two_sources])
def test_batches_are_a_function_of_seed_and_epoch(adversarial):
    options = {"adversarial": adversarial, "adv_fraction": 0.4}
    first = batches(epochs=2, **options)
    tf.random.set_seed(77)
    assert_equal(first, batches(epochs=2, **options))
    assert_equal(first[STEPS:], batches(initial_epoch=1, epochs=2, **options))
    assert_equal(first[:STEPS], batches(**options))
    within = {"initial_epoch": 1, "initial_step": 3, **options}
    assert_equal(first[STEPS + 3 :], batches(epochs=2, **within))
    whole = pipeline.training_batches(
        make_split(), batch_size=BATCH, epochs=2, seed=0, **within
    )
    assert int(whole.cardinality()) == STEPS - 3


def test_seeds_and_epochs_differ():
    orders = [labels(batches(seed=seed, epochs=2, augment=None)) for seed in range(3)]
    orders = [tuple(half) for order in orders for half in np.split(order, 2)]
    assert len(set(orders)) == 6


def test_the_share_of_adversarial_images_leaves_the_order_of_clean_ones():
    mixed = batches(adversarial=two_sources, adv_fraction=0.4, augment=None)
    plain = batches(augment=None)
    np.testing.assert_array_equal(labels(mixed), labels(plain)[: STEPS * 3])


# === Adversarial batches ===


@pytest.mark.parametrize(
    "batch_size, fraction, number",
    [(5, 0.4, 2), (8, 1 / 3, 3), (8, 0.5, 4), (7, 0.9, 6)],
)
def test_adversarial_images_replace_clean_ones(batch_size, fraction, number):
    mixed = batches(
        batch_size=batch_size, adversarial=two_sources, adv_fraction=fraction
    )
    assert len(mixed) == CLEAN // batch_size
    for batch in mixed:
        assert len(batch["image"]) == len(batch["label"]) == batch_size - number
        assert len(batch["adv_image"]) == len(batch["adv_label"]) == number
        assert batch["adv_image"].dtype == np.float32


def test_one_source_per_batch_and_pairs_stay_paired():
    for batch in batches(
        adversarial=two_sources, adv_fraction=0.4, augment_adv=None, augment=None
    ):
        assert len({label < 600 for label in batch["adv_label"]}) == 1
        level = np.where(batch["adv_label"] < 600, 0.5, 0.75)
        expected = level + (batch["adv_label"] - 1000 * level) / 1000
        assert np.ptp(batch["adv_image"], axis=(1, 2, 3)).max() == 0
        np.testing.assert_allclose(batch["adv_image"][:, 0, 0, 0], expected, atol=1e-6)


def test_sources_are_drawn_by_weight():
    mixed = batches(
        make_split(250),
        batch_size=2,
        epochs=3,
        adversarial=two_sources,
        augment=None,
        augment_adv=None,
    )
    second = np.mean([batch["adv_label"][0] > 600 for batch in mixed])
    assert len(mixed) == 375 and 0.69 < second < 0.81  # 0.75, 2.7 standard errors.


def test_sources_are_given_the_epoch():
    def sources(epoch):
        def of_epoch(example):
            return {**example, "label": epoch}

        return [(share, each.map(of_epoch)) for share, each in two_sources(epoch)]

    found = batches(adversarial=sources, initial_epoch=2, epochs=4)
    steps = len(found) // 2
    asked = [set(batch["adv_label"].tolist()) for batch in found]
    assert asked == [{2}] * steps + [{3}] * steps


def test_augment_adv_off_leaves_adversarial_images_untouched():
    options = {"adversarial": two_sources, "adv_fraction": 0.4}
    cropped = batches(**options)
    plain = batches(augment_adv=None, **options)
    for a, b in zip(cropped, plain):
        assert np.ptp(b["adv_image"], axis=(1, 2, 3)).max() == 0
        np.testing.assert_array_equal(a["adv_label"], b["adv_label"])
        np.testing.assert_array_equal(a["image"], b["image"])
    # Zero padding shows up in at least some crops.
    assert min(batch["adv_image"].min() for batch in cropped) == 0


def test_clean_and_adversarial_halves_draw_their_crops_apart():
    image = np.random.default_rng(0).integers(1, 255, (1, 8, 8, 3), dtype=np.uint8)
    split = Split(np.repeat(image, 64, 0), np.zeros(64, np.int64), np.arange(64))
    examples = {"image": image / np.float32(255), "label": np.zeros(1, np.int64)}
    same = tf.data.Dataset.from_tensor_slices(examples).repeat()
    (batch,) = batches(split, batch_size=64, adversarial=lambda epoch: [(1, same)])
    equal = np.all(batch["image"] == batch["adv_image"], axis=(1, 2, 3))
    assert equal.mean() < 0.2


# === Flip and crop ===


def flips_and_crops(image, pad=4):
    """{bytes of the result: (flipped, top, left)} for each of the 162 draws."""
    found = {}
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[top : top + height, left : left + width]
            found[crop.tobytes()] = (0, top, left)
            found[np.ascontiguousarray(crop[:, ::-1]).tobytes()] = (1, top, left)
    return found


def test_augmented_images_are_flips_and_crops():
    image = np.random.default_rng(1).random((9, 7, 3), np.float32)
    found = flips_and_crops(image)
    assert len(found) == 162
    images = tf.constant(np.repeat(image[np.newaxis], 3000, 0))
    augmented = FOUR(images, tf.constant([3, 4], tf.int64))
    draws = [found[result.tobytes()] for result in augmented.numpy()]
    counts = np.array(list(collections.Counter(draws).values()))
    # Uniform over all 162: chi-squared with 161 degrees of freedom, p > 1e-4.
    expected = len(draws) / 162
    assert len(counts) == 162
    assert np.sum((counts - expected) ** 2) / expected < 235


def test_augmentation_is_drawn_slot_by_slot():
    random = np.random.default_rng(2)
    images = random.random((16, 8, 8, 3), np.float32)
    other = random.random((16, 8, 8, 3), np.float32)
    other[5] = images[5]
    seed = tf.constant([3, 4], tf.int64)
    left, right = (FOUR(x, seed).numpy() for x in (images, other))
    np.testing.assert_array_equal(left[5], right[5])
    for image, result in zip(images, left):
        assert result.tobytes() in flips_and_crops(image)


def test_every_batch_has_draws_of_its_own():
    image = np.random.default_rng(0).integers(1, 255, (1, 8, 8, 3), dtype=np.uint8)
    split = Split(np.repeat(image, 32, 0), np.zeros(32, np.int64), np.arange(32))
    seen = batches(split, batch_size=16, epochs=2)
    assert len({batch["image"].tobytes() for batch in seen}) == 4


def test_without_flips_and_padding_nothing_changes():
    images = tf.constant(np.random.default_rng(3).random((16, 8, 8, 3), np.float32))
    none = augmentation.Augmentation(flip=False, pad=0)
    unchanged = none(images, tf.constant([3, 4], tf.int64))
    np.testing.assert_array_equal(unchanged, images)


@pytest.mark.parametrize(
    "name, flip",
    [
        ("cifar10", True),
        ("folder:/data/mnist", True),
        ("cifar10_corrupted/fog_1", True),
        ("digits", False),
        ("mnist", False),
        ("svhn_cropped", False),
        ("emnist/letters", False),
    ],
)
def test_characters_are_not_flipped(name, flip):
    assert augmentation.of(name, (32, 32, 3)).flip == flip


@pytest.mark.parametrize("side, pad", [(28, 2), (32, 2), (96, 6), (224, 14)])
def test_crops_grow_with_the_image(side, pad):
    assert augmentation.of("cifar10", (side, side, 3)).pad == pad


# === Parts, resized ===


def parts(area, number=2000, flip=True, seed=(3, 4)):
    """[top, left, bottom, right] of what is seen, of images that hold coordinates."""
    rows, columns = np.mgrid[:9, :7].astype(np.float32)
    image = np.stack([rows / 8, columns / 6], axis=-1)
    images = tf.constant(np.repeat(image[np.newaxis], number, 0))
    augment = augmentation.Augmentation(flip=flip, pad=0, area=area)
    seen = augment(images, tf.constant(seed, tf.int64)).numpy()
    assert seen.shape == images.shape
    first, last = seen[:, 0, 0], seen[:, -1, -1]
    # Bilinear: between the corners the coordinates grow evenly.
    even = np.linspace(first[:, 1], last[:, 1], 7, axis=-1)
    np.testing.assert_allclose(seen[:, 4, :, 1], even, atol=1e-5)
    return np.concatenate([first, last], axis=1).T


def test_a_part_is_within_the_image_and_of_its_area_and_sides():
    top, left, bottom, right = parts(0.25, flip=False)
    for low, high in ((top, bottom), (left, right)):
        assert np.all((low >= -1e-6) & (low < high) & (high <= 1 + 1e-6))
    height, width = bottom - top, right - left
    whole = (height > 1 - 1e-5) | (width > 1 - 1e-5)  # cut to the image's side
    assert 0.05 < whole.mean() < 0.5
    area = (height * width)[~whole]
    assert area.min() > 0.25 - 1e-5 and area.max() < 1
    assert np.abs(np.log(width / height)).max() < np.log(4 / 3) + 1e-4
    # Of those that are not cut, sides and places are even on both axes.
    assert abs(np.mean(np.log(width / height)[~whole])) < 0.02
    np.testing.assert_allclose(np.mean(top + bottom), 1, atol=0.02)
    np.testing.assert_allclose(np.mean(left + right), 1, atol=0.02)


def test_half_of_the_parts_are_mirrored_and_equal_seeds_see_equal_parts():
    _, left, _, right = seen = parts(0.08)
    assert 0.46 < np.mean(left > right) < 0.54
    np.testing.assert_array_equal(seen, parts(0.08))
    assert np.any(np.abs(parts(0.08, seed=(3, 5)) - seen) > 0.01)


# === Cutout ===


def test_a_square_is_cut_out_around_a_pixel_of_each_image():
    side, size = 9, 4
    images = tf.ones((4000, side, side, 3))
    seed = tf.constant([3, 4], tf.int64)
    cut = augmentation.Augmentation(False, 0, cutout=size)(images, seed).numpy()
    assert set(np.unique(cut)) == {0.5, 1.0}
    gone = cut[..., 0] == 0.5
    assert np.all(gone[..., np.newaxis] == (cut == 0.5))
    rows, columns = gone.any(2), gone.any(1)
    # A rectangle is the product of its rows and columns.
    np.testing.assert_array_equal(gone, rows[:, :, np.newaxis] & columns[:, np.newaxis])
    for lines in (rows, columns):
        lengths = lines.sum(1)
        # Around pixels 0, 1 and 8 the border takes two, one and one of the four.
        counts = np.bincount(lengths, minlength=5) / len(lengths)
        np.testing.assert_allclose(counts[1:], [0, 1 / 9, 2 / 9, 6 / 9], atol=0.03)


def test_what_was_drawn_without_cutout_is_drawn_with_it():
    images = tf.constant(np.random.default_rng(3).random((16, 8, 8, 3), np.float32))
    seed = tf.constant([3, 4], tf.int64)
    without, with_ = (
        FOUR._replace(cutout=cutout)(images, seed).numpy() for cutout in (None, 3)
    )
    assert np.all((with_ == without) | (with_ == 0.5))
    assert 16 * 4 < np.sum((with_ == 0.5).all(-1)) <= 16 * 9


# === CutMix ===

CLASSES = 100 + CLEAN


def mixed(images, labels, share=1.0, classes=CLASSES):
    seed = tf.constant([3, 4], tf.int64)
    mix = cutmix.CutMix(share, classes)
    return (each.numpy() for each in mix(tf.constant(images), labels, seed))


def test_a_rectangle_of_the_image_before_takes_its_share_of_the_class():
    number, side = 4000, 16
    # Pixels that name their image, row and column: what is pasted stays in its place.
    at = np.stack(np.meshgrid(*[np.arange(side)] * 2, indexing="ij"), -1)
    at = np.broadcast_to(at, (number, side, side, 2))
    whose = np.broadcast_to(np.arange(number).reshape(-1, 1, 1, 1), at.shape[:3] + (1,))
    images = np.concatenate([whose, at], axis=-1).astype(np.float32)
    seen, targets = mixed(images, np.arange(number), classes=number)
    np.testing.assert_array_equal(seen[..., 1:], images[..., 1:])
    before = (np.arange(number) - 1) % number
    foreign = seen[..., 0] == before.reshape(-1, 1, 1)
    assert np.all(foreign | (seen[..., 0] == images[..., 0]))
    rows, columns = foreign.any(2), foreign.any(1)
    np.testing.assert_array_equal(
        foreign, rows[:, :, np.newaxis] & columns[:, np.newaxis]
    )
    part = foreign.mean((1, 2))
    np.testing.assert_allclose(targets[np.arange(number), before], part, atol=1e-6)
    np.testing.assert_allclose(
        targets[np.arange(number), np.arange(number)], 1 - part, atol=1e-6
    )
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    # Nothing is lost around pixels of the middle; the share drawn is uniform, its root
    # rounded down to pixels.
    inside = ~(rows[:, [0, -1]].any(1) | columns[:, [0, -1]].any(1))
    assert part[inside].max() < 1
    assert np.all(rows.sum(1)[inside] == columns.sum(1)[inside])


def test_shares_of_uncut_rectangles_are_uniform():
    """Of one wide pixel row nothing is lost at the top, and the side is the root."""
    number, side = 8000, 64
    images = np.zeros((number, side, side, 1), np.float32)
    images[0] = 1
    _, targets = mixed(images, np.arange(number) % 2, classes=2)
    part = targets[np.arange(number), (np.arange(number) - 1) % 2]
    # E of the area within: with side s = sqrt(u) and a uniform centre, a share
    # s - s^2 / 4 of the length lies inside; its square's mean over u is
    # E[s^2 - s^3 / 2 + s^4 / 16] = 1/2 - 1/5 + 1/48.
    assert abs(part.mean() - (1 / 2 - 1 / 5 + 1 / 48)) < 0.015


def test_the_share_of_mixed_images():
    images = np.random.default_rng(3).random((4000, 8, 8, 1), np.float32)
    seen, _ = mixed(images, np.arange(4000) % 2, share=0.25, classes=2)
    changed = (seen != images).any((1, 2, 3))
    # A root below 1/8 rounds to no pixel, a share of 1/64.
    assert abs(changed.mean() - 0.25 * 63 / 64) < 0.025


def test_mixed_batches_hold_targets_and_draw_the_rest_as_before():
    options = dict(adversarial=two_sources, adv_fraction=0.4, epochs=2)
    mix = cutmix.CutMix(0.5, 1000)
    plain = batches(**options)
    # Of sources whose labels are no classes of these: they get none.
    for before, after in zip(plain, batches(cutmix=mix, **options), strict=True):
        np.testing.assert_array_equal(before["adv_image"], after["adv_image"])
        np.testing.assert_array_equal(before["draw"], after["draw"])
        assert after["target"].shape == (3, 1000)
        assert after["adv_target"].shape == (2, 1000)
        np.testing.assert_allclose(after["target"].sum(1), 1, atol=1e-6)
        np.testing.assert_array_equal(after["label"], after["target"].argmax(1))
        named = after["adv_target"].argmax(1) == after["adv_label"]
        np.testing.assert_array_equal(named, after["adv_label"] < 1000)
        assert set(np.flatnonzero(after["target"].any(0))) <= set(before["label"])


# === Refusals ===


def test_batch_size_beyond_the_split():
    with pytest.raises(ValueError, match="`batch_size` must not.*batch_size=24 for 23"):
        pipeline.steps_per_epoch(make_split(), 24)


@pytest.mark.parametrize(
    "images, size",
    [(45_000, 128), (4_096, 128), (4_095, 64), (1_294, 32), (512, 16), (3, 3)],
)
def test_small_data_sets_get_small_batches(images, size):
    levels = np.zeros((images, 1, 1, 1), np.uint8)
    split = Split(levels, np.zeros(images, int), np.arange(images))
    assert pipeline.default_batch_size(split) == size


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.95, 1.0])
def test_a_batch_needs_both_kinds(fraction):
    with pytest.raises(ValueError, match="`adv_fraction` must leave clean and adv"):
        pipeline.num_adversarial(8, fraction)
