"""What Keras users had once: a model wrapped in five lines, and more robust for it."""

import keras
from keras import layers
import pytest

import tf_advdefense as adv

EPS = 0.1


@pytest.fixture(scope="module")
def data():
    return adv.load_dataset("digits", image_size=28)


@pytest.fixture(scope="module")
def robustness(data):
    test = data.test.take(128)
    return adv.RobustAccuracy(test.images, test.labels, eps=EPS)


def make_model(image_shape):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def trained(model, data):
    """The same lines for any of them."""
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels = data.train.images / 255.0, data.train.labels
    model.fit(images, labels, batch_size=32, epochs=8, verbose=0)
    return model


@pytest.fixture(scope="module")
def undefended(data, robustness):
    model = trained(make_model(data.image_shape), data)
    return robustness.measured(model)


@pytest.mark.parametrize(
    "name",
    [
        "pgd_at",
        pytest.param("fgsm_at", marks=pytest.mark.slow),
        pytest.param("trades", marks=pytest.mark.slow),
    ],
)
def test_a_wrapped_model_is_more_robust(name, data, robustness, undefended):
    model = make_model(data.image_shape)
    steps = {} if name == "fgsm_at" else {"nb_iter": 4, "eps_iter": EPS / 2}
    trained(adv.adversarial(model, name, eps=EPS, **steps), data)
    right = model.predict(data.test.images / 255.0, verbose=0).argmax(1)
    assert (right == data.test.labels).mean() > 0.8
    assert robustness.measured(model) > undefended + 0.15
