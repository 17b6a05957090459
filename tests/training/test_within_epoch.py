"""Resumed within an epoch: the end is that of an uninterrupted training."""

import itertools
import json

import keras
import numpy as np
import pytest

from tf_advdefense import datasets
from tf_advdefense.training.run import train_run
from tf_advdefense.training.within_epoch import WithinEpoch

STEPS = 6  # Of an epoch.
WRITE = WithinEpoch._write
SLOW = pytest.mark.slow
RECIPE = {"epochs": 2, "batch_size": 16, "train_examples": 16 * STEPS}


@pytest.fixture(scope="module")
def data():
    return datasets.load("digits")


def small(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(3, 5, strides=4),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10),
        ],
        name="small",
    )


def train(monkeypatch, data, directory, stop=None, **recipe):
    """Ends as if by Ctrl-C after the given number of checkpoints within epochs."""
    number = itertools.count(1)

    def stopping(self):
        WRITE(self)
        if next(number) == stop:
            raise KeyboardInterrupt

    monkeypatch.setattr(WithinEpoch, "_write", stopping)
    settings = {**RECIPE, "output_dir": directory, "name": "a", **recipe}
    defense = settings.pop("defense", "none")
    train_run(small(), defense, data, resume=True, **settings)


def outcome(directory):
    """The weights, by their hash, and the history."""
    run = directory / "runs" / "a"
    assert not (run / "checkpoints" / "within.npz").exists()
    config = json.loads((run / "config.json").read_text())
    return config["weights_sha256"], (run / "history.csv").read_text()


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param({"checkpoint_steps": 4, "average": "ema"}, id="average"),
        *(
            pytest.param({"checkpoint_steps": steps, **more}, id=name, marks=SLOW)
            for name, steps, more in (
                ("several", 2, {"steps_per_execution": 2, "optimizer": "adam"}),
                ("replays", 5, {"defense": "free_at", "defense_args": {"replays": 2}}),
                ("plateau", 3, {"schedule": "plateau"}),
            )
        ),
    ],
)
def test_the_end_is_that_of_an_uninterrupted_training(
    recipe, data, tmp_path, monkeypatch
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(monkeypatch, data, whole, **recipe)
    for _ in range(2):  # In the first epoch, and at the next one that is written.
        with pytest.raises(KeyboardInterrupt):
            train(monkeypatch, data, cut, 1, **recipe)
        assert (cut / "runs" / "a" / "checkpoints" / "within.npz").exists()
    train(monkeypatch, data, cut, **recipe)
    assert outcome(cut) == outcome(whole)


def test_it_says_where_it_goes_on(data, tmp_path, monkeypatch, capsys):
    with pytest.raises(KeyboardInterrupt):
        train(monkeypatch, data, tmp_path, 3, checkpoint_steps=2)
    train(monkeypatch, data, tmp_path, checkpoint_steps=2)
    assert "Going on after step 2 of epoch 2." in capsys.readouterr().out


@pytest.mark.slow
def test_one_of_an_epoch_that_is_over_is_not_believed(data, tmp_path, monkeypatch):
    """As if the process had been killed before it could remove it."""
    with pytest.raises(KeyboardInterrupt):
        train(monkeypatch, data, tmp_path, 1, checkpoint_steps=3)
    within = tmp_path / "runs" / "a" / "checkpoints" / "within.npz"
    old = within.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        train(monkeypatch, data, tmp_path, 1, checkpoint_steps=3)  # In the second.
    within.write_bytes(old)
    train(monkeypatch, data, tmp_path, checkpoint_steps=3)
    train(monkeypatch, data, tmp_path / "whole", checkpoint_steps=3)
    assert outcome(tmp_path) == outcome(tmp_path / "whole")


def test_a_damaged_one_is_named(data, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train(monkeypatch, data, tmp_path, 1, checkpoint_steps=3)
    within = tmp_path / "runs" / "a" / "checkpoints" / "within.npz"
    within.write_bytes(within.read_bytes()[:-100])
    with pytest.raises(ValueError, match="A checkpoint must be.*within.npz.*overwrite"):
        train(monkeypatch, data, tmp_path, checkpoint_steps=3)


def test_short_epochs_have_none(data, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(WithinEpoch, "_write", lambda self: written.append(1))
    settings = {**RECIPE, "output_dir": tmp_path, "name": "a"}
    train_run(small(), "none", data, **settings)
    assert not written
    assert np.isfinite(
        json.loads((tmp_path / "runs/a/config.json").read_text())["test_accuracy"]
    )
