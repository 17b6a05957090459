"""The robust accuracy in the logs of a training that this package knows nothing of."""

import keras
import numpy as np
import pytest

import tf_advdefense as adv
from tf_advdefense.models.heads import logits_model

EPS = 0.05


def classifier():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    labels = np.arange(32) % 4
    images = random.random((32, 6, 6, 3)) * 0.5 + labels[:, None, None, None] / 8
    return images.astype("float32"), labels


def by_hand(model, images, labels):
    attack = adv.make_attack("pgd", eps=EPS, eps_iter=EPS / 4)
    found = attack(logits_model(model), images, labels).numpy()
    clean, attacked = (
        model.predict(x, verbose=0).argmax(1) == labels for x in (images, found)
    )
    return np.mean(clean & attacked)


def test_any_training_logs_it(data):
    model = classifier()
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    robust = adv.RobustAccuracy(*data, eps=EPS, eps_iter=EPS / 4)
    stop = keras.callbacks.EarlyStopping(
        "val_pgd_accuracy", mode="max", patience=1, min_delta=2.0
    )
    history = model.fit(*data, epochs=6, verbose=0, callbacks=[robust, stop]).history[
        "val_pgd_accuracy"
    ]
    assert len(history) == 2
    assert history[-1] == pytest.approx(by_hand(model, *data))
    assert robust.measured(model) == history[-1]


def test_every_other_epoch_under_another_attack_and_name(data):
    model = classifier()
    model.compile("sgd", "sparse_categorical_crossentropy")
    robust = adv.RobustAccuracy(*data, "fgsm", eps=EPS, name="robust", every=2)
    logs = []
    seen = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda _, seen: logs.append({**seen})
    )
    model.fit(*data, epochs=4, verbose=0, callbacks=[robust, seen])
    assert ["val_robust_accuracy" in each for each in logs] == [False, True] * 2


def test_images_of_another_range(data):
    images, labels = data
    model = classifier()
    taking_255 = keras.Sequential(
        [keras.Input((6, 6, 3)), keras.layers.Rescaling(1 / 255), model]
    )
    levels = np.rint(255 * images).astype("uint8")
    found = [
        adv.RobustAccuracy(levels, labels, "fgsm", eps=EPS).measured(model),
        adv.RobustAccuracy(
            levels, labels, "fgsm", eps=EPS, input_range=(0, 255)
        ).measured(taking_255),
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "given, message",
    [
        ({"attack": "pdg"}, "Unknown attack 'pdg'"),
        ({"every": 0}, "`every` must be a number of epochs"),
        ({"eps": 8}, "`eps` must be in"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(data, given, message):
    with pytest.raises(ValueError, match=message) as error:
        adv.RobustAccuracy(*data, **given)
    assert "\n" not in str(error.value)
