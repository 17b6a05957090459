"""Data sets in .npz files: every layout, the same images, and what is refused."""

import numpy as np
import pytest

from tf_advdefense import datasets
from tf_advdefense.datasets.npz import ArraysFile


@pytest.fixture(scope="module")
def arrays():
    """30 training and 12 test images of three classes, not square."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (42, 8, 6, 3), dtype=np.uint8)
    labels = np.arange(42) % 3
    return {
        "x_train": images[:30],
        "y_train": labels[:30],
        "x_test": images[30:],
        "y_test": labels[30:],
    }


def saved(path, **arrays):
    np.savez(path / "some.npz", **arrays)
    return f"npz:{path / 'some.npz'}"


def test_all_images_are_there_and_a_tenth_is_held_out(arrays, tmp_path):
    data = datasets.load(saved(tmp_path, **arrays))
    np.testing.assert_array_equal(data.test.images, arrays["x_test"])
    np.testing.assert_array_equal(data.test.labels, arrays["y_test"])
    assert (len(data.train), len(data.validation)) == (27, 3)
    for split in (data.train, data.validation):
        wanted = arrays["x_train"][split.index]
        np.testing.assert_array_equal(split.images, wanted)
    assert data.class_names == ("0", "1", "2")
    assert data.directory == str(tmp_path / "some.npz")


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (x / np.float32(255), y),
        lambda x, y: (x / 127.5 - 1, y[:, np.newaxis]),
        lambda x, y: (x.astype(np.float64), y.astype(np.uint8)),
        lambda x, y: (x.astype(np.int32), np.eye(3)[y]),
    ],
    ids=["unit", "signed", "levels", "one-hot"],
)
def test_it_is_the_same_set_however_numbers_are_kept(arrays, tmp_path, form):
    wanted = datasets.load(saved(tmp_path, **arrays))
    test = form(arrays["x_test"], arrays["y_test"])
    train = form(arrays["x_train"], arrays["y_train"])
    other = {"test_images": test[0], "test_labels": test[1]}
    other |= {"train_images": train[0], "train_labels": train[1]}
    found = datasets.load(saved(tmp_path, **other))
    assert found.fingerprint == wanted.fingerprint


def test_images_and_labels_alone_are_to_measure_on(arrays, tmp_path):
    names = np.array(["cat", "dog", "owl"])
    alone = {"images": arrays["x_test"], "labels": arrays["y_test"]}
    data = datasets.load(saved(tmp_path, **alone, class_names=names, subject=names))
    assert (len(data.train), len(data.test)) == (0, 12)
    assert data.class_names == ("cat", "dog", "owl")
    assert data.notes == ("not read is subject",)


def test_grey_images_have_a_channel(arrays, tmp_path):
    grey = {"x": arrays["x_test"][..., 0], "y": arrays["y_test"]}
    data = datasets.load(saved(tmp_path, **grey))
    assert data.test.images.shape == (12, 8, 6, 1)


@pytest.mark.parametrize("image_size", [None, 4])
def test_by_position_they_are_the_same(arrays, tmp_path, image_size):
    name = saved(tmp_path, **arrays)
    memory = datasets.load(name, image_size=image_size)
    disk = datasets.load(name, image_size=image_size, in_memory="no")
    np.testing.assert_array_equal(disk.test.images[:], memory.test.images)
    np.testing.assert_array_equal(disk.test.labels, memory.test.labels)
    assert len(disk.train) == len(memory.train)


@pytest.mark.parametrize(
    "changed, wanted",
    [
        ({"x_test": None}, ["x_test and y_test", "x_train, y_train, y_test"]),
        ({"y_test": np.zeros(5, int)}, ["x_test and y_test", "12 and 5"]),
        ({"y_test": np.full(12, -1)}, ["classes from 0 to 2", "-1 to 2"]),
        ({"y_test": np.full(12, 0.5)}, ["classes", "float64"]),
        ({"x_test": np.zeros((12, 5))}, ["height, width", "(12, 5)"]),
        ({"x_test": np.full((12, 8, 6, 3), 0.3)}, ["8 bits", "Round them"]),
        ({"x_test": np.full((12, 8, 6, 3), np.nan)}, ["finite"]),
        ({"x_test": np.array([{}] * 12)}, ["numpy.savez"]),
        ({"class_names": np.array(["a"])}, ["classes from 0 to 0", "0 to 2"]),
    ],
)
def test_others_are_refused(arrays, tmp_path, changed, wanted):
    held = {k: v for k, v in (arrays | changed).items() if v is not None}
    with pytest.raises(ValueError) as error:
        datasets.load(saved(tmp_path, **held))
    said = str(error.value)
    assert "\n" not in said and str(tmp_path) in said
    assert not [part for part in wanted if part not in said], said


def test_train_and_test_of_unequal_size(arrays, tmp_path):
    name = saved(tmp_path, **arrays | {"x_train": arrays["x_train"][:, :4]})
    with pytest.raises(ValueError, match=r"one shape.*\(4, 6, 3\) in train.*some.npz"):
        datasets.load(name)


def test_no_file_and_no_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match="No file of arrays.*x_test"):
        ArraysFile(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match="numpy.savez.*text.npz"):
        ArraysFile(tmp_path / "text.npz")
