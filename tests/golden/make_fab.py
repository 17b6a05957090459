"""Makes fab.npz: what torchattacks' targeted FAB finds, target by target.

    python -m venv /tmp/torch_env
    /tmp/torch_env/bin/pip install torch==2.13.0 numpy==2.4.6 torchattacks==3.5.1
    /tmp/torch_env/bin/python tests/golden/make_fab.py

PyTorch is no dependency of the project, so its results are stored. The classifier,
`tanh(x @ w1 + b1) @ w2 + b2` on flattened images, has weights from NumPy's seeded
generator; the labels are its predictions. The file holds the weights, images and
labels, and per norm the adversarial images for the second, third, ... likeliest class
under `adv_NORM`, `[targets, n, ...]`, with their distances under `distance_NORM`.
"""

import pathlib

import numpy as np
import torch
import torchattacks

IMAGES, SHAPE, HIDDEN, CLASSES = 8, (6, 6, 3), 16, 5
SETTINGS = {"steps": 30, "alpha_max": 0.1, "eta": 1.05, "beta": 0.9}
ORDERS = {"Linf": np.inf, "L2": 2, "L1": 1}


def make_inputs():
    rng = np.random.default_rng(2020)
    size = int(np.prod(SHAPE))
    arrays = {
        "w1": rng.normal(size=(size, HIDDEN)) / np.sqrt(size),
        "b1": rng.normal(size=HIDDEN) / 4,
        "w2": rng.normal(size=(HIDDEN, CLASSES)),
        "b2": rng.normal(size=CLASSES) / 4,
        "images": rng.uniform(size=(IMAGES, *SHAPE)),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


class Classifier(torch.nn.Module):
    def __init__(self, arrays):
        super().__init__()
        for name in ("w1", "b1", "w2", "b2"):
            self.register_parameter(
                name, torch.nn.Parameter(torch.from_numpy(arrays[name]))
            )

    def forward(self, images):
        flat = images.reshape(len(images), -1)
        return torch.tanh(flat @ self.w1 + self.b1) @ self.w2 + self.b2


def main():
    arrays = make_inputs()
    model = Classifier(arrays).eval()
    images = torch.from_numpy(arrays["images"])
    labels = model(images).argmax(1)
    arrays["labels"] = labels.numpy()
    for norm, order in ORDERS.items():
        attack = torchattacks.FAB(
            model, norm=norm, multi_targeted=True, n_classes=CLASSES, **SETTINGS
        )
        adv = []
        for rank in range(2, CLASSES + 1):
            attack.target_class = rank
            adv.append(attack.attack_single_run_targeted(images, labels).numpy())
        adv = np.stack(adv)
        eta = (adv - arrays["images"]).reshape(CLASSES - 1, IMAGES, -1)
        arrays[f"adv_{norm}"] = adv
        arrays[f"distance_{norm}"] = np.linalg.norm(eta, order, axis=2)
        print(norm, arrays[f"distance_{norm}"].round(4).tolist())
    np.savez_compressed(pathlib.Path(__file__).with_name("fab.npz"), **arrays)


if __name__ == "__main__":
    main()
