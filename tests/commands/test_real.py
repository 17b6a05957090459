"""On real CIFAR-10, prepared in TFDS_DATA_DIR: `.venv/bin/python -m pytest -m real`."""

import binaries
import numpy as np
import pytest

from tf_advdefense import datasets
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import runs

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """An undefended network that has seen a fifth of CIFAR-10 for two epochs."""
    outputs = tmp_path_factory.mktemp("outputs")
    done = binaries.run(
        "train",
        "--model=small_resnet",
        "--epochs=2",
        "--train_examples=9000",
        f"--output_dir={outputs}",
    )
    assert done.returncode == 0, done.stderr
    return outputs


def test_the_splits_of_cifar10():
    data = datasets.load("cifar10")
    assert [len(s) for s in (data.train, data.validation, data.test)] == [
        45000,
        5000,
        10000,
    ]
    assert data.num_classes == 10 and data.image_shape == (32, 32, 3)
    assert not set(data.train.index.tolist()) & set(data.validation.index.tolist())
    # The first images are a sample: no class is missing or dominates.
    assert np.bincount(data.test.take(512).labels, minlength=10).min() > 25


def test_an_undefended_network_learns_and_is_fooled_by_every_unbounded_attack(outputs):
    accuracy = runs.load_run(outputs, "small_resnet").config["test_accuracy"]
    assert accuracy > 0.3
    done = binaries.run(
        "make_adv",
        "--attack=cw",
        "--run=small_resnet",
        "--num_examples=128",
        f"--output_dir={outputs}",
    )
    assert done.returncode == 0, done.stderr
    adv = adversarial_sets.load_set(outputs, "small_resnet-cw-test")
    assert adv.config["success_rate"] == 1.0
    examples = adversarial_sets.read_arrays(adv)
    correct = examples["clean_prediction"] == examples["label"]
    # Published CW distances on undefended CIFAR-10 networks are a few tenths.
    assert 0.01 < examples["l2"][correct].mean() < 1.0
