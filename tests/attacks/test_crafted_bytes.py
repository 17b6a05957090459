"""What every attack crafts, to the last bit: the net under changes that move nothing.

Each attack, in each of its norms and losses, attacks sixteen images of a small seeded
model with a small budget, by a direct call and through the runner. The hashes of the
results were recorded by

    PYTHONPATH=tests python tests/attacks/test_crafted_bytes.py

Record them anew only where a change of results is intended, and say so in its commit.
Kernels round differently from processor to processor, and with oneDNN and without, so
hashes are recorded for each `rounding` of the model's own logits and gradients: for one
that is not there, nothing can be said.
"""

import hashlib
import json

import numpy as np
import pytest
import small_models
import tensorflow as tf

from tf_advdefense.attacks import ATTACKS
from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft

RECORDED = small_models.GOLDEN / "crafted_bytes.json"
COUNT, SHAPE, CLASSES = 16, (8, 8, 3), 5

BUDGETS = {
    "bim": {"nb_iter": 5},
    "pgd": {"nb_iter": 5, "rand_init": True, "nb_restarts": 2},
    "mim": {"nb_iter": 5, "eps": 0.05},
    "sparse_l1": {"nb_iter": 5, "rand_init": True, "eps": 2.0},
    "apgd_ce": {"n_iter": 12, "n_restarts": 2},
    "apgd_dlr": {"n_iter": 12},
    "apgd_t": {"n_iter": 8, "n_target_classes": 3},
    "autoattack": {"n_iter": 6, "n_queries": 30},
    "cw": {"max_iterations": 30, "binary_search_steps": 3, "learning_rate": 0.02},
    "ead": {"max_iterations": 30, "binary_search_steps": 3, "abort_early": True},
    "jsma": {"gamma": 0.3},
    "deepfool": {"max_iter": 10},
    "fab_t": {"n_iter": 8, "n_target_classes": 2},
    "fmn": {"steps": 25},
    "minimal_eps": {"search_steps": 5, "nb_iter": 5},
    "square": {"n_queries": 60},
    "spsa": {"nb_iter": 5, "spsa_samples": 16},
    "noise": {"n_draws": 15},
    "hop_skip_jump": {"num_iterations": 2, "initial_num_evals": 20},
}
EPS = {np.inf: 0.02, 2: 0.15, 1: 1.0}
LOSSES = {"pgd": ("margin", "dlr"), "minimal_eps": ("margin",)}
NORMS = {
    "fgsm": (np.inf, 2, 1),
    "bim": (np.inf, 2),
    "pgd": (np.inf, 2, 1),
    "mim": (np.inf, 2),
    "apgd_ce": (np.inf, 2, 1),
    "apgd_dlr": (np.inf, 2, 1),
    "apgd_t": (np.inf, 2, 1),
    "autoattack": (np.inf, 2, 1),
    "deepfool": (2, np.inf),
    "fab_t": (np.inf, 2, 1),
    "fmn": (2, np.inf, 1, 0),
    "minimal_eps": (np.inf, 2, 1),
    "square": (np.inf, 2, 1),
    "spsa": (np.inf, 2),
    "noise": (np.inf, 2, 1),
    "hop_skip_jump": (2, np.inf),
}


def combinations():
    """Name of each combination to the attack's name and hyperparameters."""
    found = {}
    for name in ATTACKS:
        for norm in NORMS.get(name, (None,)):
            hyper = dict(BUDGETS.get(name, {}))
            if norm is not None:
                hyper["norm"] = norm
            if "eps" in ATTACKS[name].defaults and "eps" not in hyper:
                hyper["eps"] = EPS[np.inf if norm is None else norm]
            found[name if norm is None else f"{name}-{norm}"] = name, hyper
        for loss in LOSSES.get(name, ()):
            found[f"{name}-{loss}"] = name, {**BUDGETS[name], "loss": loss}
    return found


def make_model():
    draw = np.random.default_rng(11)
    kernel = draw.normal(size=(3, 3, 3, 6)).astype(np.float32) / 3
    dense = draw.normal(size=(6 * 6 * 6, CLASSES)).astype(np.float32) / 4

    def model(images):
        features = tf.nn.relu(tf.nn.conv2d(2 * images - 1, kernel, 1, "VALID"))
        return tf.reshape(features, [-1, 6 * 6 * 6]) @ dense

    return model


def make_images():
    """Half in sixteenths of grey, with entries on the bounds, and half anything."""
    draw = np.random.default_rng(12)
    images = draw.random((COUNT, *SHAPE), np.float32)
    images[::2] = np.round(images[::2] * 16) / 16
    return images


MODEL, IMAGES = make_model(), make_images()
LABELS = np.argmax(MODEL(IMAGES), axis=1)


def digest(*arrays):
    joined = hashlib.sha256()
    for array in arrays:
        joined.update(np.ascontiguousarray(array))
    return joined.hexdigest()[:16]


def rounding():
    """What this processor makes of the model itself, and of a transcendental."""

    @tf.function
    def evaluate(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = MODEL(images)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, logits)
        return logits, tape.gradient(loss, images), tf.tanh(images)

    return digest(*evaluate(tf.constant(IMAGES)))


def crafted(name, hyper):
    """Hashes of a direct call, of the runner's images, and of the passes it took."""
    attack = make_attack(name, **hyper)
    index = np.arange(100, 100 + COUNT)
    direct = attack(MODEL, IMAGES, LABELS, seed=3, index=index)
    run = craft(MODEL, attack, IMAGES, LABELS, index, batch_size=COUNT, seed=3)
    passes = [int(run[key].sum()) for key in ("forwards", "backwards")]
    return [digest(direct), digest(run["image"]), *passes]


def record():
    results = {name: crafted(*each) for name, each in combinations().items()}
    content = recorded() | {rounding(): results}
    RECORDED.write_text(json.dumps(content, indent=1) + "\n")


def recorded():
    """The hashes of every combination, by the digest of the rounding they go with."""
    return json.loads(RECORDED.read_text())


def test_every_attack_and_norm_is_recorded():
    for known in recorded().values():
        assert known.keys() == combinations().keys()
    for name, attack in ATTACKS.items():
        norms = attack.norms
        assert len(norms) == 1 or set(norms) == set(NORMS[name])


@pytest.mark.parametrize("name", combinations())
def test_the_same_bytes_as_recorded(name):
    known = recorded().get(rounding())
    if known is None:
        pytest.skip("this processor rounds the model's own logits differently")
    assert crafted(*combinations()[name]) == known[name]


if __name__ == "__main__":
    record()
