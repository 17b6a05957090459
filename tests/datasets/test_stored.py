"""Images that stay on disk are those in memory, in every use that is made of them."""

import importlib

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from tf_advdefense import datasets
from tf_advdefense.datasets import pipeline
from tf_advdefense.datasets import prepared
from tf_advdefense.datasets.stored import Stored

SPLITS = ("train", "test")


def write_folder(root, number=40, size=(8, 8)):
    random = np.random.default_rng(0)
    for split in SPLITS:
        for i in range(number):
            path = root / split / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (*size, 3), np.uint8)
            PIL.Image.fromarray(pixels).save(path)
    return {"name": f"folder:{root}"}


class Many(tfds.core.GeneratorBasedBuilder):
    """Noise of two classes, in an order of no meaning."""

    VERSION = tfds.core.Version("1.0.0")
    ORDERED = False

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(4, 4, 3)),
                    "label": tfds.features.ClassLabel(names=["a", "b"]),
                }
            ),
            disable_shuffling=self.ORDERED,
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(len(split) * 60) for split in SPLITS}

    def _generate_examples(self, number):
        random = np.random.default_rng(number)
        for i in range(number):
            image = random.integers(0, 256, (4, 4, 3), np.uint8)
            yield i, {"image": image, "label": i % 2}


class ManyOrdered(Many):
    """The same, in their order."""

    ORDERED = True


def prepare(kind, root, num_shards, file_format="tfrecord"):
    builder = kind(data_dir=str(root), file_format=file_format)
    config = tfds.download.DownloadConfig(num_shards=num_shards)
    builder.download_and_prepare(download_config=config)
    return {"name": builder.name, "data_dir": str(root)}


SETS = {
    "digits": lambda root: {"name": "digits"},
    "folder": write_folder,
    "one file": lambda root: prepare(Many, root, 1),
    "many files": lambda root: prepare(Many, root, 21),
    "array records": lambda root: prepare(Many, root, 3, "array_record"),
    "many files in order": lambda root: prepare(ManyOrdered, root, 5),
}


@pytest.fixture(scope="module", params=SETS)
def both(request, tmp_path_factory):
    """A data set in memory and on disk."""
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        how = SETS[request.param](root / "set")
        loaded = [datasets.load(**how, in_memory=each) for each in ("yes", "no")]
    assert isinstance(loaded[1].train.images, Stored)
    return loaded


def by_index(*splits):
    return {
        int(index): (image, int(label))
        for split in splits
        for index, image, label in zip(split.index, split.images[:], split.labels)
    }


def test_images_and_labels_are_the_same(both):
    memory, disk = both
    assert memory.class_names == disk.class_names
    assert memory.image_shape == disk.image_shape
    for splits in (("test",), ("train", "validation")):
        first, second = (by_index(*map(data.split, splits)) for data in both)
        assert first.keys() == second.keys()
        for index, (image, label) in first.items():
            np.testing.assert_array_equal(image, second[index][0])
            assert label == second[index][1]


def test_it_has_the_looks_of_an_array(both):
    memory = both[1].train.images[:]
    images = both[1].train.images
    assert images.shape == memory.shape and images.dtype == memory.dtype
    assert len(images) == len(memory) and images.ndim == 4
    mask = np.arange(len(images)) % 3 == 1
    for which in (slice(3, 9), [4, 1, 1], np.array([2]), mask, slice(0, 0), 5, -1):
        np.testing.assert_array_equal(images[which], memory[which])
    np.testing.assert_array_equal(np.asarray(images), memory)
    np.testing.assert_array_equal(images.at(mask)[1:3], memory[mask][1:3])
    split = both[1].train.take(7)
    assert isinstance(split.images, Stored) and len(split) == len(split.images) == 7


def test_training_batches_are_the_same(both):
    """For equal images, seeds and epochs, resumed or not."""
    disk = both[1].train
    memory = datasets.Split(disk.images[:], disk.labels, disk.index)
    given = {"batch_size": 8, "epochs": 3, "seed": 1, "augment": both[1].augmentation}
    for first, step in ((0, 0), (2, 1)):
        given |= {"initial_epoch": first, "initial_step": step}
        batches = (
            pipeline.training_batches(split, **given) for split in (memory, disk)
        )
        for one, other in zip(*batches, strict=True):
            assert one.keys() == other.keys()
            for key, value in one.items():
                np.testing.assert_array_equal(value, other[key])


def test_batches_in_order(both):
    disk = both[1].train
    batches = pipeline.in_order(disk, 7)
    found = list(batches.as_numpy_iterator())
    assert len(found) == int(batches.cardinality())
    assert [len(images) for images, _ in found][-1] == (len(disk) % 7 or 7)
    np.testing.assert_array_equal(np.concatenate([i for i, _ in found]), disk.images[:])
    np.testing.assert_array_equal(np.concatenate([y for _, y in found]), disk.labels)


# === What is read, and how a set is known ===


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_only_the_wanted_split_is_read(empty_cache, tmp_path):
    """Train may even be gone: of it only what the metadata say is known."""
    how = {**prepare(Many, tmp_path, 3), "in_memory": "no"}
    whole = datasets.load(**how)
    for path in tmp_path.rglob("*-train.tfrecord-*"):
        path.unlink()
    test = datasets.load(**how, test_only=True)
    assert test.fingerprint == whole.fingerprint and not len(test.train)
    np.testing.assert_array_equal(test.test.images[:], whole.test.images[:])


@pytest.mark.parametrize("change", ["test pixels", "train size", "class", "crop"])
def test_the_fingerprint_sees_content(change, empty_cache, tmp_path):
    how = {**write_folder(tmp_path), "in_memory": "no", "image_size": 8}
    before = datasets.load(**how)
    assert datasets.load(**how).fingerprint == before.fingerprint
    if change == "test pixels":
        path = next((tmp_path / "test").rglob("*.png"))
        PIL.Image.new("RGB", (8, 8)).save(path)
    elif change == "train size":
        next((tmp_path / "train").rglob("*.png")).unlink()
    elif change == "class":
        for split in SPLITS:
            (tmp_path / split / "b").rename(tmp_path / split / "c")
    else:
        how["center_crop"] = True
    assert datasets.load(**how).fingerprint != before.fingerprint


def test_large_sets_stay_on_disk(empty_cache, tmp_path, monkeypatch):
    how = write_folder(tmp_path)
    assert isinstance(datasets.load(**how).test.images, np.ndarray)
    load = importlib.import_module("tf_advdefense.datasets.load")
    monkeypatch.setattr(load, "_LARGE", 8 * 8 * 3 * 80 - 1)
    assert isinstance(datasets.load(**how).test.images, Stored)
    # Whatever is read of it, it is the same data set.
    assert isinstance(datasets.load(**how, test_only=True).test.images, Stored)
    asked = datasets.load(**how, in_memory="yes")
    assert isinstance(asked.test.images, np.ndarray)
    assert asked.reading == {"in_memory": "yes"}
    with pytest.raises(ValueError, match="auto, yes or no. Received: in_memory=maybe"):
        datasets.load(**how, in_memory="maybe")


# === Damage ===


def test_an_unreadable_image_is_named(empty_cache, tmp_path):
    how = {**write_folder(tmp_path), "in_memory": "no"}
    path = sorted((tmp_path / "train").rglob("*.png"))[7]
    path.write_bytes(path.read_bytes()[:60])
    data = datasets.load(**how)
    with pytest.raises(ValueError, match=f"must be readable.*{path.name}") as error:
        by_index(data.train, data.validation)
    assert "\n" not in str(error.value)


def test_an_image_of_another_size_is_said(empty_cache, tmp_path):
    how = {**write_folder(tmp_path), "in_memory": "no"}
    path = next((tmp_path / "train").rglob("*.png"))
    PIL.Image.new("RGB", (9, 8)).save(path)
    data = datasets.load(**how)
    with pytest.raises(ValueError, match="others than 8x8 in image_folder/train"):
        by_index(data.train, data.validation)
    resized = datasets.load(**how, image_size=8)
    assert len(by_index(resized.train, resized.validation)) == 40


def test_damaged_records(empty_cache, tmp_path):
    how = {**prepare(Many, tmp_path, 1), "in_memory": "no"}
    [path] = tmp_path.rglob("*-test.tfrecord-*")
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(prepared.DamagedData, match="ends within a record"):
        datasets.load(**how)
    path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with pytest.raises(prepared.DamagedData, match="corrupted record"):
        datasets.load(**how)


# === Sizes ===


@pytest.mark.parametrize("size", [(30, 40), (40, 30), (28, 28)])
def test_center_crop(size, empty_cache, tmp_path):
    """What is kept is the centre: of a picture of its places, the middle ones."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    places = np.stack([6 * rows, 6 * columns, 0 * rows], axis=-1).astype(np.uint8)
    write_folder(tmp_path, number=2)
    for path in tmp_path.rglob("*.png"):
        PIL.Image.fromarray(places).save(path)
    how = {"name": f"folder:{tmp_path}", "image_size": 14, "center_crop": True}
    for in_memory in ("yes", "no"):
        [image, *_] = datasets.load(**how, in_memory=in_memory).test.images[:]
        assert image.shape == (14, 14, 3)
        step = min(size) / 16  # Of its pixels, in those of the picture.
        for axis, side in ((0, height), (1, width)):
            found = image[..., axis].mean(axis=1 - axis) / 6
            middle = (side - 1) / 2 + step * (np.arange(14) - 6.5)
            # Both are rounded to whole pixels of what is cut.
            slack = step / 2 + 0.3
            np.testing.assert_allclose(found[2:-2], middle[2:-2], atol=slack)


def test_center_crop_needs_a_size(tmp_path):
    with pytest.raises(ValueError, match="`center_crop` cuts.*no `image_size`"):
        datasets.load("digits", center_crop=True)
