"""Makes apgd.npz: the points that the original Auto-PGD visits, in PyTorch.

    python -m venv /tmp/torch_env
    /tmp/torch_env/bin/pip install torch==2.13.0 numpy==2.4.6
    /tmp/torch_env/bin/pip install --no-deps pyautoattack==0.2.0
    /tmp/torch_env/bin/python tests/golden/make_apgd.py

pyautoattack is the authors' code as a package. The classifier,
`tanh(x @ w1 + b1) @ w2 + b2` on flattened images, has weights from NumPy's seeded
generator and computes in float64; the file holds the weights, images, labels, and per
entry of SETTINGS the arguments, as JSON, under `args_NAME`, the rows no point of which
fools the model (our attack stops at the first that does) under `rows_NAME`, and of them
every fourth of the 101 points, the random start first, and at the end the point of
highest loss under `points_NAME`.

The original's first checkpoint compares the first step's loss with a row of zeros that
its array of losses holds for the last step. Here it finds the start's loss there.
"""

import functools
import json
import pathlib

import numpy as np
from pyautoattack import autopgd_base
import torch

IMAGES, SHAPE, HIDDEN, CLASSES = 24, (3, 6, 6), 16, 5
EVERY = 4
SETTINGS = {
    "ce_inf": {"loss": "ce", "norm": "inf", "eps": 0.014},
    "dlr_inf": {"loss": "dlr", "norm": "inf", "eps": 0.014},
    "targeted_inf": {"loss": "targeted_dlr", "norm": "inf", "eps": 0.014},
    "ce_l2": {"loss": "ce", "norm": "2", "eps": 0.14},
    "targeted_l2": {"loss": "targeted_dlr", "norm": "2", "eps": 0.14},
    "ce_l1": {"loss": "ce", "norm": "1", "eps": 0.7},
    "dlr_l1": {"loss": "dlr", "norm": "1", "eps": 0.7},
}
NORMS = {"inf": "Linf", "2": "L2", "1": "L1"}


def make_inputs():
    rng = np.random.default_rng(2020)
    size = int(np.prod(SHAPE))
    arrays = {
        "w1": rng.normal(size=(size, HIDDEN)) / np.sqrt(size),
        "b1": rng.normal(size=HIDDEN) / 4,
        "w2": 2 * rng.normal(size=(HIDDEN, CLASSES)),
        "b2": rng.normal(size=CLASSES) / 4,
        "images": rng.uniform(size=(IMAGES, *SHAPE)),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


# Its sums, (x + eta) - eta, leave entries changed by rounding that were set back.
autopgd_base.L0_norm = lambda eta: (torch.abs(eta) > 1e-6).flatten(1).sum(dim=1)


def corrected(base):
    """The original class, but for what its first checkpoint takes for f(x_0)."""

    class Corrected(base):
        def check_oscillation(self, x, j, k, y5, k3=0.75):
            if j == k - 1:
                x = x.clone()
                x[-1] = self.first_loss()
            return super().check_oscillation(x, j, k, y5, k3)

    return Corrected


def make_attack(model, settings, labels, targets):
    """The attack, and the list of points that it fills."""
    targeted = settings["loss"] == "targeted_dlr"
    base = autopgd_base.APGDAttack_targeted if targeted else autopgd_base.APGDAttack
    points = []

    def recorded(images):
        points.append(images.detach().clone())
        return model(images)

    attack = corrected(base)(
        recorded,
        n_iter=100,
        norm=NORMS[settings["norm"]],
        eps=settings["eps"],
        device="cpu",
        **({} if targeted else {"loss": settings["loss"]}),
    )
    attack.y_target = targets if targeted else None
    losses = {
        "ce": functools.partial(torch.nn.functional.cross_entropy, reduction="none"),
        "dlr": attack.dlr_loss,
        "targeted_dlr": getattr(attack, "dlr_loss_targeted", None),
    }
    attack.loss_of = lambda point: losses[settings["loss"]](model(point), labels)
    attack.first_loss = lambda: attack.loss_of(points[0])
    return attack, points


def is_tied(points, losses):
    """Rows with a loss that is another point's, or the last one's, but for rounding."""
    tied = torch.zeros(len(losses[0]), dtype=torch.bool)
    best, highest = points[0], losses[0]
    for i in range(1, len(points)):
        for point, loss in ((points[i - 1], losses[i - 1]), (best, highest)):
            near = torch.abs(losses[i] - loss) < 3e-7 * torch.abs(loss)
            tied |= near & (torch.abs(points[i] - point).amax(dim=(1, 2, 3)) > 1e-4)
        better = losses[i] > highest
        best = torch.where(better[:, None, None, None], points[i], best)
        highest = torch.maximum(highest, losses[i])
    return tied


def main():
    arrays = make_inputs()
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    weights = {name: tensors[name].double() for name in ("w1", "b1", "w2", "b2")}

    def model(images):
        # Channels last, as our images are.
        flat = images.permute(0, 2, 3, 1).reshape(len(images), -1).double()
        hidden = torch.tanh(flat @ weights["w1"] + weights["b1"])
        return (hidden @ weights["w2"] + weights["b2"]).float()

    images = tensors["images"]
    ranked = model(images).argsort(dim=1, descending=True)
    labels, targets = ranked[:, 0], ranked[:, 1]
    for name, settings in SETTINGS.items():
        attack, points = make_attack(model, settings, labels, targets)
        attack.init_hyperparam(images)
        torch.manual_seed(2020)
        best = attack.attack_single_run(images, labels)[0]
        fools = torch.stack([model(point).argmax(dim=1) != labels for point in points])
        unclear = is_tied(points, [attack.loss_of(point) for point in points])
        rows = torch.nonzero(~torch.any(fools, dim=0) & ~unclear)[:, 0]
        kept = torch.stack([*points[::EVERY], best])[:, rows]
        arrays[f"rows_{name}"] = rows.numpy()
        arrays[f"points_{name}"] = kept.permute(0, 1, 3, 4, 2).numpy()
        arrays[f"args_{name}"] = np.array(json.dumps(settings))
        print(name, len(points), "points of", len(rows), "rows")
    arrays["images"] = arrays["images"].transpose(0, 2, 3, 1)
    arrays |= {"labels": labels.numpy(), "targets": targets.numpy()}
    np.savez_compressed(pathlib.Path(__file__).with_name("apgd.npz"), **arrays)


if __name__ == "__main__":
    main()
