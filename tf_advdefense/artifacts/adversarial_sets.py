"""Adversarial sets: `outputs/adv/NAME`, crafted images as a TFDS data set directory.

    adv = load_set("outputs", "resnet50-cw-test")  # checks every file's SHA-256
    examples = read_arrays(adv)                    # {"image": float32 in [0, 1], ...}
    tfds.builder_from_directory(adv.directory)     # or any other reader of TFDS

They are written by `adversarial_shards`.

An example holds `image`, the crafted image; `label`, the true class; `clean_index`,
the clean image's index in its TFDS split, read in order; `clean_prediction` and
`prediction`, the source model's class before and after; and `l0` (changed pixel
values, channels counted singly), `l1`, `l2`, `linf`, the perturbation's norms.
"""

import dataclasses
import fractions
import pathlib
import re
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_advdefense import untrusted
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import finished
from tf_advdefense.artifacts.former_formats import without_kind
from tf_advdefense.images import NORMS

CLASSES = ("label", "clean_prediction", "prediction")
FEATURES = ("image", "clean_index", *CLASSES, *NORMS)
# Fields of `config.json`, and of the request in it, without which nothing can be done.
_NEEDED = {
    "": ("request", "files", "num_examples"),
    "request": ("source", "source_sha256", "dataset_fingerprint", "attack", "split"),
}
_WINDOW = 4096  # Examples shuffled at a time, 50 MB of 32x32 float32 images.
_OPEN = 64  # Shards read at a time.


@dataclasses.dataclass(frozen=True)
class AdversarialSet:
    """A finished set: its name, its directory and its `config.json`."""

    name: str
    directory: pathlib.Path
    config: dict[str, Any]


# === Names ===


def set_directory(output_dir: files.Path, name: str) -> pathlib.Path:
    """Returns where the set `name` lies or will lie."""
    return files.named(pathlib.Path(output_dir) / "adv", name)


def list_sets(output_dir: files.Path) -> list[str]:
    """Returns the sorted names of the finished sets."""
    return finished.names(pathlib.Path(output_dir) / "adv")


def set_name(
    source: str,
    attack: str,
    eps: str | float | None,
    default_eps: float | None,
    split: str,
) -> str:
    """Returns "resnet50-fgsm-test", or "resnet50-fgsm-eps8_255-test".

    `eps` is the user's text or None; it is named where it is not `default_eps`.
    """
    parts = [re.sub(r"[^A-Za-z0-9._-]", "_", source), attack, split]
    if eps is not None and _number(eps) != _number(default_eps):
        parts.insert(2, f"eps{eps}".replace("/", "_"))
    return "-".join(parts)


# === Reading ===


def load_set(output_dir: files.Path, name: str, verify: bool = True) -> AdversarialSet:
    """Returns the finished set `name`; `verify` compares every file's SHA-256.

    Raises:
        FileNotFoundError: it is missing or unfinished; the message says what to do.
        ValueError: a file is missing or is not the one that was written.
    """
    directory = set_directory(output_dir, name)
    config = finished.load_config(
        directory, kind="adversarial set", function="make_set", needed=_NEEDED
    )
    config["request"] = without_kind(config["request"])
    if verify:
        _verify(directory, config["files"])
    return AdversarialSet(name, directory, config)


def read_arrays(adv: AdversarialSet) -> dict[str, np.ndarray]:
    """Returns {feature: array} of a whole set in stored order; images float32."""
    builder = _builder(adv)
    in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    (split,) = builder.info.splits
    dataset = builder.as_dataset(split=split, read_config=in_order, batch_size=256)
    batches = list(dataset.map(_with_float_images).as_numpy_iterator())
    return {key: np.concatenate([b[key] for b in batches]) for key in FEATURES}


def stream(
    adv: AdversarialSet, *, seed: int, epoch: Any, among: np.ndarray | None = None
) -> tf.data.Dataset:
    """Yields a set's examples for training, reshuffled and repeated without end.

    Shards come in random order, 64 of them take turns example by example, and the
    examples are shuffled 4096 at a time: a set larger than memory streams from disk,
    and a batch holds images of many shards. Every draw is a function of (seed, epoch,
    pass over the set) and of nothing else.

    Args:
        adv: an `AdversarialSet`.
        seed: integer.
        epoch: integer, or a tensor of one.
        among: int `[n]`, the clean indices of the only images whose examples are used
            (see `check_covers`); None for all.

    Returns:
        An infinite `tf.data.Dataset` of {"image": float32 [h, w, c] in [0, 1],
        "label": int64, "clean_index": int64}.
    """
    builder = _builder(adv)
    (split,) = builder.info.splits.values()
    paths = tf.constant([str(path) for path in split.filepaths])
    # Numbers of 32 and 64 bits are folded in differently: this is what runs were.
    keys = tf.random.experimental.stateless_fold_in([seed, 0], tf.cast(epoch, tf.int32))

    def one_pass(index: tf.Tensor) -> tf.data.Dataset:
        key = tf.random.experimental.stateless_fold_in(keys, index)

        def shuffled(values: tf.Tensor) -> tf.Tensor:
            return tf.random.experimental.stateless_shuffle(values, key)

        shards = tf.data.Dataset.from_tensor_slices(shuffled(paths))
        # Without parallel calls it is deterministic.
        records = shards.interleave(tf.data.TFRecordDataset, cycle_length=_OPEN)
        # `Dataset.shuffle` would draw from the global seed, too.
        return records.batch(_WINDOW).map(shuffled).unbatch()

    def example(record: tf.Tensor) -> dict[str, tf.Tensor]:
        features = builder.info.features.deserialize_example(record)
        features = _with_float_images(features)
        return {key: features[key] for key in ("image", "label", "clean_index")}

    records = tf.data.Dataset.counter().flat_map(one_pass)
    examples = records.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    if among is None:
        return examples
    used = np.zeros(np.max(among) + 2, bool)  # the last: any larger index
    used[among] = True
    return examples.filter(
        lambda each: tf.gather(used, tf.minimum(each["clean_index"], len(used) - 1))
    )


def check_covers(adv: AdversarialSet, among: np.ndarray) -> None:
    """Raises ValueError where a set holds no example of the images `among`.

    Args:
        adv: an `AdversarialSet`.
        among: int `[n]`, clean indices.
    """
    number = np.isin(read_arrays(adv)["clean_index"], among).sum()
    if not number:
        raise ValueError(
            "Adversarial copies are used of the training images only. Received: "
            f"'{adv.name}', which holds none of the {len(among)} images of "
            "`train_examples`. Use more, or craft a set of them."
        )


# === Parts ===


def _number(eps: str | float | None) -> float | None:
    return None if eps is None else float(fractions.Fraction(eps))


def _verify(directory: pathlib.Path, digests: dict[str, str]) -> None:
    for name, digest in digests.items():
        path = directory / name
        if (
            not untrusted.is_inside(name)
            or not path.is_file()
            or files.sha256(path) != digest
        ):
            raise _corrupted(directory, f"{name} is not the file that was written")


def _builder(adv: AdversarialSet) -> tfds.core.DatasetBuilder:
    """What TFDS reads it by; a set may come from elsewhere."""
    try:
        untrusted.check_tfds(adv.directory)
        builder = tfds.builder_from_directory(adv.directory)
        (split,) = builder.info.splits.values()
        untrusted.check_files(adv.directory, split.filepaths)
    except ValueError as error:
        raise _corrupted(adv.directory, str(error)) from error
    return builder


def _corrupted(directory: pathlib.Path, reason: str) -> ValueError:
    return ValueError(
        f"The adversarial set {directory} is corrupted: {reason}. Make it again with "
        "`make_set` and `overwrite`."
    )


def _with_float_images(examples: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    image = examples["image"]
    if image.dtype == tf.uint8:
        image = tf.cast(image, tf.float32) / 255.0
    return {**examples, "image": image}
