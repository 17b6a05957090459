"""Makes hop_skip_jump.npz: where CleverHans' PyTorch HopSkipJump gets to, and when.

    python -m venv /tmp/torch_env
    /tmp/torch_env/bin/pip install torch==2.13.0 numpy==2.4.6
    /tmp/torch_env/bin/pip install --no-deps cleverhans==4.0.0
    /tmp/torch_env/bin/python tests/golden/make_hop_skip_jump.py

PyTorch is no dependency of the project, so its results are stored. The classifier,
`tanh(x @ w1 + b1) @ w2 + b2` on flattened images, has weights from NumPy's seeded
generator. So have the random numbers: `torch.randn` and `torch.rand` are replaced, and
every image gets those of `normal[t, i]` and `uniform[t, i]` for sample i of iteration t
from 1 on, and `uniform[0, i]` for its random start i. The file holds them, the weights,
images, targets and their starts, and per entry of SETTINGS the arguments, as JSON,
under `args_NAME`, and under `distances_NAME` the distance of each image after 0, 1, ...
iterations.

Two defects are repaired here, because nothing could be compared otherwise: the maximum
norm, whose `torch.min(tensor, number)` PyTorch refuses, and `image_target`, whose
images lose their batch axis.
"""

import json
import pathlib

from cleverhans.torch.attacks.hop_skip_jump_attack import hop_skip_jump_attack
import numpy as np
import torch

IMAGES, SHAPE, HIDDEN, CLASSES = 8, (4, 4, 3), 12, 4
ITERATIONS, NUM_EVALS = 6, 12
SETTINGS = {
    "l2": {"norm": 2},
    "l2_grid": {"norm": 2, "stepsize_search": "grid_search"},
    "l2_gamma": {"norm": 2, "gamma": 5.0},
    "inf": {"norm": "inf"},
    "inf_grid": {"norm": "inf", "stepsize_search": "grid_search"},
    "l2_targeted": {"norm": 2, "targeted": True},
    "inf_targeted": {"norm": "inf", "targeted": True},
}


def make_inputs():
    rng = np.random.default_rng(2019)
    size = int(np.prod(SHAPE))
    most = int(NUM_EVALS * np.sqrt(ITERATIONS))
    w1 = rng.normal(size=(size, HIDDEN)) / np.sqrt(size) * 3
    arrays = {
        "w1": w1,
        "b1": rng.normal(size=HIDDEN) / 4 - w1.sum(axis=0) / 2,  # grey is the middle
        "w2": rng.normal(size=(HIDDEN, CLASSES)),
        "b2": rng.normal(size=CLASSES) / 4,
        "images": rng.uniform(size=(IMAGES, *SHAPE)),
        "candidates": rng.uniform(size=(64, *SHAPE)),
        "normal": rng.normal(size=(ITERATIONS + 1, most, *SHAPE)),
        "uniform": rng.uniform(size=(ITERATIONS + 1, most, *SHAPE)),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def add_targets(arrays, model):
    """To each image, a random image of another class, and that class."""
    candidates = arrays.pop("candidates")
    own, found = (
        model(torch.from_numpy(images)).argmax(1).numpy()
        for images in (arrays["images"], candidates)
    )
    picks = [np.flatnonzero(found != label)[i % 8] for i, label in enumerate(own)]
    arrays["targets"] = found[picks]
    arrays["starts"] = candidates[picks]


class Draws:
    """Replaces `torch.randn` and `torch.rand` for the attack on one image."""

    def __init__(self, arrays):
        self.arrays, self.starts, self.iteration = arrays, 0, 0

    def randn(self, shape):
        return self.sample("normal", shape)

    def rand(self, shape):
        if shape[0] > 1:
            return self.sample("uniform", shape)
        self.starts += 1
        return torch.from_numpy(self.arrays["uniform"][0, self.starts - 1][None])

    def sample(self, name, shape):
        self.iteration += 1
        return torch.from_numpy(self.arrays[name][self.iteration, : shape[0]])


def repaired_min(tensor, other, original=torch.min):
    if isinstance(other, float):
        return torch.clamp(tensor, max=other)
    return original(tensor, other)


def attack(model, arrays, i, num_iterations, settings):
    """The distance of image i after so many iterations."""
    draws = Draws(arrays)
    torch.randn, torch.rand, torch.min = draws.randn, draws.rand, repaired_min
    norm = np.inf if settings["norm"] == "inf" else 2
    hyper = {k: settings[k] for k in ("gamma", "stepsize_search") if k in settings}
    if settings.get("targeted"):
        hyper["y_target"] = torch.from_numpy(arrays["targets"][i : i + 1])
        hyper["image_target"] = torch.from_numpy(arrays["starts"][i : i + 1])[None]
    image = torch.from_numpy(arrays["images"][i : i + 1])
    adv = hop_skip_jump_attack(
        model,
        image,
        norm,
        initial_num_evals=NUM_EVALS,
        num_iterations=num_iterations,
        constraint=norm,
        verbose=False,
        **hyper,
    )
    return np.linalg.norm((adv - image).numpy().astype(np.float64).ravel(), norm)


def main():
    arrays = make_inputs()
    weights = [torch.from_numpy(arrays[name]) for name in ("w1", "b1", "w2", "b2")]

    def model(images):
        w1, b1, w2, b2 = weights
        return torch.tanh(images.reshape(len(images), -1) @ w1 + b1) @ w2 + b2

    add_targets(arrays, model)
    for name, settings in SETTINGS.items():
        distances = [
            [attack(model, arrays, i, steps, settings) for i in range(IMAGES)]
            for steps in range(ITERATIONS + 1)
        ]
        arrays[f"distances_{name}"] = np.array(distances, np.float32)
        complete = {
            **settings,
            "initial_num_evals": NUM_EVALS,
            "num_iterations": ITERATIONS,
        }
        arrays[f"args_{name}"] = np.array(json.dumps(complete))
    np.savez_compressed(pathlib.Path(__file__).with_name("hop_skip_jump.npz"), **arrays)


if __name__ == "__main__":
    main()
