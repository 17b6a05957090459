"""Trainings over two devices against the same on one, in a process that has two."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tf_advdefense import distribution

ON_TWO = """
import json, pathlib, sys
sys.path[:0] = ["tests/training", "tests", "."]
import tf_advdefense as adv
import keras, numpy as np, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tf_advdefense.training.averaging import Ema
from tf_advdefense.training.trainer import AdversarialTrainer
import test_train as t

directory = pathlib.Path(sys.argv[1])
sets = [t.make_set(directory, "a-train", 1)]
random = np.random.default_rng(0)
images, labels = random.random((4 * t.BATCH, *t.SHAPE), np.float32), np.arange(32) % 3

def on_disk(name):
    trainer = t.make_trainer(t.make_linear(), "adversarial")
    history = t.training.train(
        trainer, lambda first, step: t.mixed_batches(sets, 2, first), epochs=2,
        steps_per_epoch=t.STEPS, directory=directory / name,
        validation=t.training.validation_batches(t.make_split(12, seed=9)),
        plateau=t.schedules.Plateau(patience=0, threshold=0.9))
    return t.variables_of(trainer), history

def fitted(trainer, optimizer):
    trainer.compile(optimizer)
    history = trainer.fit(images, labels, batch_size=t.BATCH, epochs=2, shuffle=False,
                          verbose=0, validation_data=(images[:12], labels[:12]))
    state = trainer.defense.variables
    rows = [np.concatenate([v.numpy() for v in state])] if state else []
    return [*trainer.classifier.get_weights(), *rows], [history.history]

def free_at(name):
    defense = adv.make_defense("free_at", replays=3)
    sgd = keras.optimizers.SGD(0.05, momentum=0.9)
    return fitted(AdversarialTrainer(t.make_linear(), defense), sgd)

def averaged(name):
    trainer = AdversarialTrainer(t.make_linear(), adv.make_defense("none"), Ema(0.5))
    return fitted(trainer, keras.optimizers.SGD(0.05))

def from_keras(name):
    model = keras.Sequential([t.make_linear(), keras.layers.Softmax()])
    return fitted(adv.adversarial(model, "pgd_at", nb_iter=2), None)

found = {}
for training in (on_disk, free_at, averaged, from_keras):
    for name in ("none", "mirrored"):
        with t.distribution.scope(name):
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            arrays, history = training(name)
        found[f"{training.__name__} {replicas}"] = (
            [np.asarray(a).tolist() for a in arrays], history)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each training ends with on one device, and on two."""
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO, str(tmp_path_factory.mktemp("two"))],
        cwd=pathlib.Path(__file__).parents[2],
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["on_disk", "free_at", "averaged", "from_keras"])
def test_two_devices_train_as_one(found, name):
    (arrays, history), (same, again) = (found[f"{name} {n}"] for n in (1, 2))
    for left, right in zip(arrays, same, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)
    for left, right in zip(history, again, strict=True):
        for key, value in left.items():
            assert value == pytest.approx(right[key], rel=1e-4)


def test_unknown_distribution():
    with pytest.raises(
        ValueError, match="'mirored'. Did you mean 'mirrored'. Known: none, mirrored."
    ):
        distribution.scope("mirored")
