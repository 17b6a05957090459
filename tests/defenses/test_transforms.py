"""Input transformations against references, and attacks that see through them."""

import io
import pathlib

import keras
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts import saved_model
from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.attacks.core.draws import row_keys
from tf_advdefense.attacks.core.model_fn import inference
from tf_advdefense.attacks.core.model_fn import served
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.defenses.transforms import TRANSFORMS
from tf_advdefense.defenses.transforms import describe
from tf_advdefense.defenses.transforms import parse_transforms
from tf_advdefense.defenses.transforms import transforms_of
from tf_advdefense.defenses.transforms import with_transforms
from tf_advdefense.defenses.transforms import without_transforms
from tf_advdefense.defenses.transforms.quilting import _beyond_seam
from tf_advdefense.defenses.transforms.transform import image_keys
from tf_advdefense.defenses.transforms.transformed import transformed_layer
from tf_advdefense.evaluation import scoring as evaluation
from tf_advdefense.training.run import train_run

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "total_variance.npz"
SHAPE = (17, 14, 3)
SMALL = (11, 8, 3)  # of few patches, each of which takes quilting time to trace
names = pytest.mark.parametrize("name", TRANSFORMS)


def natural(count=4, shape=SHAPE, seed=0):
    """Smooth 8-bit images with some noise, float32 in [0, 1]."""
    random = np.random.default_rng(seed)
    coarse = random.random((count, 4, 4, shape[-1]), np.float32)
    images = tf.image.resize(coarse, shape[:2], "bicubic").numpy()
    images = np.clip(images + 0.03 * random.standard_normal(images.shape), 0, 1)
    return (np.rint(images * 255) / 255).astype(np.float32)


def make(name, **values):
    """A transformation, small enough for the tests."""
    quick = {
        "crop_rescale": {"draws": 2, "fraction": 0.7},
        "tv": {"iterations": 20},
        "quilting": {"patches": 50, "neighbours": 3},
    }
    layer = TRANSFORMS[name](**{**quick.get(name, {}), **values})
    if name == "quilting":
        layer.adapt(natural(8, seed=5))
    return layer


def classifier(shape=SHAPE):
    """A network in which training mode, were it used, would show."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(4, 5, strides=3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ],
        name="small",
    )
    model.layers[1].moving_variance.assign([0.5, 1.0, 2.0, 4.0])
    return model


def gradient(function, images):
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        value = function(images)
    return tape.gradient(value, images).numpy()


# === Each against a reference ===


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_bit_depth_has_that_many_levels(bits):
    ramp = np.linspace(0, 1, 17 * 14 * 3, dtype=np.float32).reshape(1, *SHAPE)
    reduced = make("bit_depth", bits=bits)(ramp).numpy()
    steps = 2**bits - 1
    np.testing.assert_allclose(reduced, np.rint(ramp * steps) / steps, atol=1e-7)
    assert len(np.unique(reduced)) == 2**bits


@pytest.mark.parametrize("quality", [10, 75, 95])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_has_the_pixels_of_pillow(quality, channels):
    images = natural(shape=(17, 14, channels))
    layer = make("jpeg", quality=quality)
    for way in (layer, tf.function(lambda x: layer(x))):
        got = np.asarray(way(images)) * 255
        np.testing.assert_allclose(got, np.rint(got), atol=1e-4)
        for image, each in zip(images, np.rint(got)):
            np.testing.assert_array_equal(each, pillow(image, quality))


def pillow(image, quality):
    pixels, file = np.rint(image * 255).astype(np.uint8), io.BytesIO()
    Image.fromarray(np.squeeze(pixels)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(image.shape)


def test_jpeg_of_other_channels():
    with pytest.raises(ValueError, match="1 or 3 channels. Received: 2") as error:
        make("jpeg")(np.zeros((1, 8, 8, 2), np.float32))
    assert "\n" not in str(error.value)


def test_crop_rescale_is_bilinear_interpolation_of_a_window():
    images = natural(60)
    keys = row_keys(3, tf.range(60))
    got = make("crop_rescale", fraction=0.7)(images, keys).numpy()
    windows = set()
    for image, each in zip(images, got):
        errors = {
            (y, x): np.abs(stretched(image[y : y + 12, x : x + 10]) - each).max()
            for y in range(6)
            for x in range(5)
        }
        window = min(errors, key=errors.get)
        assert errors[window] < 1e-5
        windows.add(window)
    assert len(windows) > 20  # of 30: the expected number is 26
    assert {y for y, _ in windows} == set(range(6))
    assert {x for _, x in windows} == set(range(5))


def stretched(window):
    """The window's corners in the image's corners, linear in between."""
    for axis, side in enumerate(SHAPE[:2]):
        at = np.linspace(0, window.shape[axis] - 1, side)
        below = np.minimum(at.astype(int), window.shape[axis] - 2)
        low, high = (np.take(window, below + i, axis) for i in (0, 1))
        weight = (at - below).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        window = low + weight * (high - low)
    return window


def test_crop_rescale_of_all_is_the_identity():
    layer = make("crop_rescale", fraction=1.0)
    np.testing.assert_allclose(layer(natural()), natural(), atol=1e-6)
    assert not layer.random


@pytest.mark.parametrize("weight", [0.03, 0.1])
def test_total_variance_is_that_of_scikit_image(weight):
    golden = np.load(GOLDEN)
    images, expected = golden["images"], golden[f"denoised_{weight}"]
    assert np.abs(images - expected).max() > 0.1
    exact = make("tv", weight=weight, keep=1.0, iterations=2000)
    np.testing.assert_allclose(exact(images), expected, atol=5e-4)
    default = TRANSFORMS["tv"](weight=weight, keep=1.0)
    np.testing.assert_allclose(default(images), expected, atol=6e-3)


def test_total_variance_restores_what_the_mask_drops():
    images = natural(8)
    layer = make("tv", keep=0.5, iterations=300)
    restored = layer(images).numpy()
    flat = np.full((1, *SHAPE), 0.3, np.float32)
    np.testing.assert_allclose(layer(flat), flat, atol=2e-3)
    assert np.abs(restored - images).mean() < 0.06
    # Not by copying: the two masks of an image lead to other values.
    other = layer(images, row_keys(1, tf.range(8))).numpy()
    assert np.abs(restored - other).mean() > 0.005


def test_quilting_reproduces_an_image_of_its_database():
    images = natural(3, (17, 17, 3))
    tiles = np.stack(
        [
            image[y : y + 5, x : x + 5]
            for image in images
            for y in range(0, 13, 3)
            for x in range(0, 13, 3)
        ]
    )
    others = np.random.default_rng(1).random((40, 5, 5, 3))
    database = np.concatenate([others, tiles])
    layer = TRANSFORMS["quilting"](database, neighbours=1)
    assert not layer.random
    np.testing.assert_allclose(layer(images), images, atol=1e-7)
    assert np.abs(layer(1 - images) - (1 - images)).max() > 0.1


@pytest.mark.parametrize("shape", [(5, 5, 3), (9, 21, 1), (18, 31, 3)])
def test_quilts_fit_images_of_any_size(shape):
    """Of a single patch, the quilt repeats it every `patch - overlap` pixels."""
    patch = np.random.default_rng(2).random((1, 5, 5, shape[-1]))
    layer = TRANSFORMS["quilting"](patch, neighbours=1)
    quilt = layer(natural(2, shape)).numpy()
    assert quilt.shape == (2, *shape)
    values = np.rint(255 * patch) / 255
    for each in quilt:
        np.testing.assert_allclose(each[2, 2], values[0, 2, 2], atol=1e-6)
    assert np.isin(np.rint(255 * quilt), np.rint(255 * values)).all()


def test_the_seam_is_the_cheapest_path():
    error = np.random.default_rng(3).random((6, 4, 3)).astype(np.float32)
    begins = np.argmax(_beyond_seam(tf.constant(error)).numpy(), axis=-1)
    for each, seam in zip(error, begins):
        paths = [
            path
            for path in np.ndindex(3, 3, 3, 3)
            if np.max(np.abs(np.diff(path))) <= 1
        ]
        costs = [each[range(4), path].sum() for path in paths]
        assert tuple(seam) == paths[int(np.argmin(costs))]


def test_quilting_chooses_among_the_nearest():
    """With equal patches at distances 0 to 4, of 3 neighbours those of 0 to 2."""
    database = np.stack([np.full((5, 5, 3), 0.2 * i) for i in range(5)])
    layer = TRANSFORMS["quilting"](database, neighbours=3)
    flat = np.zeros((40, 5, 5, 3), np.float32)
    quilts = layer(flat, row_keys(0, tf.range(40))).numpy()[:, 2, 2, 0]
    np.testing.assert_allclose(np.unique(quilts), [0, 0.2, 0.4], atol=1e-6)


# === What all share ===


@names
def test_values_and_dtype(name):
    images = natural()
    out = make(name)(images)
    assert out.shape == images.shape and out.dtype == tf.float32
    assert np.all((out >= -1e-6) & (out <= 1 + 1e-6))
    assert np.abs(out - images).max() > 0.01


@names
def test_an_image_is_transformed_alike_in_any_batch(name):
    images, layer = natural(), make(name)
    whole = tf.function(lambda x: layer(x))(images).numpy()
    others = images[::-1] * np.nan
    others[3] = images[0]
    got = tf.function(lambda x: layer(x))(others).numpy()
    np.testing.assert_array_equal(got[3], whole[0])
    np.testing.assert_allclose(layer(images[2:3])[0], whole[2], atol=1e-5)


@names
def test_random_ones_and_they_alone_draw(name):
    layer, images = make(name), natural()
    first, second = (layer(images, row_keys(i, tf.range(4))) for i in range(2))
    assert bool(np.any(first != second)) == layer.random
    np.testing.assert_array_equal(layer(images), layer(images))


@names
def test_the_gradient(name):
    layer, images = make(name), natural()
    weights = np.random.default_rng(4).standard_normal(images.shape).astype(np.float32)
    got = gradient(lambda x: tf.reduce_sum(weights * layer(x)), images)
    if layer.differentiable:
        keys = row_keys(0, tf.range(4))
        got = gradient(lambda x: tf.reduce_sum(weights * layer(x, keys)), images)
        change = 1e-2 * np.random.default_rng(5).standard_normal(images.shape)
        rise = layer(images + change, keys) - layer(images - change, keys)
        np.testing.assert_allclose(
            np.sum(got * change), np.sum(weights * rise) / 2, rtol=1e-3
        )
    else:
        np.testing.assert_array_equal(got, weights)  # of the identity, bit for bit


def test_a_given_surrogate_shapes_the_gradient_alone():
    layer, images = make("bit_depth"), natural()
    before = layer(images)
    layer.surrogate = lambda x: tf.sin(3 * x)
    np.testing.assert_array_equal(layer(images), before)
    got = gradient(lambda x: tf.reduce_sum(layer(x)), images)
    np.testing.assert_allclose(got, 3 * np.cos(3 * images), rtol=1e-5)


# === In a model ===


def transformed(*transforms, shape=SHAPE, **settings):
    model, layers = classifier(shape), [make(name) for name in transforms]
    return model, with_transforms(model, layers, **settings)


def test_transformations_are_applied_in_order():
    model, whole = transformed("jpeg", "bit_depth")
    expected = model(make("bit_depth")(make("jpeg")(natural())))
    np.testing.assert_allclose(whole(natural()), expected, atol=1e-5)
    assert whole.input_shape == model.input_shape
    assert whole.output_shape == model.output_shape


def test_further_transformations_come_first():
    model, inner = transformed("jpeg")
    whole = with_transforms(inner, [make("bit_depth")])
    assert describe(transforms_of(whole)) == "bit_depth:bits=3,jpeg:quality=75"
    assert without_transforms(whole) is model
    np.testing.assert_allclose(
        whole(natural()), inner(make("bit_depth")(natural())), atol=1e-5
    )


def test_transformations_compute_in_full_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, whole = transformed("jpeg", "quilting")
    finally:
        keras.config.set_dtype_policy(policy)
    seen = transformed_layer(whole).transform(tf.constant(natural()))
    assert model.compute_dtype == "bfloat16" and seen.dtype == tf.float32
    assert whole(natural()).dtype == tf.float32
    np.testing.assert_allclose(whole(natural()), model(seen), atol=1e-2)


def test_none_is_the_classifier():
    model = classifier()
    assert with_transforms(model, []) is model
    assert without_transforms(model) is model and transforms_of(model) == []


def test_the_oblivious_view_is_the_classifier():
    model, whole = transformed("tv")
    assert without_transforms(whole) is model
    assert [type(each) for each in transforms_of(whole)] == [TRANSFORMS["tv"]]


def test_training_reaches_the_classifier_on_one_draw():
    model, whole = transformed("crop_rescale")
    before = [v.numpy() for v in model.variables]
    layer = transformed_layer(whole)
    expected = model(layer.transform(tf.constant(natural())), training=True)
    for variable, value in zip(model.variables, before):
        variable.assign(value)
    np.testing.assert_allclose(whole(natural(), training=True), expected, atol=1e-5)
    assert any(np.any(v != b) for v, b in zip(model.variables, before))  # BatchNorm
    paths = [v.path for v in model.trainable_variables]
    assert [v.path for v in whole.trainable_variables] == paths


def test_an_ensemble_averages_probabilities():
    model, whole = transformed("crop_rescale")
    layer, images = transformed_layer(whole), natural()
    keys = image_keys(tf.constant(images), layer.seed)
    each = [
        tf.nn.softmax(model(layer._transform(images, row_keys(i, keys))))
        for i in range(2)
    ]
    np.testing.assert_allclose(tf.nn.softmax(whole(images)), sum(each) / 2, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name != "quilting"])
def test_several_steps_in_a_call_where_memory_is_scarce(name):
    """There TensorFlow may sum three terms in a variable, which the next call finds.

    Not quilting, which has no loop, and takes minutes for batches of this size.
    """
    images = keras.Input((32, 32, 3))
    wide = keras.layers.Conv2D(64, 3)(keras.layers.Conv2D(64, 1)(make(name)(images)))
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(wide))
    model.compile(loss="mse", steps_per_execution=2)
    many = np.full((2048, 32, 32, 3), 0.5, np.float32)
    assert np.isfinite(model.evaluate(many, np.zeros((2048, 64)), 512, verbose=0))


# === On disk ===


@pytest.fixture(scope="module")
def everything():
    return transformed(*TRANSFORMS, shape=SMALL, eot_draws=2)[1]


def test_a_keras_file_keeps_it(everything, tmp_path):
    images = natural(shape=SMALL)
    everything.save(tmp_path / "m.keras")
    loaded = runs.load_model(tmp_path / "m.keras")  # with safe_mode=True
    np.testing.assert_allclose(loaded(images), everything(images), atol=1e-5)
    assert describe(transforms_of(loaded)) == describe(transforms_of(everything))
    np.testing.assert_allclose(
        inference(loaded)(images), inference(everything)(images), atol=1e-5
    )


@pytest.mark.slow
def test_a_saved_model_serves_it_without_this_package(everything, tmp_path):
    images = tf.constant(natural(shape=SMALL))
    saved_model.export_saved_model(everything, tmp_path / "m")
    loaded = tf.saved_model.load(tmp_path / "m")
    serve = loaded.signatures["serving_default"]
    library = serve.graph.as_graph_def().library.function
    kinds = {node.op for function in library for node in function.node_def}
    kinds |= {operation.type for operation in serve.graph.get_operations()}
    assert not [kind for kind in kinds if "PyFunc" in kind]  # nothing but operations
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = serve(images)["logits"]
    np.testing.assert_allclose(logits, everything(images), atol=1e-5)
    expected = gradient(everything, images)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(tape.gradient(logits, images), expected, atol=1e-4)


@pytest.mark.slow
def test_a_run_contains_and_names_its_transformations(tmp_path):
    labels = np.arange(32) % 3
    pixels = np.rint(255 * natural(32, SMALL)).astype(np.uint8)
    split = Split(pixels, labels, np.arange(32))
    run = train_run(
        classifier(SMALL),
        data=Dataset("shapes", tuple("abc"), "f" * 64, split, split, split),
        transforms="bit_depth:bits=4,quilting:patches=50,neighbours=2",
        epochs=1,
        batch_size=16,
        output_dir=tmp_path,
    )
    assert run.name == "small-bit_depth-quilting"
    model = runs.load_model(run.model_path)
    named = run.config["request"]["transforms"]
    assert named == describe(transforms_of(model)) and "neighbours=2" in named
    database = transforms_of(model)[1].database.numpy()
    assert database.shape == (50, 5, 5, 3) and database.max() > 0
    images = natural(2, SMALL)
    served_one = runs.load_model(run.directory / "saved_model")
    np.testing.assert_allclose(served_one(images), model(images), atol=1e-5)


# === Attacks ===


def test_an_attack_sees_the_mean_over_draws_that_are_no_images(everything):
    logits_fn, images = inference(everything), natural(shape=SMALL)
    whole = np.asarray(logits_fn(images))
    np.testing.assert_allclose(logits_fn(images[1:2])[0], whole[1], atol=1e-5)
    np.testing.assert_array_equal(logits_fn(images), whole)
    layer = transformed_layer(everything)
    draws = max(layer.draws, layer.eot_draws)
    np.testing.assert_allclose(whole, layer.mean_over(images, draws), atol=1e-5)
    np.testing.assert_allclose(whole, layer.expectation(images), atol=1e-5)
    own = served(everything)(images)
    np.testing.assert_allclose(own, everything(images), atol=1e-5)
    assert np.abs(whole - everything(images)).max() > 1e-3


def in_another(whole, kind, tmp_path):
    """The model inside another one that scales its logits."""
    if kind == "loaded":
        whole.save(tmp_path / "m.keras")
        whole = runs.load_model(tmp_path / "m.keras")
    double = keras.layers.Rescaling(2.0)
    if kind == "sequential":
        return keras.Sequential([keras.Input(SHAPE), whole, double])
    images = keras.Input(SHAPE)
    return keras.Model(images, double(whole(images)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["functional", "sequential", "loaded"])
def test_the_mean_over_draws_within_other_models(kind, tmp_path):
    model, whole = transformed("crop_rescale", eot_draws=4)
    outer, images = in_another(whole, kind, tmp_path), natural()
    assert inference(outer).is_expectation and inference(outer) is inference(outer)
    np.testing.assert_allclose(
        inference(outer)(images), 2 * inference(whole)(images), atol=1e-5
    )
    # The weights are shared: what is trained is what is attacked.
    if kind != "loaded":
        model.layers[-1].bias.assign_add([1.0, -1.0, 0.5])
        np.testing.assert_allclose(
            inference(outer)(images), 2 * inference(whole)(images), atol=1e-5
        )
        layer = transformed_layer(whole)
        expected = layer.mean_over(images, 4)
        np.testing.assert_allclose(inference(whole)(images), expected, atol=1e-5)


def test_a_random_layer_without_an_expectation_is_attacked_as_it_is():
    model = keras.Sequential([keras.Input(SHAPE), make("crop_rescale"), classifier()])
    images = natural()
    np.testing.assert_allclose(
        inference(model)(images), model(images, training=False), atol=1e-5
    )


def test_a_deterministic_model_is_one_function():
    _, whole = transformed("jpeg", "bit_depth")
    assert served(whole) is inference(whole)
    np.testing.assert_allclose(inference(whole)(natural()), whole(natural()), atol=1e-6)


def test_the_mean_over_draws_converges():
    _, whole = transformed("crop_rescale")
    layer, images = transformed_layer(whole), tf.constant(natural())
    far = tf.function(layer.mean_over, reduce_retracing=True)
    exact = far(images, tf.constant(1024), tf.constant(9))

    def error(draws):
        means = [far(images, tf.constant(draws), tf.constant(s)) for s in range(6)]
        return float(np.sqrt(np.mean(np.square(np.stack(means) - exact))))

    few, many = error(4), error(64)
    assert 2.5 < few / many < 6.5  # one over the root of the draws: 4


@pytest.fixture(scope="module")
def masked():
    """A linear classifier behind three grey levels, and images it gets right.

    Its pixels lie in the middle of a level: an attack on the classifier alone that
    stops just over its decision boundary is rounded away.
    """
    random = np.random.default_rng(7)
    kernel = random.choice([-1.0, 1.0], (np.prod(SHAPE), 2)).astype(np.float32)
    model = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.layers[-1].set_weights([kernel, np.zeros(2, np.float32)])
    images = random.choice([1 / 3, 2 / 3], (16, *SHAPE)).astype(np.float32)
    return model, images


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bit_depth", "tv"])
def test_adaptive_attacks_beat_oblivious_ones(masked, name):
    model, images = masked
    layer = make(name, bits=2) if name == "bit_depth" else make(name, weight=0.1)
    whole = with_transforms(model, [layer], eot_draws=4)
    labels = evaluation.classify(whole, images)
    split = Split(images, labels, np.arange(len(images)))
    attack = make_attack("minimal_eps", nb_iter=10)
    views = {"oblivious": without_transforms(whole), "adaptive": None}
    accuracy = {
        name: evaluation.under_attack(whole, attack, split, 16, attacked=view)[0]
        for name, view in views.items()
    }
    accuracy = {name: fields["accuracy"] for name, fields in accuracy.items()}
    assert accuracy["adaptive"] < accuracy["oblivious"] - 0.3, accuracy


def test_attacks_run_on_it():
    _, whole = transformed("jpeg", "tv", eot_draws=2)
    images = natural()
    labels = evaluation.classify(whole, images)
    for attack in (make_attack("pgd", nb_iter=3), make_attack("square", n_queries=5)):
        adv = craft(whole, attack, images, labels, batch_size=4)["image"]
        assert np.isfinite(adv).all() and np.any(adv != images), attack


# === Specifications ===


def test_parsing():
    layers = parse_transforms("jpeg:quality=60, tv:weight=0.1,keep=1,jpeg")
    assert [layers[0].quality, layers[2].quality] == [60, 75]
    assert [layers[1].weight, layers[1].keep] == [0.1, 1]
    assert parse_transforms("") == []
    text = "jpeg:quality=60,bit_depth:bits=4"
    assert describe(parse_transforms(text)) == text


@pytest.mark.parametrize(
    "text, words",
    [
        ("jpg", ["jpg", "Did you mean 'jpeg'", "bit_depth"]),
        ("jpeg:qualty=3", ["qualty", "Did you mean 'quality'"]),
        ("jpeg:quality=high", ["quality", "'high'", "75"]),
        ("jpeg:quality=7.5", ["whole number", "7.5"]),
        ("jpeg:quality=0", ["[1, 100]", "quality=0"]),
        ("jpeg:75", ["parameter=value", "'75'"]),
        ("bit_depth:bits=9", ["[1, 8]", "bits=9"]),
        ("bit_depth:bits=True", ["bits", "True"]),
        ("crop_rescale:fraction=2", ["fraction=2"]),
        ("crop_rescale:draws=0", ["draws=0"]),
        ("tv:weight=0", ["weight=0"]),
        ("tv:keep=0", ["keep=0"]),
        ("tv:iterations=0", ["iterations=0"]),
        ("quilting:overlap=3", ["[1, 2]", "overlap=3"]),
        ("quilting:neighbours=9,patches=8", ["neighbours=9"]),
        ("quality=3", ["'quality=3'", "Known"]),
    ],
)
def test_bad_specifications(text, words):
    with pytest.raises(ValueError) as error:
        parse_transforms(text)
    line = str(error.value)
    assert "\n" not in line and all(word in line for word in words), line


def test_quilting_without_a_database():
    with pytest.raises(ValueError, match="needs a database.*`adapt`"):
        with_transforms(classifier(), [TRANSFORMS["quilting"]()])
    with pytest.raises(ValueError, match=r"shape \[m, 5, 5, channels\]"):
        TRANSFORMS["quilting"](np.zeros((7, 4, 4, 3)))
