"""Runs from Python: what `train_run` writes, recognises and refuses."""

import json

import keras
import numpy as np
import pytest

from tf_advdefense import datasets
from tf_advdefense import defenses
from tf_advdefense.artifacts import runs
from tf_advdefense.datasets import pipeline
from tf_advdefense.models import resnet
from tf_advdefense.reporting import model_card
from tf_advdefense.training.adversarial import adversarial
from tf_advdefense.training.run import train_run

QUICK = {"epochs": 2, "batch_size": 16, "train_examples": 64}


@pytest.fixture(scope="module")
def data():
    return datasets.load("digits")


def linear(seed=0):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]
    return keras.Sequential(layers, name="linear")


def narrow(image_shape, num_classes, width):
    """In the place of a registered network, whose traces take seconds each."""
    images = keras.Input(image_shape)
    features = keras.layers.Conv2D(width, 3, strides=4)(images)
    logits = keras.layers.Dense(num_classes)(keras.layers.Flatten()(features))
    return keras.Model(images, logits)


def test_a_run_of_a_name(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(resnet, "small_resnet", narrow)
    hyper = {"nb_iter": 2, "eps": 4 / 255}
    settings = {**QUICK, "output_dir": tmp_path, "transforms": "bit_depth:bits=4"}
    settings["model_args"] = {"width": 4}
    run = train_run("small_resnet", "pgd_at", data, defense_args=hyper, **settings)
    assert run.name == "small_resnet-pgd_at-bit_depth"
    assert run.directory == tmp_path / "runs" / run.name
    request = json.loads((run.directory / "request.json").read_text())
    assert request["transforms"] == "bit_depth:bits=4" and request["epochs"] == 2
    assert request["defense_args"]["eps_iter"] == pytest.approx(1 / 255)
    assert run.config["epochs_trained"] == 2 and run.config["command"] is None
    assert run.config["best_epoch_by"] == "val_pgd_accuracy"
    assert 0 <= run.config["validation_score"] <= 1
    model = runs.load_model(run.model_path)
    widths = [w.shape[-1] for w in model.trainable_weights]
    assert widths == [4, 4, 10, 10]
    images = data.test.images[:8] / np.float32(255)
    served = runs.load_model(run.directory / "saved_model")
    np.testing.assert_allclose(served(images), model(images), atol=1e-5)
    # Its card, written before config.json, is that of what config.json holds.
    about = model_card.card(run.config, name=run.name)
    for name, content in model_card.rendered(about).items():
        assert (run.directory / name).read_bytes() == content
        assert (run.directory / "saved_model" / name).read_bytes() == content
    assert about["limits"][0].startswith("Robustness was not measured")
    assert about["model"]["transforms"] == "bit_depth:bits=4"
    # The same request is recognised, another one refused.
    capsys.readouterr()
    again = train_run("small_resnet", "pgd_at", data, defense_args=hyper, **settings)
    assert again == run and "nothing to do" in capsys.readouterr().out
    with pytest.raises(FileExistsError, match="seed 0, now 1"):
        train_run(
            "small_resnet", "pgd_at", data, defense_args=hyper, seed=1, **settings
        )


def test_a_model_and_a_defence_of_ones_own(data, tmp_path):
    model, teacher = linear(), linear(1)
    defense = defenses.make_defense("distillation", parts={"teacher": teacher})
    before = model.get_weights()
    settings = {**QUICK, "output_dir": tmp_path, "name": "mine"}
    run = train_run(model, defense, data, **settings)
    request = json.loads((run.directory / "request.json").read_text())
    assert request["model"] == "linear" and len(request["teacher"]) == 64
    assert np.any(model.get_weights()[0] != before[0])
    # From other weights it is another run.
    with pytest.raises(FileExistsError, match="initial_weights"):
        defense = defenses.make_defense("distillation", parts={"teacher": teacher})
        train_run(linear(2), defense, data, **settings)
    model.set_weights(before)
    assert train_run(model, defense, data, **settings) == run


@pytest.mark.parametrize(
    "defense, recipe, message",
    [
        ("hope", {}, "Unknown defence 'hope'"),
        ("none", {"schedule": "step"}, "Unknown schedule 'step'"),
        ("none", {"sources": [linear()]}, "`defense=none` takes no sources"),
        ("distillation", {}, "needs its teacher.*`teacher`"),
        ("adversarial", {}, "needs adversarial sets.*`adv_data`"),
        ("none", {"batch_size": 9999}, "`batch_size` must not exceed"),
        (defenses.make_defense("none"), {"attack": "pgd"}, "Received: `attack` beside"),
        (
            defenses.make_defense("none"),
            {"defense_args": {"label_smoothing": 0.1}},
            "Received: `defense_args` beside none",
        ),
    ],
)
def test_refusals_leave_nothing_behind(defense, recipe, message, data, tmp_path):
    with pytest.raises(ValueError, match=message):
        train_run("alexnet", defense, data, output_dir=tmp_path, **recipe)
    assert not list(tmp_path.iterdir())


def test_several_steps_in_a_call_are_the_same_run(data, tmp_path):
    settings = {**QUICK, "name": "run", "output_dir": tmp_path}
    run = train_run(linear(), "none", data, **settings)
    # The very request: nothing of the outcome depends on it.
    assert train_run(linear(), "none", data, steps_per_execution=2, **settings) == run
    settings["output_dir"] = tmp_path / "other"
    again = train_run(linear(), "none", data, steps_per_execution=2, **settings)
    assert again.config["weights_sha256"] == run.config["weights_sha256"]


def test_arguments_of_an_architecture_are_not_a_models(data, tmp_path):
    with pytest.raises(ValueError, match="`model_args` are those of an architecture"):
        settings = {"model_args": {"width": 8}, "output_dir": tmp_path}
        train_run(linear(), "none", data, **settings)
    assert not list(tmp_path.iterdir())


def test_it_is_the_training_that_a_keras_user_gets(data, tmp_path):
    """`adversarial(...).fit` on the same batches ends with the same weights."""
    hyper = {"nb_iter": 2, "eps": 4 / 255}
    settings = {**QUICK, "output_dir": tmp_path, "name": "run"}
    run = train_run(linear(), "pgd_at", data, defense_args=hyper, **settings)
    robust = adversarial(linear(), "pgd_at", dataset=data.name, **hyper)
    robust.compile()
    batches = pipeline.training_batches(
        data.train.take(64),
        batch_size=16,
        epochs=2,
        seed=0,
        augment=data.augmentation,
    )
    validation = data.validation.images, data.validation.labels
    robust.fit(
        batches,
        epochs=2,
        steps_per_epoch=4,
        validation_data=validation,
        shuffle=False,
        verbose=0,
    )
    trained = runs.load_model(run.model_path).get_weights()
    for one, other in zip(robust.given.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(one, other)
