"""AutoAttack's robust accuracy against its authors' parts in PyTorch, on real images.

    AUTOATTACK_MODEL=MODEL.keras .venv/bin/python -m pytest -m real -k autoattack

with CIFAR-10 prepared in TFDS_DATA_DIR and the model that `golden/autoattack.json`
names by its SHA-256; half an hour on one core.
"""

import hashlib
import json
import os
import pathlib

import keras
import numpy as np
import pytest
import small_models

from tf_advdefense import datasets
from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft

pytestmark = pytest.mark.real

GOLDEN = json.loads((small_models.GOLDEN / "autoattack.json").read_text())
EPS = {"1/255": 1 / 255, "0.5/255": 0.5 / 255}


@pytest.fixture(scope="module")
def model():
    path = os.environ.get("AUTOATTACK_MODEL")
    if path is None:
        pytest.skip("Set AUTOATTACK_MODEL to the model's file.")
    digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    assert digest == GOLDEN["model_sha256"]
    return keras.models.load_model(path)


@pytest.mark.parametrize("eps", [eps for eps in EPS if eps in GOLDEN])
def test_each_part_leaves_as_many_images_as_the_original(model, eps):
    test = datasets.load("cifar10", None, None).split("test").take(GOLDEN["images"])
    golden, robust = GOLDEN[eps], np.arange(len(test.images))
    attack = make_attack("autoattack", eps=EPS[eps])
    for part in attack.parts(attack.hyper):
        if part.name not in golden["sequence"]:
            break
        batch = craft(
            model, part, test.images[robust], test.labels[robust], test.index[robust]
        )
        robust = robust[batch["prediction"] == test.labels[robust]]
        print(part.name, len(robust), golden["sequence"][part.name])
        assert abs(len(robust) - golden["sequence"][part.name]) <= 3
    assert abs(len(robust) - len(golden["robust"])) <= 2
