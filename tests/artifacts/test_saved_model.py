"""SavedModels: ours served without the package, and anybody's attacked."""

import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts import saved_model

SHAPE = (8, 8, 3)
IMAGES = np.random.default_rng(0).random((5, *SHAPE), np.float32)


def small_model(seed=0):
    """A network in which training mode, were it used, would show."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Rescaling(2.0, offset=-1.0),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    moments = [v for v in model.variables if v.path.endswith("moving_variance")]
    moments[0].assign([0.5, 1.0, 2.0, 4.0])
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = small_model()
    directory = tmp_path_factory.mktemp("export") / "saved_model"
    saved_model.export_saved_model(model, directory, {"accuracy": 0.75})
    return model, directory


class Foreign(tf.Module):
    """A SavedModel from elsewhere, made without Keras."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(tf.random.stateless_normal([192, 10], [0, 1]))

    def logits(self, images):
        return tf.reshape(images, [-1, 192]) @ self.kernel

    def save(self, path, function, shape=(None, *SHAPE), dtype=tf.float32):
        spec = tf.TensorSpec(shape, dtype, "x")
        endpoint = tf.function(function, input_signature=[spec])
        tf.saved_model.save(self, str(path), {"serving_default": endpoint})


# === Export ===


@pytest.fixture(scope="module")
def elsewhere(exported, tmp_path_factory):
    """What one process made of the export, where this package cannot be imported.

    It is served there, and given to the two commands of `saved_model_cli`. Returns the
    process' directory and what the commands printed.
    """
    _, directory = exported
    there = tmp_path_factory.mktemp("elsewhere")
    np.save(there / "x.npy", IMAGES)
    script = """
import sys
sys.modules["tf_advdefense"] = None  # Importing it fails, wherever it is installed.
import numpy as np
import tensorflow as tf
from tensorflow.python.tools import saved_model_cli
loaded = tf.saved_model.load(sys.argv[1])
serve = loaded.signatures["serving_default"]
assert list(serve.structured_input_signature[1]) == ["images"]
assert serve.structured_input_signature[1]["images"].shape.as_list() == [None, 8, 8, 3]
np.savez("y.npz", **serve(tf.constant(np.load("x.npy"))))
choice = ["--dir", sys.argv[1], "--tag_set", "serve"]
choice += ["--signature_def", "serving_default"]
files = ["--inputs", "images=x.npy", "--outdir", "out"]
for command in (["show", *choice], ["run", *choice, *files]):
    sys.argv = ["saved_model_cli", *command]
    try:
        saved_model_cli.main()
    except SystemExit as end:
        assert not end.code, end
"""
    # -I: neither the current directory nor PYTHONPATH is looked at.
    command = [sys.executable, "-I", "-c", script, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=there)
    assert done.returncode == 0, done.stderr
    return there, done.stdout


def test_it_serves_where_this_package_cannot_be_imported(exported, elsewhere):
    model, (there, _) = exported[0], elsewhere
    served = np.load(there / "y.npz")
    logits = model(IMAGES, training=False).numpy()
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert set(served) == {"logits", "probabilities", "class"}
    close = {"atol": 1e-5, "rtol": 1e-5}
    np.testing.assert_allclose(served["logits"], logits, **close)
    np.testing.assert_allclose(served["probabilities"], probabilities, **close)
    np.testing.assert_array_equal(served["class"], logits.argmax(axis=1))
    assert served["logits"].dtype == np.float32 and served["class"].dtype == np.int64


def test_saved_model_cli_shows_and_runs_it(exported, elsewhere):
    model, (there, shown) = exported[0], elsewhere
    assert "inputs['images']" in shown and "shape: (-1, 8, 8, 3)" in shown
    for name in ("logits", "probabilities", "class"):
        assert f"outputs['{name}']" in shown
    np.testing.assert_allclose(
        np.load(there / "out" / "logits.npy"), model(IMAGES), atol=1e-5, rtol=1e-5
    )


def test_the_evaluation_lies_beside_it(exported):
    _, directory = exported
    assert json.loads((directory / "evaluation.json").read_text()) == {"accuracy": 0.75}
    assert [path.name for path in directory.parent.iterdir()] == ["saved_model"]


def test_an_export_replaces_the_former_one(tmp_path):
    for seed in (0, 1):
        saved_model.export_saved_model(small_model(seed), tmp_path / "m")
    logits = runs.load_model(tmp_path / "m")(IMAGES)
    np.testing.assert_allclose(logits, small_model(1)(IMAGES), atol=1e-5, rtol=1e-5)
    assert os.listdir(tmp_path) == ["m"]


def test_a_card_lies_beside_it_and_leaves_it_an_export(tmp_path):
    card = {"model_card.md": b"# a", "model_card.json": b"{}"}
    saved_model.export_saved_model(small_model(), tmp_path / "m", {"a": 1}, card)
    assert (tmp_path / "m" / "model_card.md").read_bytes() == b"# a"
    assert saved_model.is_export(tmp_path / "m")
    assert saved_model.exported_of_run(tmp_path / "m")
    before = identity.files_sha256(tmp_path / "m")
    saved_model.write_card(tmp_path / "m", {"model_card.md": b"# b"})
    assert saved_model.is_export(tmp_path / "m")
    # Written anew with every report, it does not make it another model.
    assert identity.files_sha256(tmp_path / "m") == before
    # Behind transformations it is another model; and so is what is no export.
    evaluation = {"run": "a", "transforms": "bit_depth"}
    saved_model.export_saved_model(small_model(), tmp_path / "m", evaluation)
    assert not (tmp_path / "m" / "model_card.md").exists()
    assert not saved_model.exported_of_run(tmp_path / "m")
    assert not saved_model.exported_of_run(tmp_path)
    assert not saved_model.exported_of_run(tmp_path / "absent")


@pytest.mark.parametrize("held", ["photo.jpg", "evaluation.json", "both"])
def test_a_directory_that_is_no_export_is_never_replaced(tmp_path, held):
    directory = tmp_path / "m"
    if held == "both":  # an export with something of the user's own
        saved_model.export_saved_model(small_model(), directory)
        held = "photo.jpg"
    directory.mkdir(exist_ok=True)
    (directory / held).write_text("precious")
    (directory / "keep").mkdir()
    with pytest.raises(FileExistsError, match="holds other files"):
        saved_model.export_saved_model(small_model(), directory)
    assert (directory / held).read_text() == "precious"
    assert (directory / "keep").exists() and os.listdir(tmp_path) == ["m"]


def test_an_empty_directory_is_filled(tmp_path):
    (tmp_path / "m").mkdir()
    saved_model.export_saved_model(small_model(), tmp_path / "m")
    assert (tmp_path / "m" / "saved_model.pb").exists()


def test_a_failed_export_leaves_the_former_one(tmp_path):
    saved_model.export_saved_model(small_model(), tmp_path / "m")
    before = identity.files_sha256(tmp_path / "m")
    with pytest.raises(TypeError):
        saved_model.export_saved_model(small_model(), tmp_path / "m", {"a": object()})
    assert identity.files_sha256(tmp_path / "m") == before
    assert os.listdir(tmp_path) == ["m"]


def test_a_mixed_precision_model_is_served_in_float32(tmp_path):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_model()
    finally:
        keras.config.set_dtype_policy(policy)
    saved_model.export_saved_model(model, tmp_path / "m")
    loaded = runs.load_model(tmp_path / "m")
    assert model.compute_dtype == "bfloat16" and loaded(IMAGES).dtype == tf.float32


# === Loading ===


def test_a_loaded_one_is_the_model(exported):
    model, directory = exported
    loaded = runs.load_model(directory)
    assert isinstance(loaded, keras.Model)
    assert loaded.input_shape == (None, *SHAPE) and loaded.output_shape == (None, 10)
    assert loaded.count_params() == model.count_params()
    np.testing.assert_allclose(
        loaded.predict(IMAGES), model.predict(IMAGES), atol=1e-5, rtol=1e-5
    )


def test_gradients_flow_through_a_loaded_one(exported):
    def gradient(model):
        images = tf.constant(IMAGES)
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(model(images, training=False) ** 2)
        return tape.gradient(loss, images)

    model, directory = exported
    expected = gradient(model)
    for way in (gradient, tf.function(gradient)):
        got = way(runs.load_model(directory))
        assert got is not None
        np.testing.assert_allclose(got, expected, atol=1e-4, rtol=1e-4)


def test_training_mode_does_not_reach_a_loaded_one(exported):
    _, directory = exported
    loaded = runs.load_model(directory)
    np.testing.assert_array_equal(
        loaded(IMAGES, training=True), loaded(IMAGES, training=False)
    )


@pytest.mark.parametrize("outputs", ["tensor", "other name", "logits among others"])
def test_one_from_elsewhere(tmp_path, outputs):
    foreign = Foreign()

    def function(x):
        logits = foreign.logits(x)
        return {
            "tensor": logits,
            "other name": {"scores": logits},
            "logits among others": {"a": -logits, "logits": logits, "z": logits + 1},
        }[outputs]

    foreign.save(tmp_path / "m", function)
    loaded = runs.load_model(tmp_path / "m")
    np.testing.assert_allclose(loaded(IMAGES), foreign.logits(IMAGES), rtol=1e-6)


def test_keras_own_export_loads_too(tmp_path):
    model = small_model()
    model.export(tmp_path / "m", verbose=False)
    loaded = runs.load_model(tmp_path / "m")
    np.testing.assert_allclose(loaded(IMAGES), model(IMAGES), atol=1e-5, rtol=1e-5)


def test_one_that_cuts_gradients_loads(tmp_path):
    foreign = Foreign()
    foreign.save(tmp_path / "m", lambda x: foreign.logits(tf.round(x * 255) / 255))
    loaded = runs.load_model(tmp_path / "m")
    expected = foreign.logits(np.rint(IMAGES * 255) / np.float32(255))
    np.testing.assert_allclose(loaded(IMAGES), expected, rtol=1e-5, atol=1e-5)


def test_ambiguous_outputs_are_listed(tmp_path):
    foreign = Foreign()
    foreign.save(tmp_path / "m", lambda x: {"a": foreign.logits(x), "b": x})
    with pytest.raises(ValueError, match="one output, or one named `logits`") as error:
        runs.load_model(tmp_path / "m")
    assert "Received: 2 outputs, a, b." in str(error.value) and "\n" not in str(
        error.value
    )


@pytest.mark.parametrize(
    "shape, dtype",
    [((None, 192), tf.float32), ((2, *SHAPE), tf.float32), ((None, *SHAPE), tf.uint8)],
)
def test_a_signature_that_takes_no_batch_of_images(tmp_path, shape, dtype):
    foreign = Foreign()
    cast = tf.function(lambda x: foreign.logits(tf.cast(x, tf.float32)))
    foreign.save(tmp_path / "m", cast, shape, dtype)
    with pytest.raises(ValueError, match="must take one float32 batch") as error:
        runs.load_model(tmp_path / "m")
    assert "TensorSpec" in str(error.value) and "\n" not in str(error.value)


def test_no_serving_default(tmp_path):
    tf.saved_model.save(Foreign(), str(tmp_path / "m"))
    with pytest.raises(ValueError, match="no endpoint serving_default") as error:
        runs.load_model(tmp_path / "m")
    assert "\n" not in str(error.value)


def truncate(directory):
    [data] = (directory / "variables").glob("*.data-*")
    data.write_bytes(data.read_bytes()[:50])


DAMAGES = {
    "no model": lambda path: (path / "saved_model.pb").write_bytes(b"damaged"),
    "empty model": lambda path: (path / "saved_model.pb").write_bytes(b""),
    "no variables": lambda path: shutil.rmtree(path / "variables"),
    "no index": lambda path: (path / "variables" / "variables.index").unlink(),
    "truncated variables": truncate,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_saved_model(damage, exported, tmp_path):
    path = shutil.copytree(exported[1], tmp_path / "m")
    DAMAGES[damage](path)
    with pytest.raises(ValueError, match="is damaged or has no endpoint") as error:
        runs.load_model(path)
    assert "\n" not in str(error.value)
