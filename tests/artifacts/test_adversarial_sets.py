"""Adversarial sets: written, read as a TFDS data set, streamed, refused."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_advdefense.artifacts import adversarial_sets as sets
from tf_advdefense.artifacts import adversarial_shards as shards
from tf_advdefense.artifacts import claims
from tf_advdefense.artifacts.former_formats import without_kind

SHAPE = (4, 4, 3)
NAME = "resnet50-fgsm-eps8_255-test"
CLASSES = ["cat", "dog", "bird"]


REQUEST = {
    "attack": "fgsm",
    "split": "test",
    "source": "resnet50",
    "source_sha256": "0" * 64,
    "dataset_fingerprint": "f",
}


def make_examples(length=10, seed=0):
    random = np.random.default_rng(seed)
    examples = {"image": random.random((length, *SHAPE), np.float32)}
    examples["clean_index"] = np.arange(100, 100 + length)
    for key in ("label", "clean_prediction", "prediction"):
        examples[key] = random.integers(0, 3, length)
    for key in ("l0", "l1", "l2", "linf"):
        examples[key] = random.random(length).astype(np.float32)
    return examples


def write_shards(directory, examples, store="float32", batch_size=4, skip=()):
    ranges = shards.shard_ranges(len(examples["label"]), batch_size)
    for i, (start, stop) in enumerate(ranges):
        if i not in skip:
            part = {key: values[start:stop] for key, values in examples.items()}
            shards.write_shard(directory, NAME, "test", i, len(ranges), part, store)
    return len(ranges)


def make_set(output_dir, examples, store="float32", batch_size=4):
    directory = sets.set_directory(output_dir, NAME)
    claims.claim(directory, REQUEST)
    n = write_shards(directory, examples, store, batch_size)
    finish(directory, n, store)
    return sets.load_set(output_dir, NAME)


def finish(directory, n, store="float32"):
    return shards.finish_set(
        directory, NAME, "test", n, CLASSES, SHAPE, store, {"passes": 2}
    )


def rounded(images):
    return np.rint(images * 255).astype(np.uint8) / np.float32(255)


# === Names and shards ===


@pytest.mark.parametrize(
    "source, attack, eps, default, expected",
    [
        ("resnet50", "cw", None, None, "resnet50-cw-test"),
        ("resnet50", "fgsm", "0.3", None, "resnet50-fgsm-eps0.3-test"),
        ("resnet50", "fgsm", "0.3", 8 / 255, "resnet50-fgsm-eps0.3-test"),
        ("resnet50", "fgsm", "8/255", 8 / 255, "resnet50-fgsm-test"),
        ("resnet50", "fgsm", "0.30", 0.3, "resnet50-fgsm-test"),
        ("resnet50", "pgd", "4/255", 8 / 255, "resnet50-pgd-eps4_255-test"),
        ("my model:v2", "pgd", None, 8 / 255, "my_model_v2-pgd-test"),
    ],
)
def test_set_name(source, attack, eps, default, expected):
    assert sets.set_name(source, attack, eps, default, "test") == expected


@pytest.mark.parametrize(
    "num_examples, batch_size, size",
    [(10, 4, 4), (8, 4, 4), (4096, 128, 128), (4097, 128, 1024), (45_000, 128, 1024)],
)
def test_shards_are_cut_at_multiples_of_the_batch(num_examples, batch_size, size):
    ranges = shards.shard_ranges(num_examples, batch_size)
    covered = [i for start, stop in ranges for i in range(start, stop)]
    assert covered == list(range(num_examples))
    assert all(stop - start == size for start, stop in ranges[:-1])
    assert ranges[-1][1] - ranges[-1][0] <= size


# === Writing and reading ===


@pytest.mark.parametrize("store", ["float32", "uint8"])
def test_a_set_comes_back_as_it_was_written(tmp_path, store):
    examples = make_examples(50)  # Shards larger than the blocks TFDS interleaves.
    arrays = sets.read_arrays(make_set(tmp_path, examples, store, batch_size=20))
    images = rounded(examples["image"]) if store == "uint8" else examples["image"]
    np.testing.assert_array_equal(arrays.pop("image"), images)
    np.testing.assert_array_equal(shards.as_stored(examples["image"], store), images)
    assert images.dtype == np.float32
    assert shards.as_stored(examples["image"], store).dtype == np.float32
    assert set(arrays) == set(examples) - {"image"}
    for key, values in arrays.items():
        np.testing.assert_array_equal(values, examples[key])
        assert values.dtype == examples[key].dtype


def test_every_grey_level_is_exact_in_a_uint8_store(tmp_path):
    examples = make_examples(6)
    levels = np.arange(288).reshape(6, *SHAPE) % 256
    examples["image"] = (levels / 255).astype(np.float32)
    adv = make_set(tmp_path, examples, "uint8")
    np.testing.assert_array_equal(sets.read_arrays(adv)["image"], examples["image"])
    for example in sets.stream(adv, seed=0, epoch=0).take(6).as_numpy_iterator():
        expected = examples["image"][example["clean_index"] - 100]
        np.testing.assert_array_equal(example["image"], expected)


@pytest.mark.parametrize("store", ["float32", "uint8"])
def test_tfds_reads_the_directory_as_it_is(tmp_path, store):
    examples = make_examples()
    adv = make_set(tmp_path, examples, store)
    builder = tfds.builder_from_directory(adv.directory)
    assert builder.info.splits["test"].num_examples == 10
    assert builder.info.features["label"].names == CLASSES
    assert builder.info.features["image"].shape == SHAPE
    assert builder.info.features["image"].np_dtype == np.dtype(store)
    read = list(tfds.as_numpy(builder.as_dataset(split="test")))
    assert sorted(example["clean_index"] for example in read) == [*range(100, 110)]
    assert set(read[0]) == set(sets.FEATURES)


def test_the_config_describes_the_set(tmp_path):
    examples = make_examples()
    # Of four images that were right, one holds out and three are fooled.
    examples["label"] = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    examples["clean_prediction"] = np.array([0, 0, 0, 0, 2, 2, 2, 2, 2, 2])
    examples["prediction"] = np.array([0, 1, 2, 1, 1, 1, 2, 2, 0, 0])
    adv = make_set(tmp_path, examples)
    assert adv.name == NAME and adv.directory == tmp_path / "adv" / NAME
    assert adv.config["num_examples"] == 10
    assert adv.config["success_rate"] == 0.75
    means = {norm: examples[norm][1:4].mean() for norm in ("l0", "l1", "l2", "linf")}
    assert adv.config["mean_norms"] == pytest.approx(means)
    assert adv.config["image_shape"] == list(SHAPE)
    assert adv.config["class_names"] == CLASSES
    assert adv.config["passes"] == 2
    assert adv.config["request"] == REQUEST
    others = {path.name for path in adv.directory.iterdir()} - {"config.json"}
    assert set(adv.config["files"]) == others
    written = {name for name in others if ".tfrecord" in name}
    stem = "resnet50_fgsm_eps8_255_test-test.tfrecord"
    assert written == {f"{stem}-{i:05}-of-00003" for i in range(3)}


def test_no_success_rate_where_nothing_was_right(tmp_path):
    examples = make_examples()
    examples["clean_prediction"] = (examples["label"] + 1) % 3
    config = make_set(tmp_path, examples).config
    assert config["success_rate"] is None and config["mean_norms"] is None


def test_equal_examples_are_equal_files_in_every_process(tmp_path):
    script = (
        "import pathlib, sys; sys.path[:0] = sys.argv[2:]\n"
        "import test_adversarial_sets as t\n"
        "for store in ('float32', 'uint8'):\n"
        "    t.make_set(pathlib.Path(sys.argv[1], store), t.make_examples(), store)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "there")]
    subprocess.run([*command, os.path.dirname(__file__), *sys.path], check=True)
    for store in ("float32", "uint8"):
        adv = make_set(tmp_path / "here" / store, make_examples(), store)
        other = sets.load_set(tmp_path / "there" / store, NAME)
        for name in adv.config["files"]:
            assert (adv.directory / name).read_bytes() == (
                other.directory / name
            ).read_bytes(), (store, name)


def test_an_interrupted_set_is_continued_to_the_same_bytes(tmp_path):
    whole = make_set(tmp_path / "whole", make_examples())
    directory = sets.set_directory(tmp_path / "half", NAME)
    claims.claim(directory, REQUEST)
    n = write_shards(directory, make_examples(), skip=[1])
    (directory / ".tmp-01234567-shard").write_bytes(b"half")
    complete = [shards.shard_complete(directory, NAME, "test", i, n) for i in range(n)]
    assert complete == [True, False, True]
    assert claims.claim(directory, REQUEST, resume=True) == "unfinished"
    write_shards(directory, make_examples(), skip=[0, 2])
    assert finish(directory, n)["files"] == whole.config["files"]
    assert not list(directory.glob(".tmp-*"))


def test_a_set_of_a_former_version_is_read_and_recognised(tmp_path):
    directory = sets.set_directory(tmp_path, NAME)
    same = {**REQUEST, "attack": "square", "params": {"eps": 0.1}, "seed": 0}
    claims.claim(directory, {**same, "kind": "score-based"})
    finish(directory, write_shards(directory, make_examples()))
    today = {**same, "goal": "fixed-eps", "access": "scores"}
    assert sets.load_set(tmp_path, NAME).config["request"] == today
    assert claims.claim(directory, today, convert=without_kind) == "finished"
    with pytest.raises(FileExistsError, match="seed 0, now 1. Choose"):
        claims.claim(directory, {**today, "seed": 1}, convert=without_kind)


def test_a_set_with_a_name_that_tfds_would_misread(tmp_path):
    directory = sets.set_directory(tmp_path, "2-x.y-train-test")
    claims.claim(directory, REQUEST)
    name = directory.name
    shards.write_shard(directory, name, "train", 0, 1, make_examples())
    shards.finish_set(directory, name, "train", 1, CLASSES, SHAPE, "float32", {})
    arrays = sets.read_arrays(sets.load_set(tmp_path, name))
    np.testing.assert_array_equal(arrays["clean_index"], np.arange(100, 110))


# === Streaming ===


def indices(stream, count):
    return [int(e["clean_index"]) - 100 for e in stream.take(count).as_numpy_iterator()]


@pytest.fixture(scope="module")
def adv_set(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("stream"), make_examples(60), batch_size=16)


def test_a_stream_gives_every_example_once_per_pass(adv_set):
    seen = indices(sets.stream(adv_set, seed=0, epoch=0), 180)
    passes = [seen[:60], seen[60:120], seen[120:]]
    assert all(sorted(one) == list(range(60)) for one in passes)
    assert passes[0] != passes[1] != passes[2]


def test_a_stream_is_a_function_of_seed_and_epoch(adv_set):
    def of(seed, epoch):
        return indices(sets.stream(adv_set, seed=seed, epoch=epoch), 90)

    tf.random.set_seed(1)
    first = of(0, 1)
    tf.random.set_seed(2)
    assert of(0, 1) == first
    assert len({tuple(of(*key)) for key in [(0, 1), (1, 0), (0, 0), (1, 1)]}) == 4


def test_a_stream_of_some_images_holds_no_other(adv_set):
    among = np.array([103, 159, 500])  # the last is not in the set
    seen = indices(sets.stream(adv_set, seed=0, epoch=0, among=among), 20)
    assert sorted(seen) == [3] * 10 + [59] * 10
    sets.check_covers(adv_set, among)
    with pytest.raises(ValueError, match="none of the 2 images"):
        sets.check_covers(adv_set, np.array([99, 500]))


def test_a_stream_mixes_shards(adv_set):
    seen = np.array(indices(sets.stream(adv_set, seed=0, epoch=0), 60)) // 16
    assert len(set(seen[:16])) > 2


def test_a_batch_of_a_set_larger_than_the_window_holds_many_shards(
    adv_set, monkeypatch
):
    monkeypatch.setattr(sets, "_WINDOW", 8)  # Half a shard.
    seen = np.array(indices(sets.stream(adv_set, seed=0, epoch=0), 48)) // 16
    for batch in seen.reshape(6, 8):
        assert np.bincount(batch, minlength=4).min() >= 1
    again = indices(sets.stream(adv_set, seed=0, epoch=0), 48)
    assert (np.array(again) // 16).tolist() == seen.tolist()


def test_shards_come_in_another_order_in_every_pass(adv_set, monkeypatch):
    monkeypatch.setattr(sets, "_WINDOW", 1)  # No shuffling within the pass.
    seen = np.array(indices(sets.stream(adv_set, seed=0, epoch=0), 360)) // 16
    orders = {tuple(dict.fromkeys(one)) for one in seen.reshape(6, 60).tolist()}
    assert len(orders) > 3 and all(sorted(order) == [0, 1, 2, 3] for order in orders)


def test_a_streamed_example_is_the_stored_one(adv_set):
    arrays = sets.read_arrays(adv_set)
    for example in sets.stream(adv_set, seed=3, epoch=0).take(60).as_numpy_iterator():
        at = example["clean_index"] - 100
        np.testing.assert_array_equal(example["image"], arrays["image"][at])
        assert example["label"] == arrays["label"][at]


def test_streams_of_both_stores_can_be_chosen_from(adv_set, tmp_path):
    other = make_set(tmp_path, make_examples(8, seed=1), "uint8")
    streams = [sets.stream(adv, seed=0, epoch=0) for adv in (adv_set, other)]
    choices = tf.data.Dataset.from_tensor_slices(np.array([0, 1, 1, 0], np.int64))
    mixed = tf.data.Dataset.choose_from_datasets(streams, choices.repeat())
    got = indices(mixed, 8)
    first, second = (indices(stream, 4) for stream in streams)
    assert [got[i] for i in (0, 3, 4, 7)] == first
    assert [got[i] for i in (1, 2, 5, 6)] == second


# === Refusals ===


def refusal(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_set_names_the_known_ones(tmp_path):
    make_set(tmp_path, make_examples())
    with pytest.raises(FileNotFoundError, match="No finished adversarial set") as error:
        sets.load_set(tmp_path, "x")
    assert f"Known: {NAME}. Make it with `make_set`." in refusal(error)


def test_an_unfinished_set_says_how_to_continue(tmp_path):
    claims.claim(sets.set_directory(tmp_path, NAME), {})
    with pytest.raises(FileNotFoundError, match="is unfinished") as error:
        sets.load_set(tmp_path, NAME)
    assert "repeat its `make_set` with `resume`" in refusal(error)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_corrupted_set_names_the_file(tmp_path, damage):
    adv = make_set(tmp_path, make_examples())
    path = sorted(adv.directory.glob("*.tfrecord-*"))[1]
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes({"flip": bytes(data), "truncate": data[:-5]}.get(damage, b""))
    if damage == "remove":
        path.unlink()
    with pytest.raises(ValueError, match="is corrupted") as error:
        sets.load_set(tmp_path, NAME)
    assert path.name in refusal(error) and "`overwrite`" in refusal(error)
    assert sets.load_set(tmp_path, NAME, verify=False).config == adv.config


def test_missing_shards_are_not_finished(tmp_path):
    directory = sets.set_directory(tmp_path, NAME)
    claims.claim(directory, {})
    n = write_shards(directory, make_examples(), skip=[1])
    with pytest.raises(ValueError, match="lacks 1 of 3 shards, first .*-00001-of"):
        finish(directory, n)
    assert not (directory / "config.json").exists()


@pytest.mark.parametrize("value", [-0.01, 1.01, 255.0, np.nan])
def test_images_outside_the_range_are_not_written(tmp_path, value):
    examples = make_examples()
    examples["image"][3, 1, 1, 1] = value
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]. Received") as error:
        shards.write_shard(tmp_path, NAME, "test", 0, 1, examples)
    assert "255" in refusal(error)
    assert not list(tmp_path.iterdir())


def test_no_feature_is_forgotten(tmp_path):
    examples = make_examples()
    del examples["l2"]
    with pytest.raises(ValueError, match="An example has the features") as error:
        shards.write_shard(tmp_path, NAME, "test", 0, 1, examples)
    refusal(error)
