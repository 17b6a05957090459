"""TensorFlow Lite files: what their interpreter says, as Keras models."""

import concurrent.futures
import subprocess
import sys

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf
import tflite_files

from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts.runs import load_model
from tf_advdefense.attacks import ATTACKS
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.models import foreign
from tf_advdefense.models.tflite import is_deployed

SHAPE, CLASSES = small_models.SHAPE, small_models.CLASSES
IMAGES = tflite_files.images()

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*Interpreter is deprecated", "ignore:Statistics for quantized inputs"
)


@pytest.fixture(scope="module")
def model():
    return tflite_files.classifier()


@pytest.fixture(scope="module")
def labels(model):
    return small_models.classes(model, IMAGES)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """Path of each kind of file."""
    folder = tmp_path_factory.mktemp("tflite")
    return {
        kind: tflite_files.written(
            folder / f"{kind}.tflite", tflite_files.converted(model, kind)
        )
        for kind in tflite_files.KINDS
    }


# === Outputs ===


@pytest.mark.parametrize("kind", tflite_files.KINDS)
def test_outputs_are_the_interpreters_own(files, model, kind):
    deployed = load_model(files[kind])
    assert is_deployed(deployed) and not is_deployed(model)
    assert deployed.output_shape == (None, CLASSES)
    compiled = tf.function(deployed)
    for batch in (IMAGES[:1], IMAGES[:7], IMAGES):
        given = batch
        if kind == "int8":  # [0, 1] is quantised to all 256 levels: 255 x - 128
            given = np.rint(255 * batch - 128).astype(np.int8)
        raw, details, _ = tflite_files.invoked(files[kind], given)
        scale, zero_point = details["quantization"]
        expected = raw if not scale else scale * (raw.astype(np.float32) - zero_point)
        found = np.asarray(compiled(batch))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
        steps = np.abs(model(batch) - found).max()
        assert steps < {"int8": 0.3, "int8 inside": 0.3}.get(kind, 0.02)
    assert compiled(IMAGES[:0]).shape == (0, CLASSES)


def test_a_float_file_classifies_exactly_as_its_parent(files, labels):
    adapted = foreign.adapt(load_model(files["float"]), IMAGES, labels)
    assert not adapted.notes and not adapted.warnings
    np.testing.assert_array_equal(small_models.classes(adapted.model, IMAGES), labels)


@pytest.mark.parametrize("kind", [tf.int8, tf.uint8])
def test_scales_and_zero_points_are_those_of_the_file(model, labels, kind, tmp_path):
    """A model of images in [-1, 1] has its zero in the middle of the integers."""
    given = keras.Input(SHAPE)
    middle = keras.Model(given, model(0.5 * given + 0.5))
    content = tflite_files.converted(middle, "int8", kind, kind)
    path = tflite_files.written(tmp_path / "m.tflite", content)
    # It was calibrated on [0, 1]: what is darker is cut off, as on a device.
    bounds = np.iinfo(kind.as_numpy_dtype)
    x = np.float32([-0.7, 0.0, 0.2503, 0.9996, 1.4])
    x = np.broadcast_to(x[:, None, None, None], (5, *SHAPE))
    _, _, details = tflite_files.invoked(path, np.zeros_like(x, kind.as_numpy_dtype))
    scale, zero_point = details["quantization"]
    whole = np.clip(np.round(x / scale) + zero_point, bounds.min, bounds.max)
    raw, details, _ = tflite_files.invoked(path, whole.astype(kind.as_numpy_dtype))
    scale, zero_point = details["quantization"]
    found = load_model(path)(x)
    np.testing.assert_allclose(found, scale * (np.float32(raw) - zero_point), 1e-6)


@pytest.mark.parametrize("kind", ["float", "int8", "int8 inside"])
def test_a_softmax_is_inverted_also_where_it_is_rounded(labels, tmp_path, kind):
    """Of integers the probabilities are 256ths, and sum up to 1 but roughly."""
    softened = tflite_files.classifier("softmax", scale=1.0)
    content = tflite_files.converted(softened, kind)
    path = tflite_files.written(tmp_path / "m.tflite", content)
    deployed = load_model(path)
    adapted = foreign.adapt(deployed, IMAGES, small_models.classes(softened, IMAGES))
    assert adapted.notes == ("its softmax was inverted",)
    np.testing.assert_allclose(
        tf.exp(adapted.model(IMAGES)), deployed(IMAGES), rtol=1e-4, atol=1e-6
    )


def test_the_range_of_images_is_found(model, labels, tmp_path):
    given = keras.Input(SHAPE)
    wide = keras.Model(given, model(given / 255.0))
    path = tflite_files.written(tmp_path / "m.tflite", tflite_files.converted(wide))
    adapted = foreign.adapt(load_model(path), IMAGES, labels)
    assert "images in [0, 255]" in adapted.notes[0]
    np.testing.assert_array_equal(small_models.classes(adapted.model, IMAGES), labels)


def test_a_fixed_batch_runs_as_often_as_it_takes(model, tmp_path):
    for size in (1, 3):
        spec = tf.TensorSpec([size, *SHAPE])
        content = tflite_files.of_function(lambda x: model(x), spec)
        path = tflite_files.written(tmp_path / f"{size}.tflite", content)
        deployed = load_model(path)
        for batch in (IMAGES[:1], IMAGES[:7]):
            np.testing.assert_allclose(deployed(batch), model(batch), rtol=1e-4)


def test_threads_take_turns(files):
    deployed = load_model(files["float"])
    batches = [IMAGES[: 1 + i % 9] for i in range(64)]
    expected = np.asarray(deployed(IMAGES))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for batch, found in zip(batches, pool.map(deployed, batches)):
            np.testing.assert_allclose(found, expected[: len(batch)], 1e-5, 1e-5)


# === Attacks ===


def test_square_is_the_same_as_on_the_keras_model(tmp_path):
    keras.utils.set_random_seed(5)
    linear = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    )
    content = tflite_files.converted(linear)
    path = tflite_files.written(tmp_path / "m.tflite", content)
    attack = small_models.within_budget("square", eps=0.02)
    labels = small_models.classes(linear, IMAGES)
    found, expected = (
        craft(each, attack, IMAGES, labels, batch_size=32)
        for each in (load_model(path), linear)
    )
    assert 0 < np.mean(expected["prediction"] != labels) < 1
    np.testing.assert_array_equal(found["image"], expected["image"])
    np.testing.assert_array_equal(found["forwards"], expected["forwards"])


def test_attacks_with_gradients_are_refused_and_others_named(files):
    deployed = load_model(files["int8"])
    for name, attack in ATTACKS.items():
        if attack.needs_gradient:
            with pytest.raises(ValueError, match="a TensorFlow Lite file by") as error:
                attack(deployed, IMAGES[:2])
            assert "\n" not in str(error.value)
        else:
            assert f"`{name}`" in str(error.value)
    assert "`compare(parent='FLOAT.keras')`" in str(error.value)


# === Which file it is ===


def test_a_model_is_known_by_the_bytes_of_its_file(files, tmp_path):
    """Wherever it lies, and not by weights, of which Keras sees none."""
    digests = {
        kind: identity.model_sha256(load_model(path)) for kind, path in files.items()
    }
    assert len(set(digests.values())) == len(tflite_files.KINDS)
    copy = tflite_files.written(tmp_path / "b.tflite", files["int8"].read_bytes())
    assert identity.model_sha256(load_model(copy)) == digests["int8"]


# === What is refused ===


def refused(model):
    spec = tf.TensorSpec([1, *SHAPE])
    number = tf.TensorSpec([1], tf.float32)
    content = tflite_files.converted(model)
    of = tflite_files.of_function
    whole = tf.TensorSpec([1, *SHAPE], tf.int32)
    return {
        "is damaged or no TensorFlow Lite model": lambda: content[:-900],
        "is damaged or no TensorFlow Lite": lambda: b"",
        "with the inputs": lambda: of(lambda x, y: model(x) * y, spec, number),
        "must have one output": lambda: of(lambda x: [model(x), 2 * model(x)], spec),
        "int64, such as class": lambda: of(lambda x: tf.argmax(model(x), 1), spec),
        r"returns \[1, 4, 1\]": lambda: of(lambda x: model(x)[..., None], spec),
        "takes int32": lambda: of(lambda x: model(tf.cast(x, tf.float32)), whole),
    }


@pytest.mark.parametrize("place", range(7))
def test_other_files_are_refused_in_one_line(model, place, tmp_path):
    message, made = list(refused(model).items())[place]
    path = tflite_files.written(tmp_path / "m.tflite", made())
    with pytest.raises(ValueError, match=message) as error:
        load_model(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_other_images_and_no_file_are_refused_in_one_line(files, tmp_path):
    with pytest.raises(FileNotFoundError, match="No model at .*m.tflite"):
        load_model(tmp_path / "m.tflite")
    with pytest.raises(ValueError, match="must take the data set's images"):
        foreign.adapt(load_model(files["float"]), IMAGES[:, 1:], np.zeros(64, int))


def test_the_terminal_stays_quiet(files):
    script = (
        "import sys\n"
        "from tf_advdefense.commands.loading import quietly\n"
        "with quietly():\n"
        "    import tf_advdefense as adv\n"
        "    adv.load_model\n"
        "import numpy as np\n"
        f"adv.load_model(sys.argv[1])(np.zeros([3, {SHAPE[0]}, {SHAPE[1]}, 3], 'f'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(files["float"])], capture_output=True
    )
    assert done.returncode == 0 and done.stdout == done.stderr == b""
