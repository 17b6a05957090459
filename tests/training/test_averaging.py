"""Averages of the weights: against a loop, between epochs, resumed, kept and scored."""

import json

import keras
import numpy as np
import pytest

import tf_advdefense as adv
from tf_advdefense.datasets import load
from tf_advdefense.defenses import make_defense
from tf_advdefense.training import averaging
from tf_advdefense.training.averaging import Ema
from tf_advdefense.training.averaging import Swa
from tf_advdefense.training.run import train_run
from tf_advdefense.training.trainer import AdversarialTrainer

SHAPE, CLASSES, BATCH, STEPS = (6, 6, 3), 4, 8, 5
KINDS = [Ema(0.7), Swa(3)]
each_kind = pytest.mark.parametrize("kind", KINDS)


def make_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, strides=2),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(CLASSES),
        ]
    )


def make_arrays():
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, STEPS * BATCH)
    return random.random((len(labels), *SHAPE), np.float32), labels


def weights_of(model):
    return [np.array(weight) for weight in model.get_weights()]


class Recorder(keras.callbacks.Callback):
    """The weights after every update, and at the end of every epoch."""

    def __init__(self, model):
        super().__init__()
        self.of, self.updates, self.epochs = model, [], []

    def on_train_batch_end(self, batch, logs=None):
        self.updates.append(weights_of(self.of))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(weights_of(self.of))


def trained(kind, epochs=2, defense="none", **settings):
    model = make_model()
    trainer = AdversarialTrainer(model, make_defense(defense), kind)
    trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    recorder, arrays = Recorder(model), make_arrays()
    settings = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **settings}
    history = trainer.fit(*arrays, epochs=epochs, callbacks=[recorder], **settings)
    return model, recorder, history.history


def expected(kind, updates, initial):
    """The average as its paper has it, in NumPy."""
    mean = initial
    for t, weights in enumerate(updates, start=1):
        if isinstance(kind, Ema):
            share = 1 - min(kind.decay, (1 + t) / (10 + t))
        else:
            share = 1 / max(t - kind.start, 1)
        mean = [(1 - share) * m + share * w for m, w in zip(mean, weights)]
    return mean


def assert_close(left, right, atol=1e-6):
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


@each_kind
def test_against_a_loop(kind):
    model, recorder, _ = trained(kind)
    mean = expected(kind, recorder.updates, weights_of(make_model()))
    assert_close(weights_of(model), mean)
    # BatchNorm's moving statistics are averaged alike.
    statistics = model.layers[1].moving_variance
    last = recorder.updates[-1][-3]
    assert np.abs(statistics - last).max() > 1e-4


@each_kind
def test_training_itself_is_not_changed(kind):
    _, plain, _ = trained(None)
    _, averaged, _ = trained(kind)
    for one, other in zip(plain.updates, averaged.updates, strict=True):
        assert_close(one, other)


@each_kind
def test_between_epochs_the_model_is_the_average(kind):
    images, labels = make_arrays()
    model, recorder, history = trained(kind, validation_data=(images, labels))
    initial = weights_of(make_model())
    for epoch in (1, 2):
        mean = expected(kind, recorder.updates[: epoch * STEPS], initial)
        assert_close(recorder.epochs[epoch - 1], mean)
        again = make_model()
        again.set_weights(mean)
        right = np.argmax(again.predict(images, verbose=0), -1) == labels
        # Validation has seen it, too.
        assert history["val_accuracy"][epoch - 1] == pytest.approx(np.mean(right))


@pytest.mark.slow
def test_every_replay_counts():
    """Eight replays of a batch are eight weights to average."""
    arrays, replayed = make_arrays(), {"epochs": 1, "steps_per_epoch": 1}
    settings = {"defense": "free_at", "validation_data": arrays, **replayed}
    model, _, _ = trained(Swa(7), **settings)  # The first that counts is the last.
    plain, _, _ = trained(None, **settings)
    assert_close(weights_of(model), weights_of(plain))
    model, _, _ = trained(Swa(6), **settings)
    assert np.abs(model.get_weights()[0] - plain.get_weights()[0]).max() > 1e-4


def test_the_users_model_ends_with_it_and_is_saved_with_it(tmp_path):
    images, labels = make_arrays()
    robust = adv.adversarial(make_model(), "pgd_at", nb_iter=1, average="ema")
    robust.compile("sgd")
    path = tmp_path / "best.keras"
    saving = keras.callbacks.ModelCheckpoint(path)
    recorder = Recorder(robust.given)
    calls = [saving, recorder]
    robust.fit(images, labels, batch_size=BATCH, callbacks=calls, verbose=0)
    initial = weights_of(make_model())
    mean = expected(Ema(), recorder.updates, initial)
    assert_close(weights_of(robust.given), mean)
    assert_close(weights_of(keras.models.load_model(path)), mean)


class Stop(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ema", "swa"])
def test_a_resumed_run_ends_with_the_same_average(name, tmp_path, monkeypatch):
    data = load("digits")
    recipe = {"epochs": 3, "batch_size": 16, "train_examples": 48, "average": name}
    given = {"data": data, "name": "run", "schedule": "constant", **recipe}

    def linear():
        keras.utils.set_random_seed(1)
        flat = [keras.layers.Flatten(), keras.layers.Dense(10)]
        return keras.Sequential([keras.Input((32, 32, 3)), *flat], name="linear")

    whole = train_run(linear(), output_dir=tmp_path / "a", **given)
    request = json.loads((whole.directory / "request.json").read_text())
    wanted = {"decay": 0.995} if name == "ema" else {"start": 6}
    assert (request["average"], request["average_args"]) == (name, wanted)
    plain = train_run(linear(), output_dir=tmp_path / "c", **given | {"average": None})
    first = averaging.WeightAverage.on_epoch_begin

    def stops(self, epoch, logs=None):
        if epoch == 2:
            raise Stop
        first(self, epoch, logs)

    monkeypatch.setattr(averaging.WeightAverage, "on_epoch_begin", stops)
    with pytest.raises(Stop):
        train_run(linear(), output_dir=tmp_path / "b", **given)
    monkeypatch.undo()
    again = train_run(linear(), output_dir=tmp_path / "b", resume=True, **given)
    found = [weights_of(run.load_model()) for run in (whole, again, plain)]
    assert_close(found[0], found[1], atol=0)
    assert np.abs(found[0][0] - found[2][0]).max() > 1e-4


@pytest.mark.parametrize(
    "name, hyper, message",
    [
        ("mean", {}, "Unknown average 'mean'"),
        ("ema", {"start": 3}, "no hyperparameter 'start'. Known: decay."),
        ("ema", {"decay": 1}, r"`decay` must be in \[0, 1\). Received: decay=1"),
        ("swa", {"start": -1}, "`start` must be a number of updates"),
        ("swa", {}, "must know when it starts"),
    ],
)
def test_refusals(name, hyper, message):
    with pytest.raises(ValueError, match=message) as error:
        averaging.make_average(name, **hyper)
    assert "\n" not in str(error.value)


def test_an_average_of_ones_own_is_checked():
    with pytest.raises(ValueError, match="`decay` must be in"):
        AdversarialTrainer(make_model(), make_defense("none"), Ema(5))


def test_arguments_without_an_average(tmp_path):
    with pytest.raises(ValueError, match="`average_args` are those of an `average`"):
        train_run(
            "alexnet",
            data=load("digits"),
            average_args={"decay": 0.9},
            output_dir=tmp_path,
        )
    assert not list(tmp_path.iterdir())
