"""What SECURITY.md promises of files from elsewhere, promise by promise."""

import ast
import io
import json
import pathlib
import shutil
import struct
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense import datasets
from tf_advdefense import untrusted
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import adversarial_shards as shards
from tf_advdefense.artifacts import claims
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import runs
from tf_advdefense.evaluation import records
from tf_advdefense.images import NORMS

ROOT = pathlib.Path(untrusted.__file__).parent


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


# === Code ===


def calls():
    """Every call in the package, as source, with its module."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path.name, ast.unparse(node.func), ast.unparse(node)


def test_no_code_is_made_of_data():
    forbidden = {"eval", "exec", "compile", "os.system", "os.popen", "__import__"}
    for module, function, call in calls():
        assert function not in forbidden, (module, call)
        assert not function.startswith(("pickle.", "marshal.", "yaml.", "joblib."))
        assert "allow_pickle=True" not in call and "shell=True" not in call
        assert function != "np.load" or "allow_pickle=False" in call
        if function == "keras.models.load_model":
            assert "safe_mode=True" in call


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name", "type"])
def test_features_of_a_set_import_nothing(key, tmp_path, monkeypatch):
    """TFDS would import the module of a feature that it does not know."""
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    outputs = make_set(tmp_path)
    change_json(
        outputs / "adv" / "s" / "features.json",
        lambda value: {**value, "more": [{key: "evil.Feature"}]},
        outputs,
    )
    with pytest.raises(ValueError, match="corrupted.*'evil.Feature'") as error:
        adversarial_sets.read_arrays(adversarial_sets.load_set(outputs, "s"))
    assert one_line(error) and "evil" not in sys.modules


def test_features_of_a_data_set_import_nothing(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    datasets.load("digits")
    kept = tmp_path / "cache" / "tf_advdefense" / "digits"
    shutil.copytree(kept, tmp_path / "data" / "mine")
    [path] = (tmp_path / "data" / "mine").rglob("features.json")
    text = path.read_text().replace("tensorflow_datasets.core.features", "evil")
    path.write_text(text)
    with pytest.raises(ValueError, match="data set 'mine'") as error:
        datasets.load("mine", str(tmp_path / "data"))
    assert "'evil." in one_line(error) and "evil" not in sys.modules


# === Paths ===


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../../x", "..", "", "..\\x", "\\x"]
)
def test_names_that_leave_their_directory(name):
    assert not untrusted.is_inside(name)


@pytest.mark.parametrize("name", ["a", "a/b.txt", ".a", "a..b", "...", "ü x"])
def test_names_that_stay(name):
    assert untrusted.is_inside(name)


def test_a_set_reads_no_file_beside_it(tmp_path):
    outputs = make_set(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("x")
    digests = {"../../../secret": files.sha256(secret)}
    change_config(outputs, lambda config: {**config, "files": digests})
    with pytest.raises(ValueError, match="corrupted: ../../../secret is not"):
        adversarial_sets.load_set(outputs, "s")


def test_record_files_lie_in_their_set(tmp_path):
    outputs = make_set(tmp_path)
    directory = outputs / "adv" / "s"
    [shard] = directory.glob("*.tfrecord-*")
    shutil.copy(shard, directory.parent)

    def elsewhere(info):
        for split in info["splits"]:
            split["filepathTemplate"] = "../" + split["filepathTemplate"]
        return info

    change_json(directory / "dataset_info.json", elsewhere, outputs)
    with pytest.raises(ValueError, match="corrupted.*does not lie in"):
        adversarial_sets.read_arrays(adversarial_sets.load_set(outputs, "s"))


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "assets/../../out.txt"])
def test_archives_of_keras_hold_what_is_in_them(name, tmp_path):
    path = saved_model(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(ValueError, match="m.keras is damaged.*lies outside"):
        runs.load_model(path)
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize("name", ["../b", "a/b", "", ".hidden", "a\nb", "x" * 300])
def test_names_of_runs_and_sets_are_no_paths(name, tmp_path):
    for load in (runs.load_run, adversarial_sets.load_set):
        with pytest.raises((ValueError, OSError)):
            load(tmp_path, name)


# === Sizes ===


def header(shape, kind="<f4"):
    data = io.BytesIO()
    declared = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(data, declared)
    return data.getvalue()


def archive_of(path, content, name="x.npy", **how):
    with zipfile.ZipFile(path, "w", **how) as archive:
        archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "content, message",
    [
        (header((10**12,)), "declares 4000000000000 bytes, holds 0"),
        (header((2, 3)) + bytes(12), "declares 24 bytes, holds 12"),
        (header((2,)) + bytes(12), "declares 8 bytes, holds 12"),
        (header((2,), "|O") + bytes(16), "[Oo]bject"),
        (b"no array", "magic"),
    ],
)
def test_arrays_are_as_large_as_they_say(content, message, tmp_path):
    path = archive_of(tmp_path / "per_example.npz", content)
    with pytest.raises(ValueError, match=message) as error:
        untrusted.read_arrays(path)
    one_line(error)


def test_honest_arrays_are_read(tmp_path):
    arrays = {
        "a": np.arange(6).reshape(2, 3),
        "b/c": np.array("text"),
        "d": np.zeros((0, 3), bool),
        "f": np.asfortranarray(np.ones((2, 3))),
        "z": np.zeros(10**6),  # a thousandth of its size
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        found = untrusted.read_arrays(tmp_path / "x.npz")
        assert found.keys() == arrays.keys()
        for name, value in arrays.items():
            np.testing.assert_array_equal(found[name], value)


def test_an_archive_holds_no_multiple_of_itself(tmp_path, monkeypatch):
    content = header((10**6,)) + bytes(4 * 10**6)
    path = archive_of(tmp_path / "x.npz", content, compression=zipfile.ZIP_DEFLATED)
    assert len(untrusted.read_arrays(path)["x"]) == 10**6
    monkeypatch.setattr(untrusted, "_LARGEST_CONTENT", 10**6)
    with pytest.raises(ValueError, match="bytes claim to hold 4000128"):
        untrusted.read_arrays(path)
    keras_file = saved_model(tmp_path)
    archive_of(keras_file, content, "config.json", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="claim to hold"):
        runs.load_model(keras_file)


def test_weights_of_absurd_size(tmp_path):
    """Their shape is not the layer's: Keras refuses them before it reads them."""
    path = saved_model(tmp_path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    data = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(data, "r+") as weights:
        found = []
        weights.visititems(
            lambda name, each: (
                found.append(name) if isinstance(each, h5py.Dataset) else None
            )
        )
        for name in found:
            del weights[name]
            weights.create_dataset(name, shape=(10**12,), chunks=(1024,), dtype="f4")
    parts["model.weights.h5"] = data.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="m.keras is damaged"):
        runs.load_model(path)


@pytest.mark.parametrize(
    "content", ["[" * 200_000, '{"a":' * 100_000, "nul", "1" * 9999]
)
def test_json_of_absurd_depth(content, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="results.json is not readable JSON") as error:
        records.load_results(tmp_path)
    one_line(error)


def test_json_of_absurd_size(tmp_path, monkeypatch):
    (tmp_path / "results.json").write_text(json.dumps(["x"] * 100))
    monkeypatch.setattr(untrusted, "_LARGEST_JSON", 100)
    with pytest.raises(ValueError, match="500 bytes are too many"):
        records.load_results(tmp_path)


def masked_checksum(data):
    """CRC-32C, Castagnoli, rotated as TFRecord files hold it."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("length", [2**40, 2**63, 100])
def test_records_are_as_long_as_they_say(length, tmp_path):
    """TensorFlow is ended by the attempt to hold a record of a terabyte."""
    outputs = make_set(tmp_path)
    [shard] = (outputs / "adv" / "s").glob("*.tfrecord-*")
    head = struct.pack("<Q", length)
    content = shard.read_bytes()
    content += head + struct.pack("<I", masked_checksum(head)) + bytes(20)
    shard.write_bytes(content)
    sign(outputs)
    with pytest.raises(ValueError, match="corrupted.*ends within a record"):
        adversarial_sets.read_arrays(adversarial_sets.load_set(outputs, "s"))


def test_the_checksum_is_that_of_records(tmp_path):
    """Else the test before would be of a file that is damaged in other ways."""
    head = struct.pack("<Q", 3)
    with tf.io.TFRecordWriter(str(tmp_path / "x")) as writer:
        writer.write(b"abc")
    written = (tmp_path / "x").read_bytes()
    assert written[:12] == head + struct.pack("<I", masked_checksum(head))
    assert list(untrusted.records(tmp_path / "x")) == [(12, 3)]


def test_records_of_a_data_set_are_as_long_as_they_say(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    whole = datasets.load("digits")
    [path] = tmp_path.rglob("digits-test.tfrecord-*")
    head = struct.pack("<Q", 2**40)
    damaged = path.read_bytes() + head + struct.pack("<I", masked_checksum(head))
    path.write_bytes(damaged)
    assert datasets.load("digits").fingerprint == whole.fingerprint  # Made again.
    assert path.read_bytes() != damaged


def test_images_of_absurd_size(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + bytes(4)

    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            pixels = tf.zeros((4, 4, 3), tf.uint8)
            image = tf.io.encode_png(pixels).numpy()
            (tmp_path / split / name / "0.png").write_bytes(image)
    declared = struct.pack(">IIBBBBB", 10**6, 10**6, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", declared) + chunk(b"IEND", b"")
    (tmp_path / "train" / "a" / "1.png").write_bytes(content)
    bitmap = b"BM" + struct.pack(
        "<IIIIiiHHIIiiII", 54, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0
    )
    (tmp_path / "train" / "b" / "1.bmp").write_bytes(bitmap)
    with pytest.raises(ValueError, match="must be readable.*train/[ab]/1.") as error:
        datasets.load(f"folder:{tmp_path}")
    one_line(error)


# === A set and a model from elsewhere ===


def make_set(tmp_path):
    """A set of three images, called s."""
    outputs = tmp_path / "outputs"
    directory = adversarial_sets.set_directory(outputs, "s")
    request = {
        **dict.fromkeys(("source", "source_sha256", "dataset_fingerprint"), "-"),
        "attack": "fgsm",
        "split": "test",
    }
    claims.claim(directory, request)
    examples = {"image": np.zeros((3, 4, 4, 3), np.float32)}
    examples |= dict.fromkeys(("clean_index", *shards.CLASSES), np.arange(3))
    examples |= dict.fromkeys(NORMS, np.zeros(3, np.float32))
    shards.write_shard(directory, "s", "test", 0, 1, examples)
    shards.finish_set(directory, "s", "test", 1, "abc", (4, 4, 3), "float32", {})
    return outputs


def saved_model(tmp_path):
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    keras.Sequential(layers).save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def change_config(outputs, change):
    """As one who makes such a set would: with the checksum of what it says."""
    directory = outputs / "adv" / "s"
    config = files.read_json(directory / "config.json")
    del config["checksum"]
    files.write_config(directory, change(config))


def sign(outputs):
    def digests(config):
        directory = outputs / "adv" / "s"
        named = {name: files.sha256(directory / name) for name in config["files"]}
        return {**config, "files": named}

    change_config(outputs, digests)


def change_json(path, change, outputs):
    files.write_json(path, change(files.read_json(path)))
    sign(outputs)
