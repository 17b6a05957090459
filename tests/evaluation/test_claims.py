"""A refusal leaves nothing, and an interruption what is to be continued."""

import dataclasses

import keras
import numpy as np
import pytest

from tf_advdefense.attacks import ATTACKS
from tf_advdefense.attacks import make_attack
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.evaluation.crafted_sets import make_set
from tf_advdefense.training.run import train_run

SHAPE = (6, 6, 3)


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).integers(0, 256, (16, *SHAPE), np.uint8)
    split = Split(images, np.arange(16) % 4, np.arange(16))
    return Dataset("shapes", tuple("abcd"), "f" * 64, split, split, split)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(4)]
    )


def refusing(attack, first_parts=1):
    """The attack, whose last part does not stand the model."""

    def init(*arguments):
        raise ValueError("`model` must have more. Received: less.")

    if attack.parts is None:
        return dataclasses.replace(attack, init=init)
    *first, last = attack.parts(attack.hyper, 4)
    parts = [*first[:first_parts], dataclasses.replace(last, init=init)]
    return dataclasses.replace(attack, parts=lambda *_: parts)


def made(model, attack, data, output_dir, **settings):
    settings = {"batch_size": 8, "num_examples": 8, "say": str, **settings}
    return make_set(model, attack, data, output_dir=output_dir, name="s", **settings)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_a_model_does_not_stand_leaves_nothing(
    tmp_path, model, data, name
):
    with pytest.raises(ValueError, match="must have more"):
        made(model, refusing(ATTACKS[name], first_parts=0), data, tmp_path)
    assert not list(tmp_path.glob("adv/*"))


def test_the_corrected_command_finds_the_name_free(tmp_path, model, data):
    with pytest.raises(ValueError, match="must have more"):
        made(model, refusing(make_attack("pgd", eps=0.1)), data, tmp_path)
    assert made(model, make_attack("fgsm", eps=0.1), data, tmp_path).name == "s"


@pytest.mark.parametrize("name", ["fgsm", "autoattack"])
def test_what_would_be_replaced_stays_until_the_attack_is_traced(
    tmp_path, model, data, name
):
    former = made(model, make_attack("fgsm", eps=0.1), data, tmp_path)
    with pytest.raises(ValueError, match="must have more"):
        made(model, refusing(ATTACKS[name]), data, tmp_path, overwrite=True)
    again = made(model, make_attack("fgsm", eps=0.1), data, tmp_path)
    assert again.config == former.config


def test_shards_that_are_done_and_interruptions_are_kept(
    tmp_path, model, data, monkeypatch
):
    fgsm = make_attack("fgsm", eps=0.1)

    def stopping(error, at):
        def show(done, total, fooled):
            if title.endswith(f"{at}/2"):
                raise error

        def progress(text):
            nonlocal title
            title = text
            return show

        title = ""
        return progress

    with pytest.raises(OSError):
        made(
            model, fgsm, data, tmp_path, num_examples=16, progress=stopping(OSError, 2)
        )
    assert list(tmp_path.glob("adv/s/*.tfrecord-00000-of-00002"))
    with pytest.raises(KeyboardInterrupt):
        made(
            model,
            fgsm,
            data,
            tmp_path,
            num_examples=16,
            overwrite=True,
            progress=stopping(KeyboardInterrupt, 1),
        )
    assert (tmp_path / "adv" / "s" / "request.json").exists()


def test_a_training_that_fails_at_once_leaves_nothing(tmp_path, model, data):
    class Broken(keras.layers.Layer):
        def call(self, images, training=False):
            if training:
                raise ValueError("no training")
            return images

    broken = keras.Sequential([keras.Input(SHAPE), Broken(), *model.layers])
    settings = dict(output_dir=tmp_path, epochs=1, batch_size=8, name="r")
    with pytest.raises(ValueError, match="no training"):
        train_run(broken, "none", data, **settings)
    assert not list(tmp_path.glob("runs/*"))
