"""Models: every entry of the registry keeps the contract; sizes and refusals."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advdefense.models import MODELS
from tf_advdefense.models import build_model

# At 32x32x3 and 10 classes.
PARAMETERS = {
    "resnet50": 23_608_202,
    "resnet50_cifar": 23_573_962,
    "alexnet": 4_361_034,
    "small_resnet": 309_994,
    "small_cnn": 4_259_274,
}
SHAPE = (32, 32, 3)
registered = pytest.mark.parametrize("name", MODELS)
residual = pytest.mark.parametrize(
    "name", ["resnet50", "resnet50_cifar", "small_resnet"]
)


@functools.cache
def built(name, policy="float32"):
    """A large model takes seconds to build: one for the whole session."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(3)
        return build_model(name, SHAPE, 10)
    finally:
        keras.mixed_precision.set_dtype_policy(before)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((2, *SHAPE), np.float32)


def layers_of(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


# === Every entry of the registry ===


@registered
def test_number_of_parameters(name):
    assert built(name).count_params() == PARAMETERS[name]


def test_every_entry_is_pinned():
    assert PARAMETERS.keys() == MODELS.keys()


@pytest.mark.parametrize(
    "name, side, hyper, number",
    [
        ("alexnet", 62, {}, 5_671_754),
        ("alexnet", 64, {}, 20_344_650),
        ("small_resnet", 32, {"width": 16}, 78_714),
        ("small_resnet", 32, {"width": 16, "activation": "silu"}, 78_714),
        # He et al. 2016a, table 6: 0.27 M with projections at 20 layers.
        ("small_resnet", 32, {"width": 16, "depth": 3}, 274_042),
        ("small_resnet", 32, {"preactivation": True, "depth": 2}, 698_090),
    ],
)
def test_number_of_parameters_of_variants(name, side, hyper, number):
    assert build_model(name, (side, side, 3), 10, **hyper).count_params() == number


def test_mnists_network_has_the_published_size():
    assert build_model("small_cnn", (28, 28, 1), 10).count_params() == 3_274_634


@registered
def test_logits_and_their_gradient(name, images):
    model = built(name)
    inputs = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logits = model(inputs)
    gradient = tape.gradient(logits, inputs)
    assert logits.shape == (2, 10) and logits.dtype == tf.float32
    assert np.isfinite(logits).all() and np.isfinite(gradient).all()
    assert np.abs(gradient).max(axis=(1, 2, 3)).all()
    # Neither probabilities nor their logarithms.
    assert np.abs(np.sum(logits, -1) - 1).min() > 1e-3
    assert np.abs(np.sum(np.exp(logits), -1) - 1).min() > 1e-3


@registered
def test_normalisation_is_inside(name):
    model = built(name)
    first = keras.Model(model.inputs, model.layers[1].output)
    black_and_white = np.stack([np.zeros(SHAPE), np.ones(SHAPE)]).astype(np.float32)
    black, white = first.predict_on_batch(black_and_white)
    np.testing.assert_array_equal(black, -1)
    np.testing.assert_array_equal(white, 1)


@registered
def test_saved_equals_loaded(name, images, tmp_path):
    model = built(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.slow
@registered
def test_mixed_precision_ends_in_float32(name):
    model = built(name, "mixed_bfloat16")
    convolution = layers_of(model, keras.layers.Conv2D)[0]
    assert convolution.compute_dtype == "bfloat16"
    assert convolution.kernel.dtype == "float32"
    assert model.output.dtype == "float32" and model.output.shape == (None, 10)
    assert model.count_params() == PARAMETERS[name]


@registered
def test_kernels_start_from_he(name):
    for layer in layers_of(built(name), keras.layers.Conv2D):
        kernel = np.asarray(layer.kernel)
        spread = np.sqrt(2 / np.prod(kernel.shape[:-1]))
        assert kernel.std() == pytest.approx(spread, rel=0.1), layer.name


# === Residual networks ===


@residual
def test_batch_normalisation_starts_as_the_identity(name):
    norms = layers_of(built(name), keras.layers.BatchNormalization)
    blocks = len(layers_of(built(name), keras.layers.Add))
    gammas = [np.unique(layer.gamma) for layer in norms]
    assert all(layer.momentum == 0.9 for layer in norms)
    assert sum(gamma.tolist() == [0.0] for gamma in gammas) == blocks
    assert sum(gamma.tolist() == [1.0] for gamma in gammas) == len(norms) - blocks


@residual
def test_zero_gamma_ends_the_residual_branch(name):
    norms = layers_of(built(name), keras.layers.BatchNormalization)
    zero = {n.output.name for n in norms if not np.any(n.gamma)}
    for add in layers_of(built(name), keras.layers.Add):
        assert sum(branch.name in zero for branch in add.input) == 1, add.name


def test_resolution_of_the_last_stage():
    sides = {}
    for name in ("resnet50", "resnet50_cifar", "small_resnet"):
        (pool,) = layers_of(built(name), keras.layers.GlobalAveragePooling2D)
        sides[name] = pool.input.shape[1]
    assert sides == {"resnet50": 1, "resnet50_cifar": 4, "small_resnet": 8}


def test_preactivated_blocks_against_their_definition(images):
    """He et al. 2016b, figure 4 (e): x + conv(act(bn(conv(act(bn(x))))))."""
    hyper = {"width": 16, "preactivation": True, "activation": "silu"}
    model = build_model("small_resnet", SHAPE, 10, **hyper)
    part = {layer.name: layer for layer in model.layers}

    def normalised(x, name):
        return keras.activations.silu(part[f"{name}_bn"](x, training=False))

    x = part["stem"](part["centre"](images))
    for name in ("stage1_block1", "stage2_block1", "stage3_block1"):
        y = normalised(x, f"{name}_1")
        if name != "stage1_block1":  # a projection of the activated
            x = part[f"{name}_shortcut"](y)
        y = normalised(part[f"{name}_conv1"](y), f"{name}_2")
        x = x + part[f"{name}_conv2"](y)
    expected = part["logits"](tf.reduce_mean(normalised(x, "last"), [1, 2]))
    np.testing.assert_allclose(model(images), expected, atol=1e-5)


def test_a_smooth_activation_is_the_only_one():
    model = build_model("resnet50_cifar", SHAPE, 10, activation="silu")
    assert not layers_of(model, keras.layers.ReLU)
    kinds = {a.activation for a in layers_of(model, keras.layers.Activation)}
    assert kinds == {keras.activations.silu}


# === keras:NAME and refusals ===


def test_any_model_of_keras_applications(images):
    model = build_model("keras:MobileNetV2", SHAPE, 7)
    logits = model(images)
    assert logits.shape == (2, 7) and np.abs(np.sum(logits, -1) - 1).min() > 1e-3
    assert model.layers[1].name == "centre"


def test_own_preprocessing_is_left_out():
    model = build_model("keras:MobileNetV3Small", SHAPE, 7)
    assert len(layers_of(model, keras.layers.Rescaling)) == 1


@pytest.mark.parametrize(
    "name, side, hyper, message",
    [
        (
            "resnet51",
            32,
            {},
            "Unknown model 'resnet51'. Did you mean 'resnet50'? Known: resnet50, ",
        ),
        ("keras:ResNet51", 32, {}, "Unknown model 'keras:ResNet51'. Known: ResNet50"),
        ("keras:backend", 32, {}, "Unknown model 'keras:backend'. Known: "),
        ("small_cnn", 3, {}, "at least 4x4. Received: 3x3. Up-sample them with "),
        ("alexnet", 15, {}, "at least 16x16. Received: 15x15. Up-sample them with "),
        ("keras:VGG16", 8, {}, "of shape (8, 8, 3): "),
        ("keras:VGG16", 32, {"widht": 2}, "keras:VGG16 cannot be built"),
        ("small_resnet", 32, {"widht": 2}, "no argument 'widht'. Known: width."),
        (
            "small_resnet",
            32,
            {"depth": 0},
            "`depth` must be a positive integer up to 100.",
        ),
        ("small_resnet", 32, {"activation": "rleu"}, "Received: activation=rleu."),
        ("resnet50", 32, {"width": 2}, "no argument 'width'. Known: none."),
        (
            "small_resnet",
            32,
            {"width": 0},
            "`width` must be a positive integer up to 4096.",
        ),
        ("small_resnet", 32, {"width": 1.5}, "up to 4096. Received: width=1.5"),
    ],
)
def test_refusals(name, side, hyper, message):
    with pytest.raises(ValueError) as error:
        build_model(name, (side, side, 3), 10, **hyper)
    assert message in str(error.value) and "\n" not in str(error.value)
