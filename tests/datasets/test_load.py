"""Data sets: the three sources, the fixed splits, and every refusal."""

import socket
import time

import numpy as np
import pytest
import sklearn.datasets

from tf_advdefense import datasets
from tf_advdefense.datasets import sources
from tf_advdefense.datasets import splits

DIGITS = "7edfe9a6e8ddad2d921f629bef55f54ecb5c29168d54106b6ad05fd38a3a2e07"
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield datasets.load("digits"), datasets.load("digits")


@pytest.fixture
def no_network(monkeypatch):
    def refused(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refused)


# === digits ===


def test_digits_has_its_sizes_and_types(digits):
    data = digits[0]
    assert [len(data.split(name)) for name in SPLITS] == [1294, 144, 359]
    assert data.class_names == tuple("0123456789") and data.num_classes == 10
    assert data.image_shape == (32, 32, 3)
    for name in SPLITS:
        split = data.split(name)
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int64
        assert len(split.images) == len(split.labels) == len(split.index)


def test_digits_is_the_same_everywhere(digits):
    assert digits[0].fingerprint == digits[1].fingerprint == DIGITS
    for name in SPLITS:
        first, second = (data.split(name) for data in digits)
        np.testing.assert_array_equal(first.images, second.images)
        np.testing.assert_array_equal(first.index, second.index)


def test_index_leads_back_to_the_source(digits):
    bunch = sklearn.datasets.load_digits()
    fifth = np.arange(len(bunch.target)) % 5 == 4
    for name in SPLITS:
        split = digits[0].split(name)
        original = fifth if name == "test" else ~fifth
        np.testing.assert_array_equal(split.labels, bunch.target[original][split.index])
        small = split.images[:, ::4, ::4, 0] / 255 * 16
        np.testing.assert_allclose(
            small, bunch.images[original][split.index], atol=0.04
        )


def test_splits_are_disjoint_and_exhaustive(digits):
    data = digits[0]
    indices = np.concatenate([data.train.index, data.validation.index])
    np.testing.assert_array_equal(np.sort(indices), np.arange(1438))
    np.testing.assert_array_equal(data.test.index, np.arange(359))
    assert np.all(np.diff(data.train.index) > 0)


def test_validation_is_a_sample(digits):
    counts = np.bincount(digits[0].validation.labels, minlength=10)
    assert counts.min() >= 5 and counts.max() <= 25
    assert np.all(np.bincount(digits[0].validation.index // 144, minlength=10) >= 5)


def test_take_and_split(digits):
    train = digits[0].train
    np.testing.assert_array_equal(train.take(7).index, train.index[:7])
    assert len(train.take(None)) == len(train.take(10**6)) == len(train)
    with pytest.raises(ValueError, match="train, validation or test.*split=val"):
        digits[0].split("val")


# === Splits ===


def test_fingerprint_sees_all_of_the_content():
    def fingerprint(names="ab", pixel=0, label=0, shape=(4, 2, 2, 3)):
        images = np.full(shape, pixel, np.uint8)
        labels = np.array([0, 1, 1, label])
        split = datasets.Split(images, labels, np.arange(4))
        return splits.fingerprint_of(tuple(names), split)

    changed = [{"names": "ac"}, {"pixel": 1}, {"label": 1}, {"shape": (4, 1, 4, 3)}]
    assert len({fingerprint(**change) for change in [{}, *changed]}) == 5


def test_splits_stored_class_by_class_are_mixed():
    labels = np.repeat(np.arange(10), 30)
    images = np.arange(300).astype(np.uint8).reshape(300, 1, 1, 1)
    split = splits.mix_classes(
        datasets.Split(images, labels, np.arange(300)), fingerprint="ab" * 32
    )
    assert len(set(split.labels[:30])) >= 8
    np.testing.assert_array_equal(split.labels, labels[split.index])
    np.testing.assert_array_equal(split.images, images[split.index])
    np.testing.assert_array_equal(np.sort(split.index), np.arange(300))


# === TFDS ===


@pytest.mark.parametrize(
    "name, message",
    [
        ("cifar11", "Unknown data set 'cifar11'"),
        ("cifar10:9.9.9", "cannot open data set 'cifar10:9.9.9'.*only: 3.0.2"),
        ("cifar10/grey", "cannot open data set 'cifar10/grey'"),
        ("../cifar10", "cannot open data set '../cifar10'"),
        ("glue", "must have the features `image` and `label`.*dataset=glue"),
    ],
)
def test_unknown_data_set(name, message, tmp_path, no_network):
    with pytest.raises(ValueError, match=message) as error:
        datasets.load(name, str(tmp_path))
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_undownloadable_data_set_names_three_remedies(tmp_path, no_network):
    started = time.time()
    with pytest.raises(FileNotFoundError) as error:
        datasets.load("mnist", str(tmp_path))
    assert time.time() - started < 15 and not list(tmp_path.iterdir())
    for remedy in ("`data_dir`", "`dataset=folder:PATH`", "`dataset=digits`"):
        assert remedy in str(error.value)
    assert "\n" not in str(error.value) and "mnist" in str(error.value)


def test_missing_data_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match="No data directory at .*`data_dir`"):
        datasets.load("mnist", str(tmp_path / "absent"))


def test_data_directory_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="No data directory at .*absent"):
        sources.open_source("mnist")
