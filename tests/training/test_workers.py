"""Two workers on this machine against one process with the same batches."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import binaries
from faults import campaign
import keras
import numpy as np
import pytest

from tf_advdefense import distribution
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import adversarial_shards
from tf_advdefense.artifacts import claims
from tf_advdefense.datasets import load_dataset
from tf_advdefense.images import NORMS
from tf_advdefense.images import as_float

DEFENSES = {
    "none": {},
    "pgd_at": {"defense_args": {"nb_iter": 2}},
    # Near its start the divergence is flat, and rounding decides about signs of its
    # gradient. A small ball and four updates keep them from deciding about the weights:
    # after six in the usual ball two devices of one process are 8e-4 from one.
    "trades": {"defense_args": {"nb_iter": 2, "eps": 0.004, "eps_iter": 0.002}},
    "ensemble": {"adv_data": ["other-train"]},
}
TRAIN = """
import hashlib, json, sys
outputs, distribute, names = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
from tf_advdefense import distribution
distribution.set_up(distribute=distribute)
from tf_advdefense import datasets
from tf_advdefense.training import run
fit, seen = run._Task._fit, {}

def watched(task, resume):
    history = fit(task, resume)
    weights = b"".join(w.tobytes() for w in task.trainer.classifier.get_weights())
    seen[task.name] = hashlib.sha256(weights).hexdigest(), history
    return history

run._Task._fit = watched
data = datasets.load("digits")
for name, given in names.items():
    run.train_run(
        "small_cnn", name, data, output_dir=outputs, name=name, model_args={"width": 4},
        batch_size=16, train_examples=32, epochs=2, distribute=distribute,
        optimizer="momentum", learning_rate=0.005, **given)
print(json.dumps(seen))
"""
KILLED = [*campaign.TRAIN, "--epochs=12", "--name=k", "--distribute=multi_worker"]


def two_ports():
    with (
        socket.create_server(("localhost", 0)) as one,
        socket.create_server(("localhost", 0)) as other,
    ):
        return [each.getsockname()[1] for each in (one, other)]


def start(command, **environment):
    return subprocess.Popen(
        command,
        env={**os.environ, "TF_NUM_INTRAOP_THREADS": "1", **environment},
        cwd=pathlib.Path(__file__).parents[2],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def start_two(command):
    """Workers that know of each other."""
    cluster = {"worker": [f"localhost:{port}" for port in two_ports()]}
    tasks = [{"type": "worker", "index": index} for index in range(2)]
    known = [json.dumps({"cluster": cluster, "task": task}) for task in tasks]
    return [start(command, TF_CONFIG=each) for each in known]


def end(processes):
    """Their standard outputs."""
    found = [process.communicate(timeout=300) for process in processes]
    for process, (_, said) in zip(processes, found):
        assert process.returncode == 0, said[-2000:]
    return [out for out, _ in found]


def make_set(outputs):
    """A set for the ensemble: noise on training images, said to be of another model."""
    data = load_dataset("digits")
    some = data.train.take(64)
    noise = np.random.default_rng(0).normal(0, 0.1, some.images.shape)
    images = np.clip(as_float(some.images) + noise, 0, 1).astype(np.float32)
    request = {
        **dict.fromkeys(("source", "source_model"), "other"),
        "source_sha256": "0" * 64,
        "attack": "noise",
        "params": {},
        "split": "train",
        "dataset": data.name,
        "dataset_fingerprint": data.fingerprint,
    }
    directory = adversarial_sets.set_directory(outputs, "other-train")
    claims.claim(directory, request)
    examples = {"image": images, "clean_index": some.index}
    examples |= dict.fromkeys(adversarial_shards.CLASSES, some.labels)
    examples |= dict.fromkeys(NORMS, np.zeros(64, np.float32))
    adversarial_shards.write_shard(directory, "other-train", "train", 0, 1, examples)
    adversarial_shards.finish_set(
        *(directory, "other-train", "train", 1, data.class_names, data.image_shape),
        *("float32", {}),
    )


# Of `ensemble` examples are on disk; of `trades` the attack draws by position.
GROUPS = [["ensemble"], ["trades", "none", "pgd_at"]]


@pytest.fixture(
    scope="module",
    params=GROUPS[:1] + [pytest.param(GROUPS[1], marks=pytest.mark.real)],
    ids="+".join,
)
def trained(request, tmp_path_factory):
    """What is trained, outputs of one process and of two workers, what these say."""
    outputs = {}
    for distribute in ("none", "multi_worker"):
        outputs[distribute] = tmp_path_factory.mktemp(distribute)
        make_set(outputs[distribute])

    def command(distribute):
        wanted = {name: DEFENSES[name] for name in request.param}
        given = str(outputs[distribute]), distribute, json.dumps(wanted)
        return [sys.executable, "-c", TRAIN, *given]

    end([start(command("none"))])
    workers = end(start_two(command("multi_worker")))
    said = [json.loads(each.splitlines()[-1]) for each in workers]
    return request.param, outputs, said


@pytest.mark.slow
def test_workers_end_with_the_same_weights(trained):
    names, _, said = trained
    for name in names:
        (first, history), (second, other) = (worker[name] for worker in said)
        assert first == second
        assert [row["loss"] for row in history] == [row["loss"] for row in other]


@pytest.mark.slow
def test_workers_train_as_one_process(trained):
    """By plain momentum: Adam divides what is rounded differently by its own size."""
    names, outputs, _ = trained
    for name in names:
        files = [each / "runs" / name / "model.keras" for each in outputs.values()]
        models = [keras.models.load_model(file, compile=False) for file in files]
        for one, other in zip(*(m.get_weights() for m in models), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
        configs = [campaign.config(each, name) for each in outputs.values()]
        alone, together = (config["test_accuracy"] for config in configs)
        assert alone == pytest.approx(together)


def test_one_worker_writes(trained):
    names, outputs, _ = trained
    for name in names:
        held = {p.name for p in (outputs["multi_worker"] / "runs" / name).iterdir()}
        assert "config.json" in held and not any(n.startswith(".") for n in held)


@pytest.mark.real
def test_a_killed_worker_ends_all_and_resuming_goes_on(tmp_path):
    def command(outputs, *more):
        return binaries.command("train", *KILLED, f"--output_dir={outputs}", *more)

    whole, outputs = tmp_path / "whole", tmp_path / "killed"
    end(start_two(command(whole)))
    workers = start_two(command(outputs))
    state = outputs / "runs" / "k" / "checkpoints" / "state.npz"
    while not state.exists():
        assert workers[0].poll() is None, workers[0].communicate()
        time.sleep(0.05)
    workers[1].kill()
    said = workers[0].communicate(timeout=300)[1]
    workers[1].communicate()
    assert workers[0].returncode == 2
    assert "All workers must stay" in said.splitlines()[-1]
    assert "--resume" in said.splitlines()[-1] and "Traceback" not in said
    end(start_two(command(outputs, "--resume")))
    assert campaign.weights(outputs, "k") == campaign.weights(whole, "k")


def test_workers_must_be_known(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="`distribute=multi_worker`.*TF_CONFIG"):
        distribution.set_up(distribute="multi_worker")
    assert distribution.is_chief() and distribution.agreed(3) == 3
