"""`adversarial(model, ...)` in the hands of somebody who knows Keras."""

import json
import zipfile

import keras
from keras import layers
import numpy as np
import pytest
import tensorflow as tf

import tf_advdefense as adv
from tf_advdefense.defenses import DEFENSES

SHAPE, CLASSES, BATCH = (6, 6, 3), 4, 8
NO_SETS = [name for name, entry in DEFENSES.items() if not entry.check_sources]
SETS = [name for name, entry in DEFENSES.items() if entry.check_sources]


def make_model(activation="softmax", outputs=CLASSES, regularizer=None, seed=0):
    keras.utils.set_random_seed(seed)
    dense = layers.Dense(outputs, activation, kernel_regularizer=regularizer)
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), dense])


def make_arrays(size=4 * BATCH, classes=CLASSES):
    """Classes told apart by a colour, plainly."""
    random = np.random.default_rng(0)
    labels = np.arange(size) % classes
    colours = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    images = 0.8 * np.broadcast_to(colours[labels][:, None, None], (size, *SHAPE))
    return (images + 0.2 * random.random((size, *SHAPE))).astype(np.float32), labels


def one_hot(labels):
    return np.eye(CLASSES, dtype=np.float32)[labels]


def made(name, model, **given):
    """The defence `name`, at its cheapest."""
    hyper = {"multi_norm": dict(nb_iter_linf=1, nb_iter_l2=1, nb_iter_l1=1)}
    for stepped in ("pgd_at", "trades", "mart", "rslad"):
        hyper[stepped] = {"nb_iter": 1}
    parts = {
        "distillation": {"teacher": make_model(seed=1)},
        "rslad": {"teacher": make_model(seed=1)},
        "ensemble_at": {"sources": [make_model()]},
    }
    images, labels = make_arrays(5)
    examples = {"examples": [(images, labels)]} if name in SETS else {}
    given = {**hyper.get(name, {}), **parts.get(name, {}), **examples, **given}
    return adv.adversarial(model, name, **given)


def fitted(model, *data, epochs=2, **settings):
    settings = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **settings}
    return model.fit(*data, epochs=epochs, **settings).history


# === It is a Keras model ===


@pytest.mark.parametrize("name", DEFENSES)
def test_every_defence_trains_the_model_that_it_was_given(name):
    model = make_model()
    before = model.get_weights()
    robust = made(name, model)
    robust.compile("adam")
    history = fitted(
        robust, *make_arrays(), epochs=1, validation_data=make_arrays(BATCH)
    )
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history)
    assert np.isfinite(history["loss"]).all()
    moved = [np.abs(a - b).max() for a, b in zip(model.get_weights(), before)]
    assert min(moved) > 1e-5
    images, _ = make_arrays()
    np.testing.assert_array_equal(
        robust.predict(images, verbose=0), model.predict(images, verbose=0)
    )


def custom(targets, outputs):
    return tf.reduce_sum(
        (tf.one_hot(tf.cast(targets, tf.int32), CLASSES) - outputs) ** 2, 1
    )


def _losses():
    """Name to (activation, outputs, loss, labels to targets)."""
    same, hot = lambda y: y, one_hot
    K = keras.losses
    return {
        "classes": ("softmax", CLASSES, "sparse_categorical_crossentropy", same),
        "column": (
            "softmax",
            CLASSES,
            K.SparseCategoricalCrossentropy(),
            lambda y: y[:, None],
        ),
        "logits": (
            None,
            CLASSES,
            K.SparseCategoricalCrossentropy(from_logits=True),
            same,
        ),
        "one-hot": ("softmax", CLASSES, "categorical_crossentropy", hot),
        "smoothed": (
            "softmax",
            CLASSES,
            K.CategoricalCrossentropy(label_smoothing=0.2),
            hot,
        ),
        "focal": ("softmax", CLASSES, K.CategoricalFocalCrossentropy(), hot),
        "sum": ("softmax", CLASSES, K.CategoricalCrossentropy(reduction="sum"), hot),
        "squares": ("softmax", CLASSES, "mse", hot),
        "custom": ("softmax", CLASSES, custom, same),
        "sigmoids": ("sigmoid", CLASSES, "binary_crossentropy", hot),
        "binary": ("sigmoid", 1, "binary_crossentropy", lambda y: y % 2),
        "one logit": (None, 1, K.BinaryCrossentropy(from_logits=True), lambda y: y % 2),
        "any": ("softmax", CLASSES, "crossentropy", hot),
    }


@pytest.mark.parametrize(
    "case, weighted", [*((case, True) for case in _losses()), ("one-hot", False)]
)
def test_losses_and_metrics_are_those_of_keras(case, weighted):
    """Undefended, it is the training that the model has without this package."""
    activation, outputs, loss, targets = _losses()[case]
    images, labels = make_arrays()
    labels = targets(labels)
    weight = np.linspace(0.5, 1.5, len(labels)) if weighted else None
    found = []
    for wrapped in (False, True):
        model = make_model(activation, outputs, "l2")
        whole = adv.adversarial(model, "none") if wrapped else model
        whole.compile(
            keras.optimizers.SGD(0.05),
            loss,
            metrics=["accuracy"],
            weighted_metrics=["mse"],
        )
        if case in ("classes", "column", "logits", "custom"):
            whole.compile(keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
        history = fitted(whole, images, labels, sample_weight=weight)
        scores = whole.evaluate(
            images, labels, sample_weight=weight, verbose=0, return_dict=True
        )
        found.append((model.get_weights(), history, scores))
    (expected, history, scores), (weights, own_history, own_scores) = found
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    for name in history:
        assert own_history[name] == pytest.approx(history[name], rel=1e-3), name
    for name in scores:
        assert own_scores[name] == pytest.approx(scores[name], rel=1e-3), name


def test_class_weights_and_a_split_are_those_of_keras():
    images, labels = make_arrays()
    found = []
    for wrapped in (False, True):
        model = make_model()
        whole = adv.adversarial(model, "none") if wrapped else model
        whole.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
        given = {
            "class_weight": {0: 3.0, 1: 1.0, 2: 0.5, 3: 1.0},
            "validation_split": 0.25,
        }
        history = fitted(whole, images, labels, **given)
        found.append((model.get_weights(), history["val_loss"]))
    for one, other in zip(*(weights for weights, _ in found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["pgd_at", "trades", "fgsm_at", "adversarial", "free_at"]
)
def test_one_hot_labels_train_as_classes_do(name):
    """And a loss that is given as the cross-entropy that is the default."""
    images, labels = make_arrays()
    found = []
    for loss, targets in (
        (None, labels),
        ("categorical_crossentropy", one_hot(labels)),
    ):
        model = make_model()
        robust = made(name, model)
        robust.compile(keras.optimizers.SGD(0.05), loss)
        fitted(robust, images, targets, epochs=1, validation_data=(images, targets))
        found.append(model.get_weights())
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_images_of_another_range_are_attacked_in_units_of_ours():
    images, labels = make_arrays()
    found = []
    for scale in (1.0, 255.0):
        model = make_model()
        model.layers[-1].kernel.assign(model.layers[-1].kernel / scale)
        ranged = keras.Sequential([keras.Input(SHAPE), layers.Rescaling(1.0), model])
        robust = adv.adversarial(ranged, "pgd_at", nb_iter=2, input_range=(0, scale))
        robust.compile(keras.optimizers.SGD(0.0))
        history = fitted(
            robust, scale * images, labels, validation_data=(scale * images, labels)
        )
        found.append({key: history[key] for key in ("loss", "val_pgd_accuracy")})
    for key in found[0]:
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-4)


def test_several_steps_at_once_and_xla():
    images, labels = make_arrays()
    found = []
    for settings in ({}, {"steps_per_execution": 2}, {"jit_compile": True}):
        model = make_model()
        robust = adv.adversarial(model, "pgd_at", nb_iter=2, rand_init=False)
        robust.compile(keras.optimizers.SGD(0.05), **settings)
        fitted(robust, images, labels, epochs=1)
        found.append(model.get_weights())
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


# === Callbacks ===


def _data(form):
    images, labels = make_arrays()
    if form == "arrays":
        return (images, labels), {"validation_data": (images, labels)}
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH)
    return (dataset,), {"validation_data": dataset, "batch_size": None}


def _robust():
    robust = adv.adversarial(make_model(), "pgd_at", nb_iter=1)
    robust.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return robust


@pytest.mark.parametrize("form", ["arrays", "tuples"])
def test_early_stopping_sees_the_robust_accuracy(form):
    data, settings = _data(form)
    stop = keras.callbacks.EarlyStopping(
        monitor="val_pgd_accuracy", mode="max", patience=1, min_delta=2.0
    )
    history = fitted(_robust(), *data, epochs=9, callbacks=[stop], **settings)
    assert len(history["val_pgd_accuracy"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("form", ["arrays", "tuples"])
def test_checkpoints_hold_the_users_model(form, tmp_path):
    data, settings = _data(form)
    robust = _robust()
    whole = tmp_path / "{epoch}.keras"
    weights = tmp_path / "best.weights.h5"
    callbacks = [
        keras.callbacks.ModelCheckpoint(whole),
        keras.callbacks.ModelCheckpoint(
            weights,
            "val_pgd_accuracy",
            mode="max",
            save_best_only=True,
            save_weights_only=True,
        ),
        keras.callbacks.TensorBoard(tmp_path / "logs"),
    ]
    fitted(robust, *data, callbacks=callbacks, **settings)
    assert any((tmp_path / "logs").rglob("events*"))
    kept = [keras.models.load_model(tmp_path / f"{n}.keras") for n in (1, 2)]
    images, _ = make_arrays()
    ours = robust.predict(images, verbose=0)
    assert any(np.array_equal(each.predict(images, verbose=0), ours) for each in kept)
    with zipfile.ZipFile(tmp_path / "2.keras") as file:
        assert "tf_advdefense" not in json.dumps(json.loads(file.read("config.json")))
    other = _robust()
    other.load_weights(weights)
    assert other.predict(images, verbose=0).shape == ours.shape


@pytest.mark.slow
@pytest.mark.parametrize("form", ["arrays", "tuples"])
def test_a_backup_goes_on_where_the_training_stopped(form, tmp_path):
    data, settings = _data(form)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    backup = lambda: keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fitted(_robust(), *data, callbacks=[backup(), Stop()], **settings)
    resumed = _robust()
    history = fitted(resumed, *data, callbacks=[backup()], epochs=3, **settings)
    assert len(history["loss"]) == 2
    assert int(resumed.optimizer.iterations) == 3 * 4


# === What is kept, and what is refused ===


def test_it_is_saved_and_exported_as_the_model_itself(tmp_path):
    robust = _robust()
    images, labels = make_arrays()
    fitted(robust, images, labels, epochs=1)
    robust.save(tmp_path / "robust.keras")
    robust.export(tmp_path / "exported", verbose=False)
    loaded = keras.models.load_model(tmp_path / "robust.keras")
    served = tf.saved_model.load(str(tmp_path / "exported"))
    expected = robust.given.predict(images, verbose=0)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), expected)
    np.testing.assert_allclose(served.serve(images), expected, atol=1e-6)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"defense": "pgd"}, "Unknown defence 'pgd'"),
        ({"eps": 8}, "`eps` must be in"),
        ({"defense": "distillation"}, "needs its teacher"),
        ({"defense": "ensemble"}, "train on `examples`.*Received: none"),
        ({"examples": [make_arrays(4)]}, "train on `examples`.*`examples` for pgd_at"),
        (
            {"defense": "ensemble", "examples": [make_arrays(4)], "adv_fraction": 1.0},
            "`adv_fraction` must leave",
        ),
        (
            {"defense": adv.make_defense("pgd_at"), "eps": 0.1},
            "has all its values. Received: `eps` beside pgd_at",
        ),
        (
            {"defense": adv.make_defense("fgsm_at"), "attack": "pgd"},
            "Received: `attack`",
        ),
    ],
)
def test_what_a_defence_does_not_take_is_refused(given, message):
    with pytest.raises(ValueError, match=message) as error:
        adv.adversarial(make_model(), **{"defense": "pgd_at", **given})
    assert "\n" not in str(error.value)


def test_a_loss_of_its_own_is_refused():
    robust = made("distillation", make_model())
    with pytest.raises(
        ValueError, match="`defense=distillation` has a loss of its own"
    ):
        robust.compile("adam", "categorical_crossentropy")


def test_compiling_again_forgets_the_former_loss():
    images, labels = make_arrays()
    found = []
    for former in ((), ("mse",)):
        model = make_model()
        robust = adv.adversarial(model, "none")
        for loss in former:
            robust.compile("sgd", loss)
        robust.compile(keras.optimizers.SGD(0.05))
        found.append(fitted(robust, images, labels, epochs=1)["loss"])
    assert found[0] == found[1]


def test_images_beyond_their_range_are_refused():
    images, labels = make_arrays()
    robust = _robust()
    dataset = tf.data.Dataset.from_tensor_slices((255 * images, labels)).batch(BATCH)
    for data in ((255 * images, labels), (dataset,)):
        with pytest.raises(ValueError, match=r"must lie in `input_range`, \[0, 1\]"):
            robust.fit(*data, verbose=0)


def test_a_model_must_show_its_logits():
    hidden = make_model("relu")
    with pytest.raises(ValueError, match="must show its logits.*ends with relu"):
        adv.adversarial(hidden)
    assert adv.adversarial(hidden, from_logits=True).given is hidden
    with pytest.raises(ValueError, match="must know its input"):
        adv.adversarial(keras.Sequential([layers.Flatten(), layers.Dense(3)]))
