"""Models as people have them: adapted, predicting what they predict as they are."""

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.models import foreign
from tf_advdefense.models import input_range as ranges
from tf_advdefense.models import outputs

layers = keras.layers
SHAPE = small_models.SHAPE
COUNT = 64


def classifier(classes=small_models.CLASSES, scale=4.0):
    """Logits of images in [0, 1], as a functional model; `scale` makes it confident."""
    keras.utils.set_random_seed(3)
    given = keras.Input(SHAPE)
    hidden = layers.Conv2D(6, 3, 2, activation="relu")(given - 0.5)
    dense = layers.Dense(classes)
    model = keras.Model(given, dense(layers.Flatten()(hidden)))
    found = np.asarray(model(images()), np.float32)
    spread = found.std(axis=0)
    # Every class is met: logits have the mean 0 and the deviation `scale`.
    dense.kernel.assign(dense.kernel * scale / spread)
    dense.bias.assign(-found.mean(axis=0) * scale / spread)
    return model


def images():
    """Whole grey levels, as images are, in [0, 1]."""
    levels = np.random.default_rng(0).integers(0, 256, (COUNT, *SHAPE))
    return (levels / 255).astype(np.float32)


@pytest.fixture(scope="module")
def logits():
    return classifier()


@pytest.fixture(scope="module")
def binary():
    return classifier(classes=1)


def labels(model):
    values = np.asarray(model(images()))
    return np.argmax(values, 1) if values.shape[1] > 1 else (values[:, 0] > 0) * 1


def adapt(model, of, **kwargs):
    return foreign.adapt(model, images(), labels(of), **kwargs)


def after(model, *parts):
    for part in parts:
        model = keras.Model(model.inputs[0], part(model.outputs[0]))
    return model


def hidden(model, function):
    """A model that shows no layers."""

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = model

        def call(self, x, training=False):
            return function(self.inner(x, training=training))

    return Subclassed()


def assert_same(adapted, model, of, tolerance=1e-4):
    """It classifies as `model` does, and its logits are `of`'s but for a constant."""
    found = np.asarray(inference(adapted.model)(tf.constant(images())))
    assert (np.argmax(found, 1) == labels(of)).all()
    expected = np.asarray(of(images()))
    if expected.shape[1] == 1:
        expected = expected * [-0.5, 0.5]
    middle = lambda values: values - values.mean(1, keepdims=True)
    np.testing.assert_allclose(
        middle(found), middle(expected), rtol=tolerance, atol=tolerance
    )


# === Heads ===

SHOWN = {
    "softmax layer": lambda model: after(model, layers.Softmax()),
    "softmax activation": lambda model: after(model, layers.Activation("softmax")),
    "softmax operation": lambda model: after(model, keras.ops.softmax),
    "softmax in float16": lambda model: after(model, layers.Softmax(dtype="float16")),
    "softmax, then reshaped": lambda model: after(
        model, layers.Softmax(), layers.Reshape((small_models.CLASSES,))
    ),
    "softmax, then cast": lambda model: after(
        model, layers.Softmax(), layers.Activation("linear", dtype="float32")
    ),
    "softmax of a model inside": lambda model: keras.Sequential(
        [keras.Input(SHAPE), after(model, layers.Softmax())]
    ),
    "sigmoid of each class": lambda model: after(model, layers.Activation("sigmoid")),
    "tanh": lambda model: after(model, layers.Activation("tanh")),
    "softplus": lambda model: after(model, layers.Activation("softplus")),
}


@pytest.mark.parametrize("name", SHOWN)
def test_an_activation_that_shows_is_removed(logits, name):
    model = SHOWN[name](logits)
    adapted = adapt(model, logits)
    assert any("was removed" in note for note in adapted.notes)
    assert not adapted.warnings
    assert_same(adapted, model, logits)
    # And without asking, where attacks are called.
    direct = inference(model)(tf.constant(images()))
    np.testing.assert_allclose(direct, logits(images()), rtol=1e-5, atol=1e-5)


def test_a_removed_activation_leaves_weights_shared():
    model = small_models.network()
    dense = model.layers[-1]
    dense.activation = keras.activations.softmax
    model = keras.Sequential([keras.Input(SHAPE), *model.layers])
    x = tf.constant(images())
    before = inference(model)(x)
    np.testing.assert_allclose(tf.nn.softmax(before), model(x), rtol=1e-5, atol=1e-6)
    assert dense.activation is keras.activations.softmax
    dense.bias.assign_add([1.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(
        inference(model)(x) - before, np.tile([1, 0, 0, 0], (COUNT, 1)), atol=1e-5
    )


HIDDEN = {
    "softmax": (tf.nn.softmax, "its softmax was inverted"),
    "sigmoid": (tf.sigmoid, "its sigmoid was inverted"),
    "tanh": (lambda x: tf.tanh(x / 4), "its tanh was inverted"),
    "log of softmax": (tf.nn.log_softmax, None),
    "logits": (lambda x: x, None),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_an_activation_that_does_not_show_is_inverted(logits, name):
    function, note = HIDDEN[name]
    model = hidden(logits, function)
    adapted = adapt(model, logits)
    assert adapted.notes == ((note,) if note else ())
    of = after(logits, layers.Rescaling(0.25)) if name == "tanh" else logits
    assert_same(adapted, model, of, tolerance=2e-3)


def test_probabilities_that_underflowed_are_counted(logits):
    model = hidden(logits, lambda x: tf.nn.softmax(20 * x))
    lost = int(np.sum(np.asarray(model(images())).min(1) == 0))
    assert 0 < lost < COUNT
    (warning,) = adapt(model, logits).warnings
    assert f"of {lost} of {COUNT} images an output is rounded to 0" in warning


@pytest.mark.parametrize("name", ["relu", "relu6"])
def test_one_sided_outputs_are_warned_of(logits, name):
    model = after(logits, layers.Activation(name))
    labelled = np.argmax(model(images()), axis=1)
    adapted = foreign.adapt(model, images(), labelled)
    assert "never negative" in adapted.warnings[0] and not adapted.notes


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("activation", ["linear", "sigmoid"])
def test_one_output_becomes_two_logits(binary, activation, shown):
    function = keras.activations.get(activation)
    model = after(binary, layers.Activation(activation))
    model = model if shown else hidden(binary, function)
    adapted = adapt(model, binary)
    assert adapted.notes[-1] == "its one logit became two"
    assert adapted.model.output_shape == (None, 2)
    assert_same(adapted, model, binary, tolerance=1e-3)


def test_one_logit_that_happens_to_be_a_share_is_a_logit():
    """Its layer shows it, whatever the values."""
    binary = classifier(classes=1, scale=0.02)
    binary.layers[-1].bias.assign_add([0.5])
    adapted = adapt(binary, binary)
    assert adapted.notes == ("its one logit became two",)
    assert_same(adapted, binary, binary)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "cw", "deepfool", "jsma", "fmn"])
def test_a_binary_model_is_fooled(binary, name):
    model = after(binary, layers.Activation("sigmoid"))
    x, y = images()[:8], labels(binary)[:8]
    found = small_models.within_budget(name)(model, x, y)
    left = np.mean(labels(lambda _: binary(found)) == y)
    assert left < (1 if name in ("fgsm", "pgd") else 0.01)


# === Ranges ===

TRAINED_ON = {
    (0.0, 255.0): layers.Rescaling(1 / 255),
    (-1.0, 1.0): layers.Rescaling(0.5, 0.5),
}


def for_range(model, wanted):
    given = keras.Input(SHAPE)
    return keras.Model(given, model(TRAINED_ON[wanted](given)))


@pytest.mark.parametrize("wanted", TRAINED_ON)
def test_the_range_is_found_and_said(logits, wanted):
    model = for_range(logits, wanted)
    adapted = adapt(model, logits)
    assert_same(adapted, model, logits)
    (note,) = adapted.notes
    assert f"{ranges.text(wanted)}: {COUNT} of {COUNT} are right there" in note


def test_a_given_range_is_taken(logits):
    model = for_range(logits, (0.0, 255.0))
    adapted = adapt(model, logits, input_range=(0, 255))
    assert adapted.notes == ("it takes images in [0, 255]",)
    assert_same(adapted, model, logits)


@pytest.mark.parametrize("module", ["resnet50", "densenet", "mobilenet_v2", "vgg16"])
def test_preprocessing_is_that_of_keras_applications(module):
    pixels = np.rint(255 * images())
    expected = getattr(keras.applications, module).preprocess_input(pixels.copy())
    found = ranges.layer_for(module)(tf.constant(images()))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(ranges.as_user(images(), module), expected, atol=1e-3)


def test_an_untrained_model_is_left_in_the_unit_range(logits):
    labelled = np.random.default_rng(1).integers(0, small_models.CLASSES, COUNT)
    assert not foreign.adapt(logits, images(), labelled).notes


def test_wrong_ranges_are_refused(logits):
    with pytest.raises(ValueError, match="Received: preprocess=resnet51. Known: .*vgg"):
        adapt(logits, logits, preprocess="resnet51")
    with pytest.raises(ValueError, match=r"input_range=\(1, 0\)"):
        adapt(logits, logits, input_range=(1, 0))
    with pytest.raises(ValueError, match="Either `input_range` or `preprocess`"):
        adapt(logits, logits, input_range=(0, 1), preprocess="vgg16")


# === Inputs and outputs ===


def test_lists_and_dicts_of_one_are_opened(logits):
    given, found = logits.inputs[0], logits.outputs[0]
    for model in (
        keras.Model([given], [found]),
        keras.Model(given, {"scores": found}),
        keras.Model(given, {"logits": found, "features": layers.Flatten()(given)}),
        keras.Model({given.name: given}, found),
    ):
        assert_same(adapt(model, logits), model, logits)
        direct = inference(model)(tf.constant(images()))
        np.testing.assert_allclose(direct, logits(images()), rtol=1e-5, atol=1e-5)


def test_a_dict_with_one_floating_output():
    found = outputs.one_output(
        {"scores": tf.ones([2, 3]), "class": tf.ones(2, "int64")}
    )
    assert found.shape == (2, 3)


def test_an_unbuilt_model_is_built_for_the_images(logits):
    model = keras.Sequential([layers.Flatten(), layers.Dense(small_models.CLASSES)])
    labelled = np.zeros(COUNT, int)
    adapted = foreign.adapt(model, images(), labelled)
    assert adapted.model.output_shape == (None, small_models.CLASSES)


def test_integer_images_are_taken_as_floating(logits):
    given = keras.Input(SHAPE, dtype="uint8")
    model = keras.Model(given, logits(layers.Rescaling(1 / 255)(given)))
    adapted = adapt(model, logits)
    assert_same(adapted, model, logits)
    x = tf.constant(images())
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(adapted.model(x))
    assert np.any(tape.gradient(loss, x))


def refused(logits):
    given, found = logits.inputs[0], logits.outputs[0]
    other = keras.Input((4,), name="meta")
    both = found + layers.Dense(small_models.CLASSES)(other)
    small = keras.Input((4, 4, 3))
    return {
        "2 outputs": keras.Model(given, [found, layers.Flatten()(given)]),
        "2 outputs, a, b": keras.Model(given, {"a": found, "b": 2 * found}),
        "the inputs .*, meta": keras.Model([given, other], both),
        "int32, such as class": keras.Model(given, keras.ops.argmax(found, -1)),
        r"takes \[4, 4, 3\], the images are": keras.Model(
            small, layers.Flatten()(small)
        ),
    }


@pytest.mark.parametrize("place", range(5))
def test_what_cannot_be_adapted_is_refused_in_one_line(logits, place):
    message, model = list(refused(logits).items())[place]
    with pytest.raises(ValueError, match=message) as error:
        foreign.adapt(model, images(), np.zeros(COUNT, int))
    assert "\n" not in str(error.value)


def test_fixed_training_is_named(logits):
    given = keras.Input(SHAPE)
    dropped = layers.Dropout(0.5, name="always")(given, training=True)
    model = keras.Model(given, logits(dropped))
    (warning,) = adapt(model, logits).warnings
    assert "training=True of always is overridden" in warning


def test_an_adapted_model_that_classifies_otherwise_is_refused(logits, monkeypatch):
    model = hidden(logits, tf.nn.softmax)
    monkeypatch.setattr(outputs.Inverse, "call", lambda self, inputs: -inputs)
    with pytest.raises(ValueError, match="must classify as the model does"):
        adapt(model, logits)


# === Precision ===


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision_is_attacked_in_float32(policy, monkeypatch):
    wide = classifier(scale=1.0)
    keras.config.set_dtype_policy(policy)
    try:
        narrow = classifier(scale=1.0)
    finally:
        keras.config.set_dtype_policy("float32")
    narrow.set_weights(wide.get_weights())
    adapted = foreign.adapt(narrow, images(), labels(wide))
    assert f"computes in {policy}" in adapted.notes[-1]
    wide.set_weights(narrow.get_weights())  # as they were rounded
    x = tf.constant(images())
    np.testing.assert_allclose(
        inference(adapted.model)(x), wide(x), rtol=1e-5, atol=1e-5
    )
    assert narrow(x).dtype != tf.float32  # The model itself is as it was.


# === From Python, without asking ===


@pytest.mark.parametrize("function", [tf.nn.softmax, tf.sigmoid, tf.nn.relu])
def test_a_function_that_returns_no_logits_is_warned_of(logits, function):
    attack = make_attack("fgsm")
    with pytest.warns(UserWarning, match="not logits.*`tf_advdefense.adapt"):
        attack(lambda x: function(logits(x)), images()[:16])


def test_who_reads_decisions_only_is_not_warned(logits):
    attack = small_models.within_budget("hop_skip_jump")
    attack(lambda x: tf.nn.softmax(logits(x)), images()[:2])


@pytest.mark.quick
def test_of_ranges_that_chance_may_order_the_plainer_one_is_found():
    right = {
        (0.0, 1.0): np.arange(64) < 10,
        (0.0, 255.0): np.arange(64) < 61,
        "resnet50": np.arange(64) < 62,  # a mean subtracted hardly matters
    }
    nothing = np.zeros(64, bool)
    is_right = lambda found: lambda wanted, n: found.get(wanted, nothing)[:n]
    find = lambda found: ranges.find(is_right(found), 64, 3)[0]
    assert find(right) == (0.0, 255.0)
    assert find({**right, (0.0, 255.0): np.arange(64) < 30}) == "resnet50"
    assert find({**right, "resnet50": nothing}) == (0.0, 255.0)
    assert find({}) == (0.0, 1.0)


@pytest.mark.quick
def test_a_range_that_is_far_behind_is_not_tried_on_all_images():
    right = {
        (0.0, 1.0): np.arange(256) % 8 > 0,
        (0.0, 255.0): np.arange(256) % 8 == 0,  # far behind
        (-1.0, 1.0): np.arange(256) % 8 > 1,  # behind, but by chance
    }
    nothing = np.zeros(256, bool)
    tried = {}

    def is_right(wanted, n):
        tried[wanted] = n
        return right.get(wanted, nothing)[:n]

    best, counts = ranges.find(is_right, 256, 1)
    assert best == (0.0, 1.0)
    assert counts == {(0.0, 1.0): 224, (-1.0, 1.0): 192}
    assert tried == {(0.0, 1.0): 256, (0.0, 255.0): 64, (-1.0, 1.0): 256}
