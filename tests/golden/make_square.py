"""Makes square.npz: how many images torchattacks' Square leaves robust.

    python -m venv /tmp/torch_env
    /tmp/torch_env/bin/pip install torch==2.13.0 numpy==2.4.6
    /tmp/torch_env/bin/pip install --no-deps torchattacks==3.5.1
    /tmp/torch_env/bin/python tests/golden/make_square.py

PyTorch is no dependency of the project, so its results are stored. The classifier,
`tanh(x @ w1 + b1) @ w2 + b2` on flattened images, is trained on noisy prototypes; the
file holds its weights, 8-bit images that it gets right, their labels, and per entry of
SETTINGS the arguments, as JSON, under `args_NAME` and the robust images' numbers, one
per seed, under `robust_NAME`. The original shares its draws within a batch, so that
only these numbers can be compared. Windows may reach the last row and column here, as
they do in the project.
"""

import json
import pathlib

import numpy as np
import torch
import torchattacks

IMAGES, SHAPE, HIDDEN, CLASSES, SEEDS = 100, (15, 15, 3), 32, 5, 12
SETTINGS = {
    "linf": {"norm": "Linf", "eps": 0.12, "n_queries": 150},
    "linf_rescaled": {"norm": "Linf", "eps": 0.2, "n_queries": 60},
    "linf_restarts": {"norm": "Linf", "eps": 0.14, "n_queries": 40, "n_restarts": 3},
    "l2": {"norm": "L2", "eps": 4.8, "n_queries": 150},
    "l2_small_windows": {"norm": "L2", "eps": 6.0, "n_queries": 80, "p_init": 0.3},
}
RESCALED = ("linf_rescaled",)


class Square(torchattacks.Square):
    """The original, but positions are drawn with the upper end included."""

    def random_int(self, low=0, high=1, shape=(1,)):
        return super().random_int(low, high + 1, shape)


def make_images(count, rng):
    blocks = np.random.default_rng(1).uniform(0.3, 0.7, (CLASSES, 3, 3, SHAPE[2]))
    prototypes = blocks.repeat(5, axis=1).repeat(5, axis=2)
    labels = rng.integers(CLASSES, size=count)
    images = prototypes[labels] + rng.normal(0, 0.15, (count, *SHAPE))
    return np.uint8(np.round(255 * np.clip(images, 0, 1))), labels


def train(images, labels):
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(int(np.prod(SHAPE)), HIDDEN),
        torch.nn.Tanh(),
        torch.nn.Linear(HIDDEN, CLASSES),
    )
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, weight_decay=1e-3)
    x, y = torch.from_numpy(images).flatten(1) / 255, torch.from_numpy(labels)
    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network


def main():
    rng = np.random.default_rng(2020)
    network = train(*make_images(2000, rng)).requires_grad_(False)
    # PyTorch's images have channels first, the project's have them last.
    model = lambda images: network(images.permute(0, 2, 3, 1).flatten(1))
    images, labels = make_images(4 * IMAGES, rng)
    x = torch.from_numpy(images / np.float32(255)).permute(0, 3, 1, 2).contiguous()
    y = torch.from_numpy(labels)
    right = np.flatnonzero((model(x).argmax(1) == y).numpy())[:IMAGES]
    x, y = x[right], y[right]
    arrays = {"images": images[right], "labels": labels[right]}
    for number, layer in ((1, network[0]), (2, network[2])):
        arrays[f"w{number}"] = layer.weight.numpy().T
        arrays[f"b{number}"] = layer.bias.numpy()
    for name, settings in SETTINGS.items():
        settings = {**settings, "resc_schedule": name in RESCALED}
        robust = []
        for seed in range(SEEDS):
            # `torchattacks` wants a module that says where it is and how it was.
            attack = Square(Module(model), seed=seed, **settings)
            robust.append(int((model(attack(x, y)).argmax(1) == y).sum()))
        arrays[f"args_{name}"] = np.array(json.dumps(settings))
        arrays[f"robust_{name}"] = np.array(robust)
        print(name, robust)
    np.savez_compressed(pathlib.Path(__file__).with_name("square.npz"), **arrays)


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return self.function(images)


if __name__ == "__main__":
    main()
