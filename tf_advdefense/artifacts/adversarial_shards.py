"""The shards that an adversarial set is written in, one after another.

    for i, (start, stop) in enumerate(ranges):        # of `shard_ranges`
        if not shard_complete(directory, name, split, i, len(ranges)):
            write_shard(directory, name, split, i, len(ranges), examples)
    config = finish_set(directory, name, split, len(ranges), ...)

`claim` the directory first (see `files`). Shards are cut at multiples of the batch
size, so that a resumed or distributed command does the same arithmetic, and byte for
byte writes the same files, as an undisturbed one.
"""

from collections.abc import Sequence
import pathlib
import re
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_advdefense.artifacts import files
from tf_advdefense.artifacts.adversarial_sets import CLASSES
from tf_advdefense.artifacts.adversarial_sets import FEATURES
from tf_advdefense.images import NORMS
from tf_advdefense.images import as_float
from tf_advdefense.images import as_grey_levels

STORES = ("float32", "uint8")
Examples = dict[str, np.ndarray]


def shard_ranges(num_examples: int, batch_size: int) -> list[tuple[int, int]]:
    """Returns [(start, stop), ...], cut at multiples of `batch_size`.

    A shard holds one batch in sets of up to 4096 examples and eight in larger ones:
    a kill then costs little, and large sets have few files.
    """
    size = batch_size * (1 if num_examples <= 4096 else 8)
    starts = range(0, num_examples, size)
    return [(start, min(start + size, num_examples)) for start in starts]


def shard_complete(
    directory: files.Path, name: str, split: str, i: int, n: int
) -> bool:
    """Tells whether shard `i` of `n` is there; shards are whole or absent."""
    return _shard_path(directory, name, split, i, n).exists()


def as_stored(images: np.ndarray, store: str) -> np.ndarray:
    """Returns float32 images as they will be read back from `store`.

    A uint8 store rounds to grey levels, which can undo a small perturbation: judge
    success on these images.
    """
    if store == "float32":
        return np.asarray(images, np.float32)
    return as_float(as_grey_levels(images))


def write_shard(
    directory: files.Path,
    name: str,
    split: str,
    i: int,
    n: int,
    examples: Examples,
    store: str = "float32",
) -> None:
    """Writes shard `i` of `n`, whole or not at all.

    Args:
        directory, name, split: the set's directory and name, and its data set's split.
        i, n: the shard's index and the number of shards.
        examples: dict of arrays, one per name in FEATURES, all of one length; images
            float32 [length, height, width, channels] in [0, 1].
        store: "float32", or "uint8" (PNG, a quarter of the size or less).

    Raises:
        ValueError: a missing feature, or images outside [0, 1].
    """
    _check_examples(examples)
    images = examples["image"]
    if store == "uint8":
        images = as_grey_levels(images)
    features = _features(images.shape[1:], store, np.int64)
    columns = {**examples, "image": images}
    path = _shard_path(directory, name, split, i, n)
    with (
        files.replacing(path) as temporary,
        tf.io.TFRecordWriter(str(temporary)) as writer,
    ):
        for row in zip(*(columns[key] for key in FEATURES)):
            writer.write(_serialize(features, dict(zip(FEATURES, row))))


def finish_set(
    directory: files.Path,
    name: str,
    split: str,
    n: int,
    class_names: Sequence[str],
    image_shape: Sequence[int],
    store: str,
    config: dict[str, Any],
) -> dict[str, Any]:
    """Completes the set: TFDS metadata, then `config.json`; returns the latter.

    Args:
        directory, name, split, n, store: as in `write_shard`.
        class_names: list of str.
        image_shape: (height, width, channels).
        config: dict of JSON values ("forwards", "seconds", "versions", ...). Added are
            `num_examples`; `success_rate`, the share of the images correctly
            classified when clean that are misclassified now, to whichever class (null
            if there is none), and `mean_norms`, the perturbations' mean norms over
            those (null if there are none); `image_shape`, `class_names` and `files`,
            the SHA-256 of each.

    Raises:
        ValueError: shards are missing.
    """
    directory = pathlib.Path(directory)
    paths = [_shard_path(directory, name, split, i, n) for i in range(n)]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise ValueError(
            f"{directory} lacks {len(missing)} of {n} shards, first {missing[0]}. "
            "Craft them with `resume`."
        )
    shards = [_read_scalars(path) for path in paths]
    _write_metadata(paths, split, class_names, image_shape, store, shards)
    scalars = {key: np.concatenate([s[key] for s in shards]) for key in shards[0]}
    files.finish(
        directory,
        {
            "num_examples": len(scalars["label"]),
            **_success(scalars),
            "image_shape": list(image_shape),
            "class_names": list(class_names),
            **config,
            "files": _digests(directory),
        },
    )
    return files.read_json(directory / files.CONFIG)


# === Parts ===


def _shard_path(
    directory: files.Path, name: str, split: str, i: int, n: int
) -> pathlib.Path:
    # TFDS parses NAME-SPLIT.tfrecord-XXXXX-of-YYYYY, NAME beginning with a letter.
    stem = re.sub(r"\W", "_", name if name[0].isalpha() else f"adv_{name}")
    file_name = f"{stem}-{split}.tfrecord-{i:05}-of-{n:05}"
    return pathlib.Path(directory) / file_name


def _features(
    image_shape: Sequence[int], store: str, label: Any
) -> tfds.features.FeaturesDict:
    """Returns the TFDS features; `label` is the feature of the three class indices."""
    image = (
        tfds.features.Image(shape=image_shape, encoding_format="png")
        if store == "uint8"
        # `Image` refuses float32 with three channels.
        else tfds.features.Tensor(shape=image_shape, dtype=np.float32)
    )
    return tfds.features.FeaturesDict(
        {"image": image, "clean_index": np.int64}
        | dict.fromkeys(CLASSES, label)
        | dict.fromkeys(NORMS, np.float32)
    )


def _check_examples(examples: Examples) -> None:
    if set(examples) != set(FEATURES):
        raise ValueError(
            f"An example has the features {sorted(FEATURES)}. Received: "
            f"{sorted(examples)}. Give each as an array."
        )
    low, high = np.min(examples["image"]), np.max(examples["image"])
    if not (low >= 0 and high <= 1):  # So written, NaN is refused as well.
        raise ValueError(
            f"Images must be in [0, 1]. Received: values from {low} to {high}. Divide "
            "grey levels by 255."
        )


def _serialize(features: tfds.features.FeaturesDict, example: dict[str, Any]) -> bytes:
    # A protocol buffer's map has no order of its own; equal examples need equal bytes.
    message = tf.train.Example.FromString(features.serialize_example(example))
    return message.SerializeToString(deterministic=True)


def _read_scalars(path: pathlib.Path) -> Examples:
    """Returns {name: [n]} of a shard's classes and norms."""
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    whole = tf.io.FixedLenFeature([], tf.int64)
    real = tf.io.FixedLenFeature([], tf.float32)
    spec = dict.fromkeys(CLASSES, whole) | dict.fromkeys(NORMS, real)
    return {k: v.numpy() for k, v in tf.io.parse_example(records, spec).items()}


def _success(scalars: Examples) -> dict[str, Any]:
    """The rate among the correctly classified, and the mean norms that it took."""
    label, before, after = (scalars[key] for key in CLASSES)
    correct = before == label
    fooled = correct & (after != label)
    return {
        "clean_correct": int(correct.sum()),
        "success_rate": float(fooled.sum() / correct.sum()) if correct.any() else None,
        "mean_norms": {norm: float(scalars[norm][fooled].mean()) for norm in NORMS}
        if fooled.any()
        else None,
    }


def _write_metadata(
    paths: Sequence[pathlib.Path],
    split: str,
    class_names: Sequence[str],
    image_shape: Sequence[int],
    store: str,
    shards: Sequence[Examples],
) -> None:
    info = tfds.core.SplitInfo(
        name=split,
        shard_lengths=[len(shard["label"]) for shard in shards],
        num_bytes=sum(path.stat().st_size for path in paths),
    )
    label = tfds.features.ClassLabel(names=class_names)
    tfds.folder_dataset.write_metadata(
        data_dir=paths[0].parent,
        features=_features(image_shape, store, label),
        split_infos=[info],
        check_data=False,
    )


def _digests(directory: pathlib.Path) -> dict[str, str]:
    paths = sorted(p for p in directory.iterdir() if p.is_file())
    skipped = (files.CONFIG, files.TEMPORARY)
    return {p.name: files.sha256(p) for p in paths if not p.name.startswith(skipped)}
