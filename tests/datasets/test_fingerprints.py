"""Reading test images only: the same data set, and nothing else read."""

import importlib
import pathlib

import numpy as np
import pytest

from tf_advdefense import datasets
from tf_advdefense.datasets import fingerprints
from tf_advdefense.datasets import sources
from tf_advdefense.datasets.resize import Resize

load = importlib.import_module("tf_advdefense.datasets.load")


@pytest.fixture
def read(monkeypatch, tmp_path):
    """The splits that are read, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    splits, original = [], load.decoded
    monkeypatch.setattr(
        load,
        "decoded",
        lambda builder, split, size: (
            splits.append(split) or original(builder, split, size)
        ),
    )
    return splits


def test_train_is_read_once_for_its_fingerprint(read):
    first = datasets.load("digits", test_only=True)
    assert sorted(read) == ["test", "train"]
    read.clear()
    again = datasets.load("digits", test_only=True)
    assert read == ["test"]
    whole = datasets.load("digits")
    assert first.fingerprint == again.fingerprint == whole.fingerprint
    for data in (first, again):
        assert len(data.train) == len(data.validation) == 0
        np.testing.assert_array_equal(data.test.images, whole.test.images)
        np.testing.assert_array_equal(data.test.index, whole.test.index)
    assert again.image_shape == whole.image_shape


def test_other_content_and_other_sizes_are_read_anew(read):
    datasets.load("digits")
    source = sources.open_source("digits")
    splits = ["train", "test"]
    key = load._key(source, splits, Resize())
    assert fingerprints.known(key)
    for other in (Resize(16), Resize(16, center_crop=True)):
        assert load._key(source, splits, other) != key
    assert load._key(source, ["test"], Resize()) != key
    [record] = pathlib.Path(source.directory).glob("*-train.tfrecord-*")
    content = bytearray(record.read_bytes())
    content[-1] ^= 1
    record.write_bytes(content)
    assert load._key(source, splits, Resize()) != key


def test_a_cache_that_cannot_be_written_is_done_without(read, tmp_path):
    datasets.load("digits")
    kept = tmp_path / "tf_advdefense" / "fingerprints"
    for path in kept.iterdir():
        path.unlink()
    kept.rmdir()
    kept.write_text("in the way")
    read.clear()
    datasets.load("digits", test_only=True)
    assert sorted(read) == ["test", "train"]
