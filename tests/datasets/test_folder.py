"""Image folders: their splits, every kind of file, and every refusal."""

import shutil

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from tf_advdefense import datasets
from tf_advdefense.datasets import folder
from tf_advdefense.datasets import pipeline

SPLITS = ("train", "validation", "test")


def write_images(root, sides=(8,), per_class=20, seed=0):
    """Noise images of two classes; each says its class in its mean."""
    random = np.random.default_rng(seed)
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for i in range(per_class):
                side = sides[i % len(sides)]
                pixels = random.integers(0, 100, (side, side, 3), dtype=np.uint8)
                image = PIL.Image.fromarray(pixels + np.uint8(150 * label))
                image.save(root / split / name / f"{i}.png")
    return f"folder:{root}"


def load_images(root, **options):
    return datasets.load(write_images(root), **options)


def test_folder(tmp_path):
    data = load_images(tmp_path)
    assert [len(data.split(name)) for name in SPLITS] == [36, 4, 40]
    assert data.class_names == ("cat", "dog") and data.image_shape == (8, 8, 3)
    for name in SPLITS:
        split = data.split(name)
        is_dog = split.images.mean(axis=(1, 2, 3)) > 125
        np.testing.assert_array_equal(split.labels, is_dog)


def test_validation_depends_on_the_content_only(tmp_path):
    keras.utils.set_random_seed(1)
    first = load_images(tmp_path / "a")
    keras.utils.set_random_seed(2)
    second = load_images(tmp_path / "b")
    assert first.fingerprint == second.fingerprint
    np.testing.assert_array_equal(first.validation.index, second.validation.index)
    other = datasets.load(write_images(tmp_path / "c", seed=1))
    assert other.fingerprint != first.fingerprint
    assert other.validation.index.tolist() != first.validation.index.tolist()


def test_image_size_resizes(tmp_path):
    name = write_images(tmp_path, sides=(8, 12))
    data = datasets.load(name, image_size=16)
    assert data.image_shape == (16, 16, 3) and data.train.images.dtype == np.uint8
    is_dog = data.train.images.mean(axis=(1, 2, 3)) > 125
    np.testing.assert_array_equal(data.train.labels, is_dog)
    for cat in data.test.images[data.test.labels == 0]:
        assert 40 < cat.mean() < 60  # Not clipped, wrapped or rescaled.


def test_image_size_of_equal_size_changes_nothing(tmp_path):
    plain, resized = load_images(tmp_path), datasets.load(f"folder:{tmp_path}", None, 8)
    assert plain.fingerprint == resized.fingerprint


def test_unequal_sizes_need_image_size(tmp_path):
    name = write_images(tmp_path, sides=(8, 12))
    with pytest.raises(ValueError, match="must have one size.*`image_size=32`"):
        datasets.load(name)


def test_unreadable_image(tmp_path):
    name = write_images(tmp_path)
    (tmp_path / "train" / "cat" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="must be readable.*cat/0.png.*known format"):
        datasets.load(name)


def test_folder_without_test_split(tmp_path):
    name = write_images(tmp_path)
    (tmp_path / "test").rename(tmp_path / "holdout")
    with pytest.raises(ValueError, match="the split `test`.*holdout, train"):
        datasets.load(name)


def test_folder_without_train_split_is_for_measuring_only(tmp_path):
    whole = datasets.load(write_images(tmp_path))
    shutil.rmtree(tmp_path / "train")
    data = datasets.load(f"folder:{tmp_path}")
    assert len(data.train) == len(data.validation) == 0
    assert data.image_shape == whole.image_shape
    assert sorted(data.test.labels) == sorted(whole.test.labels)
    with pytest.raises(ValueError, match="`split` must hold images.*split=train"):
        data.split("train")
    with pytest.raises(ValueError, match="Training needs .* train images"):
        pipeline.steps_per_epoch(data.train, 4)


def test_a_folder_in_grey_has_one_channel(tmp_path):
    name = write_images(tmp_path)
    for path in tmp_path.rglob("*.png"):
        PIL.Image.open(path).convert("L").save(path)
    grey, colour = datasets.load(name, color="grayscale"), datasets.load(name)
    assert grey.image_shape == (8, 8, 1) and colour.image_shape == (8, 8, 3)
    assert grey.reading == {"color": "grayscale"} and not colour.reading
    for channel in range(3):
        np.testing.assert_array_equal(
            grey.test.images[..., 0], colour.test.images[..., channel]
        )


def test_color_is_for_folders():
    with pytest.raises(ValueError, match="`color` is for image folders"):
        datasets.load("digits", color="grayscale")


def test_missing_and_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="No image folder at .*PATH/train/"):
        datasets.load(f"folder:{tmp_path / 'absent'}")
    with pytest.raises(FileNotFoundError, match="No images in .*PATH/train/CLASS"):
        datasets.load(f"folder:{tmp_path}")


# === Kinds of files ===


def picture(mode="RGB", size=(8, 8), seed=0):
    channels = {"L": 1, "LA": 2, "RGBA": 4}.get(mode, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)
    return PIL.Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)


def test_equals_tfds(tmp_path):
    """Order, labels and pixels of the files that it reads, mixed as they may be."""
    write_images(tmp_path, per_class=5)
    for i, mode in enumerate(("L", "LA", "RGBA", "P")):
        image = picture(seed=i).convert(mode) if mode == "P" else picture(mode, seed=i)
        image.save(tmp_path / "train" / "cat" / f"x{i}.PNG")
    deep = np.random.default_rng(0).integers(0, 2**16, (8, 8), np.uint16)
    PIL.Image.fromarray(deep).save(tmp_path / "train" / "dog" / "deep.png")
    picture().save(tmp_path / "test" / "cat" / "j.jpeg", quality=70)
    picture().convert("CMYK").save(tmp_path / "test" / "dog" / "cmyk.jpg")
    for color, channels in folder.CHANNELS.items():
        if color == "grayscale":  # TensorFlow makes grey of colours, not of inks.
            (tmp_path / "test" / "dog" / "cmyk.jpg").unlink()
        ours = folder.Folder(tmp_path, color)
        theirs = tfds.ImageFolder(str(tmp_path), shape=(None, None, channels))
        assert ours.class_names == tuple(theirs.info.features["label"].names)
        for split in ("train", "test"):
            wanted = list(theirs.as_dataset(split=split).as_numpy_iterator())
            found = list(ours.examples(split).as_numpy_iterator())
            assert len(wanted) == len(found) == ours.sizes[split]
            for one, other in zip(wanted, found):
                assert one["label"] == other["label"]
                np.testing.assert_array_equal(one["image"], other["image"])


@pytest.mark.parametrize("ending", [".bmp", ".gif", ".tif", ".TIFF", ".webp"])
def test_other_files_give_the_same_pixels(ending, tmp_path):
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for i in range(4):
            pixels = 255 * random.integers(0, 2, (8, 8, 3), np.uint8)
            image = PIL.Image.fromarray(pixels)
            options = {"lossless": True} if ending == ".webp" else {}
            for end in (".png", ending):
                path = tmp_path / end / split / "ab"[i % 2] / f"{i}{end}"
                path.parent.mkdir(parents=True, exist_ok=True)
                kept = image.convert("P", palette=1) if end == ".gif" else image
                kept.save(path, **(options if end == ending else {}))
    first, second = (datasets.load(f"folder:{tmp_path}/{e}") for e in (".png", ending))
    np.testing.assert_array_equal(first.test.images, second.test.images)
    assert first.fingerprint == second.fingerprint and not second.notes
    grey = datasets.load(f"folder:{tmp_path}/{ending}", color="grayscale")
    assert grey.image_shape == (8, 8, 1)


def test_files_are_known_by_their_content(tmp_path):
    write_images(tmp_path)
    for kind in ("JPEG", "BMP", "WEBP"):
        picture().save(tmp_path / "train" / "cat" / f"{kind}.png", kind)
    data = datasets.load(f"folder:{tmp_path}")
    assert len(data.train) + len(data.validation) == 43


@pytest.mark.parametrize(
    "ending, mode",
    [(".png", "RGBA"), (".png", "LA")]
    + [(ending, "RGBA") for ending in (".tif", ".webp")],
)
def test_alpha_is_left_out_and_said(ending, mode, tmp_path):
    write_images(tmp_path)
    for split, count in (("train", 3), ("test", 1)):
        for i in range(count):
            picture(mode).save(tmp_path / split / "dog" / f"x{i}{ending}")
    notes = datasets.load(f"folder:{tmp_path}").notes
    assert notes == (
        "the alpha channel of 1 test images is left out",
        "the alpha channel of 3 train images is left out",
    )


def test_what_is_not_read_is_said(tmp_path):
    write_images(tmp_path)
    cat = tmp_path / "train" / "cat"
    for name in ("a.heic", "b.heic", "c.txt", "noend"):
        (cat / name).write_text("x")
    (cat / "inner").mkdir()
    picture().save(cat / "inner" / "0.png")
    (tmp_path / "val").mkdir()
    picture().save(tmp_path / "val" / "0.png")
    data = datasets.load(f"folder:{tmp_path}")
    assert len(data.train) + len(data.validation) == 40
    assert data.notes == (
        "5 files are not read: 2 of .heic, 1 of .txt, 1 in folders within classes, "
        "1 of no ending",
        "not read is what is in val",
    )


def test_what_is_hidden_is_nothing(tmp_path):
    plain = load_images(tmp_path)
    shutil.copytree(
        tmp_path / "train" / "cat", tmp_path / "train" / ".ipynb_checkpoints"
    )
    shutil.copytree(tmp_path / "train", tmp_path / ".old")
    for folder_of in (tmp_path, tmp_path / "train", tmp_path / "train" / "cat"):
        (folder_of / ".DS_Store").write_bytes(b"x")
    (tmp_path / "train" / "cat" / "._0.png").write_bytes(b"\0\5\26\7 Mac OS X")
    data = datasets.load(f"folder:{tmp_path}")
    assert data.fingerprint == plain.fingerprint and not data.notes


def test_classes_at_the_top_are_a_test_split(tmp_path):
    whole = load_images(tmp_path)
    data = datasets.load(f"folder:{tmp_path}/test")
    assert data.class_names == whole.class_names and not len(data.train)
    assert sorted(data.test.labels) == sorted(whole.test.labels)


def test_links_are_followed(tmp_path):
    plain = load_images(tmp_path / "a")
    shutil.move(tmp_path / "a" / "train" / "cat", tmp_path / "elsewhere")
    (tmp_path / "a" / "train" / "cat").symlink_to(tmp_path / "elsewhere")
    assert datasets.load(f"folder:{tmp_path / 'a'}").fingerprint == plain.fingerprint


# === Refusals ===


def truncate(path):
    path.write_bytes(path.read_bytes()[:60])


UNREADABLE = {
    "truncated": truncate,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("<html>404</html>"),
    "short": lambda path: path.write_bytes(b"\x89PNG\r\n"),
}


@pytest.mark.parametrize("how", UNREADABLE)
@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".webp"])
def test_an_unreadable_image_is_named(how, ending, tmp_path):
    write_images(tmp_path)
    path = tmp_path / "train" / "dog" / f"broken{ending}"
    picture().save(path)
    UNREADABLE[how](path)
    with pytest.raises(ValueError, match="must be readable.*dog/broken") as error:
        datasets.load(f"folder:{tmp_path}")
    assert "\n" not in str(error.value)


def rename(root, names):
    for former, name in names.items():
        (root / former).rename(root / name)


def only_in(root, split):
    shutil.copytree(root / split / "cat", root / split / "cow")


def one_class(root):
    for split in ("train", "test"):
        shutil.rmtree(root / split / "dog")


def dangling(root):
    (root / "train" / "cat" / "x.png").symlink_to(root / "gone.png")


def unequal_splits(root):
    for path in (root / "test").rglob("*.png"):
        PIL.Image.open(path).resize((10, 12)).save(path)


def emptied(root):
    for path in (root / "test").rglob("*.png"):
        path.unlink()


REFUSED = {
    "Train and Test": (
        lambda root: rename(root, {"train": "Train", "test": "Test"}),
        "the split `test`.*with Test, Train. Rename Test to test and Train to train",
    ),
    "Train": (
        lambda root: rename(root, {"train": "Train"}),
        "with Train, test. Rename Train to train",
    ),
    "training and testing": (
        lambda root: rename(root, {"train": "training", "test": "testing"}),
        "Rename testing to test and training to train",
    ),
    "val": (
        lambda root: rename(root, {"test": "val"}),
        "with train, val. Rename val to validation",
    ),
    "class in train only": (
        lambda root: only_in(root, "train"),
        "must have the same classes.*/test without cow",
    ),
    "class in test only": (
        lambda root: only_in(root, "test"),
        "must have the same classes.*/train without cow",
    ),
    "one class": (one_class, "two classes at least.*with cat alone"),
    "dangling link": (dangling, "cat/x.png, a link to what does not exist"),
    "unequal splits": (unequal_splits, "one size.*8x8 and 12x10 in .*/train and test"),
    "empty split": (emptied, "No images in .*test.*end in .jpg"),
    "no folders": (
        lambda root: (
            (root / "train").rename(root.with_suffix(".moved"))
            and shutil.rmtree(root / "test")
        ),
        "No images in .*PATH/train/CLASS",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path):
    root = tmp_path / "images"
    write_images(root, per_class=3)
    change, message = REFUSED[case]
    change(root)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        datasets.load(f"folder:{root}")
    assert "\n" not in str(error.value)


def test_a_class_without_images_is_an_empty_folder(tmp_path):
    write_images(tmp_path)
    only_in(tmp_path, "train")
    (tmp_path / "test" / "cow").mkdir()
    data = datasets.load(f"folder:{tmp_path}")
    assert data.class_names == ("cat", "cow", "dog")
    assert set(data.test.labels) == {0, 2}
