"""Makes autoattack.json: the robust accuracy that torchattacks' AutoAttack leaves.

    python -m venv /tmp/torch_env
    /tmp/torch_env/bin/pip install torch==2.13.0 keras==3.15.0 torchattacks==3.5.1
    TFDS_DATA_DIR=... .venv/bin/python -c "import numpy as np
    from tf_advdefense import datasets
    test = datasets.load('cifar10', None, None).split('test').take(256)
    np.savez('/tmp/images.npz', images=test.images, labels=test.labels)"
    KERAS_BACKEND=torch /tmp/torch_env/bin/python tests/golden/make_autoattack.py \\
        --model=MODEL.keras --images=/tmp/images.npz

The parts are the original's standard version for Linf: 100 iterations for APGD-CE,
APGD-T and FAB-T, nine targets, 5000 queries for Square with the schedule of p as it is
(`resc_schedule=False`); torchattacks' own AutoAttack takes 10 iterations and rescales
that schedule. The file names the model by its SHA-256 and holds, per eps,

    clean     images the model gets right
    sequence  the robust images' number after each part, on those still robust before it
    robust    their positions after the last part

and is written anew after every part, because the whole run takes hours on one core; a
part that the file holds already is not run again, so that the script can be stopped and
continued.
"""

import argparse
import hashlib
import json
import pathlib
import time

import keras
import numpy as np
import torch
import torchattacks

EPS = {"1/255": 1 / 255, "0.5/255": 0.5 / 255}
FILE = pathlib.Path(__file__).with_name("autoattack.json")


class ChannelsFirst(torch.nn.Module):
    """A Keras model on PyTorch, for images `[batch, channels, height, width]`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images.permute(0, 2, 3, 1), training=False)


def make_attacks(model, eps):
    common = {"model": model, "norm": "Linf", "eps": eps, "seed": 0}
    iterations = {"steps": 100, "n_restarts": 1}
    square = {"n_queries": 5000, "resc_schedule": False}
    return {
        "apgd_ce": torchattacks.APGD(**common, **iterations, loss="ce"),
        "apgd_t": torchattacks.APGDT(**common, **iterations),
        "fab_t": torchattacks.FAB(**common, **iterations, multi_targeted=True),
        "square": torchattacks.Square(**common, **square),
    }


def still_robust(model, attack, images, labels, rows, eps):
    """Those of `rows` that the attack does not fool."""
    kept = []
    for part in torch.split(rows, 128):
        adv = attack(images[part], labels[part])
        # An image plus its perturbation is rounded, to 6e-8 next to 1.
        assert torch.max(torch.abs(adv - images[part])) <= eps + 1e-6
        with torch.no_grad():
            kept.append(part[model(adv).argmax(dim=1) == labels[part]])
    return torch.cat(kept) if kept else rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", required=True)
    arguments = parser.parse_args()
    digest = hashlib.sha256(pathlib.Path(arguments.model).read_bytes()).hexdigest()
    model = ChannelsFirst(keras.models.load_model(arguments.model)).eval()
    with np.load(arguments.images, allow_pickle=False) as arrays:
        images = torch.from_numpy(arrays["images"].astype(np.float32) / 255)
        labels = torch.from_numpy(arrays["labels"].astype(np.int64))
    images = images.permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        clean = torch.nonzero(model(images).argmax(dim=1) == labels)[:, 0]
    results = {"model_sha256": digest, "images": len(images)}
    if FILE.exists():
        stored = json.loads(FILE.read_text())
        assert stored.items() >= results.items(), "made with other inputs: remove it"
        results = stored

    for text, eps in EPS.items():
        result = results.setdefault(text, {"clean": len(clean)})
        rows = torch.tensor(result.get("robust", clean.tolist()))
        for name, attack in make_attacks(model, eps).items():
            if name in result.setdefault("sequence", {}):
                continue
            rows = still_robust(model, attack, images, labels, rows, eps)
            result["robust"], result["sequence"][name] = rows.tolist(), len(rows)
            FILE.write_text(json.dumps(results, indent=1) + "\n")
            print(time.strftime("%H:%M:%S"), text, name, len(rows), flush=True)


if __name__ == "__main__":
    main()
