"""Images in folders, one folder a class.

    folder = Folder("photos")
    folder.sizes                    # {"train": 40, "test": 10}
    folder.examples("test")         # tf.data of {"image", "label", "alpha"}
    folder.notes                    # ("3 files are not read: 2 of .heic, 1 of .txt",)

PATH/train/CLASS/* and PATH/test/CLASS/* are its splits; a folder that holds classes at
its top, PATH/CLASS/*, is a test split alone. Order and labels are those of
`tfds.ImageFolder`, and so are the pixels of PNG and JPEG files, which TensorFlow
decodes; .bmp, .gif, .tiff and .webp, which it drops, Pillow does. What is hidden, such
as .ipynb_checkpoints or ._1.png, is neither a class nor an image.
"""

import collections
from collections.abc import Iterator
import hashlib
import io
import os
import pathlib
import random
import re
from typing import Any

import numpy as np
import PIL.Image
import tensorflow as tf

from tf_advdefense.datasets import records

CHANNELS = {"rgb": 3, "grayscale": 1}
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_LAYOUT = "PATH/train/CLASS/*.png and PATH/test/CLASS/*.png, or PATH/CLASS/*.png alone"
_SPLITS = ("train", "test", "validation")
# What others call them.
_MEANT = {
    "training": "train",
    "testing": "test",
    "tests": "test",
    "val": "validation",
    "valid": "validation",
}
# What TensorFlow writes before and after what an operation says.
_AROUND_REASONS = re.compile(r"\{\{.*?\}\} |\.? \[Op:.*")


class Folder:
    """An image folder; see `sources.Source`."""

    def __init__(self, root: str | os.PathLike[str], color: str | None = None):
        """Finds its images, and reads none.

        Args:
          root: path.
          color: "rgb", the default, or "grayscale": one channel.

        Raises:
          FileNotFoundError: there is no such folder.
          ValueError: it does not hold what it must.
        """
        path = pathlib.Path(root).expanduser()
        if not path.is_dir():
            raise FileNotFoundError(
                f"No image folder at {path}. It must hold {_LAYOUT}."
            )
        self.name, self.directory = "image_folder", str(path)
        self._channels = CHANNELS[color or "rgb"]
        self._unread: collections.Counter[str] = collections.Counter()
        roots, others = _split_folders(path)
        classes = {split: _visible(root) for split, root in roots.items()}
        self.class_names = _class_names(path, classes)
        self._files = {
            split: self._examples_of(split, classes[split]) for split in roots
        }
        self.sizes = {split: len(files) for split, files in self._files.items()}
        for split, size in self.sizes.items():
            if not size:
                raise _nothing_in(roots[split])
        self.notes = tuple(self._said(others))

    def examples(self, split: str) -> tf.data.Dataset:
        """`image` uint8 `[h, w, channels]`, `label` int64, and whether it has `alpha`.

        Their order is the same everywhere.
        """
        paths, labels = self._paths(split), self.labels(split)
        return tf.data.Dataset.from_tensor_slices((paths, labels)).map(
            lambda path, label: {
                "label": label,
                **_decoded(tf.io.read_file(path), self._channels),
            },
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def records(self, split: str) -> records.Files:
        """The contents of its files."""
        return records.Files(self._paths(split))

    def labels(self, split: str) -> np.ndarray:
        """int64 `[n]`."""
        return np.array([label for _, label in self._files[split]], np.int64)

    def decode(self, record: tf.Tensor) -> tf.Tensor:
        """The image of a file's content."""
        return _decoded(record, self._channels)["image"]

    def described(self, split: str) -> Any:
        """The names and sizes of its files."""
        return [
            (os.path.relpath(path, self.directory), os.path.getsize(path))
            for path in self._paths(split)
        ]

    def hashed(self, split: str) -> str:
        """The SHA-256 of its files and labels."""
        digest = hashlib.sha256(self.labels(split).tobytes())
        for path in self._paths(split):
            digest.update(hashlib.sha256(pathlib.Path(path).read_bytes()).digest())
        return digest.hexdigest()

    def explained(self, split: str, start: int, error: tf.errors.OpError) -> Exception:
        """An error that names the first image from `start` on that is unreadable."""
        reason = error.message
        for path, _ in self._files[split][start:]:
            try:
                _decoded(tf.io.read_file(path), self._channels)
            except tf.errors.OpError as found:
                reason = _AROUND_REASONS.sub("", found.message)
                break
            except ValueError as found:  # Of Pillow's, called without a graph.
                reason = str(found)
                break
        return ValueError(
            f"All images must be readable. Received: {path}, which is not ({reason}). "
            "Replace or remove it."
        )

    # === What is in it ===

    def _paths(self, split):
        return [path for path, _ in self._files[split]]

    def _examples_of(self, split, classes):
        """The paths and labels of a split, in the order of `tfds.ImageFolder`."""
        label_of = {name: label for label, name in enumerate(self.class_names)}
        examples = [
            (path, label_of[each.name])
            for each in classes
            for path in self._images(each)
        ]
        random.Random(split).shuffle(examples)
        return examples

    def _images(self, folder: pathlib.Path) -> Iterator[str]:
        for entry in _entries(folder):
            if entry.is_dir():
                inner = sum(_is_image(name) for name in os.listdir(entry.path))
                self._unread["in folders within classes"] += inner
            elif not _is_image(entry.name):
                ending = pathlib.Path(entry.name).suffix or "no ending"
                self._unread[f"of {ending}"] += 1
            elif not entry.is_file():
                raise ValueError(
                    f"All images must be readable. Received: {entry.path}, a link to "
                    "what does not exist. Replace or remove it."
                )
            else:
                yield entry.path

    def _said(self, others):
        unread = +self._unread
        if unread:
            parts = (f"{count} {what}" for what, count in unread.most_common())
            yield f"{unread.total()} files are not read: {', '.join(parts)}"
        if others:
            yield f"not read is what is in {', '.join(others)}"


def _nothing_in(path: pathlib.Path) -> FileNotFoundError:
    return FileNotFoundError(
        f"No images in {path}. An image folder must hold {_LAYOUT}, in files that end "
        f"in {', '.join(ENDINGS)}."
    )


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """All that is not hidden, sorted."""
    with os.scandir(folder) as entries:
        found = [each for each in entries if not each.name.startswith(".")]
    return sorted(found, key=lambda each: each.name)


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders in a folder."""
    return [folder / each.name for each in _entries(folder) if each.is_dir()]


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _split_folders(
    path: pathlib.Path,
) -> tuple[dict[str, pathlib.Path], list[str]]:
    """The folder of each split, and the names of those that are none."""
    there = {each.name: each for each in _visible(path)}
    roots = {name: there[name] for name in sorted(_SPLITS) if name in there}
    others = [name for name in there if name not in roots]
    if not there:
        raise _nothing_in(path)
    if not roots and any(_holds_images(each) for each in there.values()):
        return {"test": path}, []
    meant = {name: _MEANT.get(name.lower(), name.lower()) for name in others}
    tests = {"test", "validation"}
    wanted = {"train"} - set(roots) | (set() if tests & set(roots) else tests)
    renamed = [f"{name} to {split}" for name, split in meant.items() if split in wanted]
    if renamed or not tests & set(roots):
        remedy = f" Rename {' and '.join(renamed)}." if renamed else ""
        raise ValueError(
            f"An image folder must have the split `test`: it holds {_LAYOUT}. "
            f"Received: {path} with {', '.join(there)}.{remedy}"
        )
    return roots, others


def _holds_images(folder: pathlib.Path) -> bool:
    return any(_is_image(each.name) for each in _entries(folder) if not each.is_dir())


def _class_names(
    path: pathlib.Path, classes: dict[str, list[pathlib.Path]]
) -> tuple[str, ...]:
    """The classes, which must be the same in every split, and two at least."""
    names = {split: {each.name for each in found} for split, found in classes.items()}
    every = set().union(*names.values())
    for split, found in names.items():
        if found and found != every:
            raise ValueError(
                "All splits must have the same classes; one without images is an empty "
                f"folder. Received: {path}/{split} without "
                f"{', '.join(sorted(every - found))}."
            )
    if len(every) == 1:
        raise ValueError(
            "An image folder must have two classes at least, one folder each. "
            f"Received: {path} with {every.pop()} alone."
        )
    return tuple(sorted(every))


# === Decoding ===


def _decoded(data, channels):
    """`image` uint8 `[h, w, channels]` and `alpha`, whether that is left out."""
    is_png = tf.strings.substr(data, 0, 4) == b"\x89PNG"
    is_jpeg = tf.strings.substr(data, 0, 2) == b"\xff\xd8"
    image, alpha = tf.cond(
        is_png | is_jpeg,
        lambda: _by_tensorflow(data, channels, is_png),
        lambda: _by_pillow(data, channels),
    )
    return {"image": tf.ensure_shape(image, (None, None, channels)), "alpha": alpha}


def _by_tensorflow(data, channels, is_png):
    image = tf.io.decode_image(data, channels, expand_animations=False)
    # A PNG file's 26th byte is its colour type: 4 and 6 have alpha. Of a file without
    # it, `decode_image` tells, and not this.
    colour = tf.strings.substr(data + 26 * b"\0", 25, 1)
    return image, is_png & ((colour == b"\x04") | (colour == b"\x06"))


def _by_pillow(data, channels):
    def decode(data):
        try:
            with PIL.Image.open(io.BytesIO(data)) as image:
                pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
                alpha = image.has_transparency_data
        except Exception as error:  # Of a damaged file anything may come.
            raise ValueError("no image of a known format") from error
        return pixels.reshape(*pixels.shape[:2], channels), np.bool_(alpha)

    return tuple(tf.numpy_function(decode, [data], (tf.uint8, tf.bool), stateful=False))
