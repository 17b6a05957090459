"""Makes sparse_l1.npz: what CleverHans' PyTorch sparse L1 descent returns.

    python -m venv /tmp/torch_env
    /tmp/torch_env/bin/pip install torch==2.13.0 numpy==2.4.6
    /tmp/torch_env/bin/pip install --no-deps cleverhans==4.0.0
    /tmp/torch_env/bin/python tests/golden/make_sparse_l1.py

PyTorch is no dependency of the project, so its results are stored. The classifier,
`tanh(x @ w1 + b1) @ w2 + b2` on flattened images, has weights from NumPy's seeded
generator; the file holds the weights, images, labels and targets, and per entry of
SETTINGS the adversarial images under `adv_NAME` and the arguments, as JSON, under
`args_NAME`. There is no setting with `rand_init`: with bounds, PyTorch's version
discards its start, one of the defects that the project repairs.
"""

import json
import pathlib

from cleverhans.torch.attacks.sparse_l1_descent import sparse_l1_descent
import numpy as np
import torch

IMAGES, SHAPE, HIDDEN, CLASSES = 6, (6, 6, 3), 16, 5
BOUNDS = {"clip_min": 0.0, "clip_max": 1.0}
SETTINGS = {
    "default": {},
    "small_ball": {"eps": 2.0, "eps_iter": 0.5, "nb_iter": 12, "grad_sparsity": 90},
    "clip_grad": {"eps": 6.0, "clip_grad": True, "grad_sparsity": 80.5},
    "vector": {"eps": 3.0, "grad_sparsity": [50.0, 60.0, 70.0, 80.0, 90.0, 99.0]},
    "targeted": {"eps": 5.0, "targeted": True, "grad_sparsity": 95},
}


def make_inputs():
    rng = np.random.default_rng(2019)
    size = int(np.prod(SHAPE))
    arrays = {
        "w1": rng.normal(size=(size, HIDDEN)) / np.sqrt(size),
        "b1": rng.normal(size=HIDDEN) / 4,
        "w2": rng.normal(size=(HIDDEN, CLASSES)),
        "b2": rng.normal(size=CLASSES) / 4,
        "images": rng.uniform(size=(IMAGES, *SHAPE)),
    }
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    labels = rng.integers(CLASSES, size=IMAGES)
    return arrays | {"labels": labels, "targets": (labels + 1) % CLASSES}


def main():
    arrays = make_inputs()
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def model(images):
        flat = images.reshape(len(images), -1)
        hidden = torch.tanh(flat @ tensors["w1"] + tensors["b1"])
        return hidden @ tensors["w2"] + tensors["b2"]

    for name, settings in SETTINGS.items():
        y = tensors["targets" if settings.get("targeted") else "labels"]
        adv = sparse_l1_descent(model, tensors["images"], y=y, **BOUNDS, **settings)
        arrays[f"adv_{name}"] = adv.numpy()
        arrays[f"args_{name}"] = np.array(json.dumps(settings))
    np.savez_compressed(pathlib.Path(__file__).with_name("sparse_l1.npz"), **arrays)


if __name__ == "__main__":
    main()
