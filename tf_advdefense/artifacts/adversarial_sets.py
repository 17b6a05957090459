"""Adversarial sets: `outputs/adv/NAME`, crafted images as a TFDS data set directory.

    adv = load_set("outputs", "resnet50-cw-test")  # checks every file's SHA-256
    examples = read_arrays(adv)                    # {"image": float32 in [0, 1], ...}
    tfds.builder_from_directory(adv.directory)     # or any other reader of TFDS

Sets are written shard by shard: `claim` the directory (see `files`), `write_shard`
for every range of `shard_ranges` that is not `shard_complete`, `finish_set`. Shards
are cut at multiples of the batch size, so that a resumed or distributed command does
the same arithmetic, and byte for byte writes the same files, as an undisturbed one.

An example holds `image`, the crafted image; `label`, the true class; `clean_index`,
the clean image's index in its TFDS split, read in order; `clean_prediction` and
`prediction`, the source model's class before and after; and `l0` (changed pixel
values, channels counted singly), `l1`, `l2`, `linf`, the perturbation's norms.
"""

import dataclasses
import fractions
import pathlib
import re

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_advdefense.artifacts import files

_CLASSES = ("label", "clean_prediction", "prediction")
_NORMS = ("l0", "l1", "l2", "linf")
FEATURES = ("image", "clean_index", *_CLASSES, *_NORMS)
STORES = ("float32", "uint8")
_WINDOW = 4096  # Examples shuffled at a time, 50 MB of 32x32 float32 images.


@dataclasses.dataclass(frozen=True)
class AdversarialSet:
    """A finished set: its name, its directory and its `config.json`."""

    name: str
    directory: pathlib.Path
    config: dict


# === Names and shards ===


def set_directory(output_dir, name):
    """Returns where the set `name` lies or will lie."""
    return files.named(pathlib.Path(output_dir) / "adv", name)


def list_sets(output_dir):
    """Returns the sorted names of the finished sets."""
    return files.finished_names(pathlib.Path(output_dir) / "adv")


def set_name(source, attack, eps, default_eps, split):
    """Returns "resnet50-fgsm-test", or "resnet50-fgsm-eps8_255-test".

    `eps` is the user's text or None; it is named where it is not `default_eps`.
    """
    parts = [re.sub(r"[^A-Za-z0-9._-]", "_", source), attack, split]
    if eps is not None and _number(eps) != _number(default_eps):
        parts.insert(2, f"eps{eps}".replace("/", "_"))
    return "-".join(parts)


def shard_ranges(num_examples, batch_size):
    """Returns [(start, stop), ...], cut at multiples of `batch_size`.

    A shard holds one batch in sets of up to 4096 examples and eight in larger ones:
    a kill then costs little, and large sets have few files.
    """
    size = batch_size * (1 if num_examples <= 4096 else 8)
    starts = range(0, num_examples, size)
    return [(start, min(start + size, num_examples)) for start in starts]


def shard_complete(directory, name, split, i, n):
    """Tells whether shard `i` of `n` is there; shards are whole or absent."""
    return _shard_path(directory, name, split, i, n).exists()


# === Writing ===


def as_stored(images, store):
    """Returns float32 images as they will be read back from `store`.

    A uint8 store rounds to grey levels, which can undo a small perturbation: judge
    success on these images.
    """
    if store == "float32":
        return np.asarray(images, np.float32)
    return _grey_levels(images).astype(np.float32) / np.float32(255)


def write_shard(directory, name, split, i, n, examples, store="float32"):
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
        images = _grey_levels(images)
    features = _features(images.shape[1:], store, np.int64)
    columns = {**examples, "image": images}
    with files.replacing(_shard_path(directory, name, split, i, n)) as temporary:
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            for row in zip(*(columns[key] for key in FEATURES)):
                writer.write(_serialize(features, dict(zip(FEATURES, row))))


def finish_set(directory, name, split, n, class_names, image_shape, store, config):
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
            "Craft them with --resume."
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


# === Reading ===


def load_set(output_dir, name, verify=True):
    """Returns the finished set `name`; `verify` compares every file's SHA-256.

    Raises:
        FileNotFoundError: it is missing or unfinished; the message says what to do.
        ValueError: a file is missing or is not the one that was written.
    """
    directory = set_directory(output_dir, name)
    config = files.load_config(
        directory, kind="adversarial set", command="bin/make_adv --attack=..."
    )
    if verify:
        _verify(directory, config["files"])
    return AdversarialSet(name, directory, config)


def read_arrays(adv):
    """Returns {feature: array} of a whole set in stored order; images float32."""
    builder = tfds.builder_from_directory(adv.directory)
    in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    (split,) = builder.info.splits
    dataset = builder.as_dataset(split=split, read_config=in_order, batch_size=256)
    batches = list(dataset.map(_with_float_images).as_numpy_iterator())
    return {key: np.concatenate([b[key] for b in batches]) for key in FEATURES}


def stream(adv, *, seed, epoch):
    """Yields a set's examples for training, reshuffled and repeated without end.

    Shards come in random order and their examples are shuffled 4096 at a time, so
    that a set larger than memory streams from disk. Every draw is a function of
    (seed, epoch, pass over the set) and of nothing else.

    Returns:
        An infinite `tf.data.Dataset` of {"image": float32 [h, w, c] in [0, 1],
        "label": int64, "clean_index": int64}.
    """
    builder = tfds.builder_from_directory(adv.directory)
    (split,) = builder.info.splits.values()
    paths = tf.constant([str(path) for path in split.filepaths])
    keys = tf.random.experimental.stateless_fold_in([seed, 0], epoch)

    def one_pass(index):
        key = tf.random.experimental.stateless_fold_in(keys, index)

        def shuffled(values):
            return tf.random.experimental.stateless_shuffle(values, key)

        shards = tf.data.Dataset.from_tensor_slices(shuffled(paths))
        records = shards.flat_map(tf.data.TFRecordDataset)
        # `Dataset.shuffle` would draw from the global seed, too.
        return records.batch(_WINDOW).map(shuffled).unbatch()

    def example(record):
        features = builder.info.features.deserialize_example(record)
        features = _with_float_images(features)
        return {key: features[key] for key in ("image", "label", "clean_index")}

    records = tf.data.Dataset.counter().flat_map(one_pass)
    return records.map(example, num_parallel_calls=tf.data.AUTOTUNE)


# === Parts ===


def _number(eps):
    return None if eps is None else float(fractions.Fraction(eps))


def _shard_path(directory, name, split, i, n):
    # TFDS parses NAME-SPLIT.tfrecord-XXXXX-of-YYYYY, NAME beginning with a letter.
    stem = re.sub(r"\W", "_", name if name[0].isalpha() else f"adv_{name}")
    file_name = f"{stem}-{split}.tfrecord-{i:05}-of-{n:05}"
    return pathlib.Path(directory) / file_name


def _features(image_shape, store, label):
    """Returns the TFDS features; `label` is the feature of the three class indices."""
    image = (
        tfds.features.Image(shape=image_shape, encoding_format="png")
        if store == "uint8"
        # `Image` refuses float32 with three channels.
        else tfds.features.Tensor(shape=image_shape, dtype=np.float32)
    )
    return tfds.features.FeaturesDict(
        {"image": image, "clean_index": np.int64}
        | dict.fromkeys(_CLASSES, label)
        | dict.fromkeys(_NORMS, np.float32)
    )


def _grey_levels(images):
    return np.rint(np.asarray(images) * 255).astype(np.uint8)


def _check_examples(examples):
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


def _serialize(features, example):
    # A protocol buffer's map has no order of its own; equal examples need equal bytes.
    message = tf.train.Example.FromString(features.serialize_example(example))
    return message.SerializeToString(deterministic=True)


def _read_scalars(path):
    """Returns {name: [n]} of a shard's classes and norms."""
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    whole = tf.io.FixedLenFeature([], tf.int64)
    real = tf.io.FixedLenFeature([], tf.float32)
    spec = dict.fromkeys(_CLASSES, whole) | dict.fromkeys(_NORMS, real)
    return {k: v.numpy() for k, v in tf.io.parse_example(records, spec).items()}


def _success(scalars):
    """The rate among the correctly classified, and the mean norms that it took."""
    label, before, after = (scalars[key] for key in _CLASSES)
    correct = before == label
    fooled = correct & (after != label)
    return {
        "success_rate": float(fooled.sum() / correct.sum()) if correct.any() else None,
        "mean_norms": {norm: float(scalars[norm][fooled].mean()) for norm in _NORMS}
        if fooled.any()
        else None,
    }


def _write_metadata(paths, split, class_names, image_shape, store, shards):
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


def _digests(directory):
    paths = sorted(p for p in directory.iterdir() if p.is_file())
    skipped = (files.CONFIG, files.TEMPORARY)
    return {p.name: files.sha256(p) for p in paths if not p.name.startswith(skipped)}


def _verify(directory, digests):
    for name, digest in digests.items():
        path = directory / name
        if not path.is_file() or files.sha256(path) != digest:
            raise ValueError(
                f"The adversarial set {directory} is corrupted: {name} is not the file "
                "that was written. Make the set again with --overwrite."
            )


def _with_float_images(examples):
    image = examples["image"]
    if image.dtype == tf.uint8:
        image = tf.cast(image, tf.float32) / 255.0
    return {**examples, "image": image}
