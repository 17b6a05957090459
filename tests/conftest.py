"""The README's path on `digits`, run once with tiny models for all who need it."""

import collections
import fcntl
import gc
import json
import os
import pathlib
import signal
import subprocess
import time

import binaries
import keras
import pytest

# Four layers of a few thousand weights; the batches fix where shards are cut.
COMMON = ["--dataset=digits", "--batch_size=16"]
TRAINING = [
    "--model=small_cnn",
    "--model_args=width=4",
    "--epochs=8",
    "--train_examples=320",
]
CW = [
    "--attack=cw",
    "--attack_args=max_iterations=20,binary_search_steps=2",
    "--num_examples=64",
]
FGSM = ["--attack=fgsm", "--eps=0.1", "--num_examples=64"]
REPORT = ["--attacks=fgsm", "--eps=0.05,0.1", "--num_examples=32"]

Path = collections.namedtuple("Path", "outputs common elsewhere results")


@pytest.fixture(scope="module", autouse=True)
def young_garbage():
    """Garbage is looked for in what the file itself makes.

    Imported modules stay, and so do most traces of the files before: to look through
    millions of objects takes seconds each time, of which there are hundreds.
    """
    gc.collect()
    gc.freeze()


def kill_when(process, there, kill):
    """Send a signal as soon as `there()`; returns (exit code, stderr)."""
    while not there():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(kill)
    _, err = process.communicate()
    return process.returncode, err


def start(binary, *flags):
    # Whoever runs the tests in the background ignores SIGINT, which is inherited.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            binaries.command(binary, *flags),
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    finally:
        signal.signal(signal.SIGINT, former)


def save_other_model(path):
    """A user's own model: another architecture, hardly trained."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.AveragePooling2D(4),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    model.save(path)
    return path


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory):
    """The file of a user's own model, for which nobody waits."""
    return save_other_model(tmp_path_factory.mktemp("elsewhere") / "elsewhere.keras")


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    """The finished outputs, and each command's result by name."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # made once for all processes of the test run
    stored = root / "path.json"
    with open(root / "path.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stored.exists():
            made = make_path(root / "path")
            kept = {
                name: vars(result)
                for name, result in made.results.items()
                if isinstance(result, subprocess.CompletedProcess)
            }
            others = {
                name: result
                for name, result in made.results.items()
                if name not in kept
            }
            stored.write_text(
                json.dumps(
                    [
                        *map(str, (made.outputs, made.elsewhere)),
                        made.common,
                        kept,
                        others,
                    ]
                )
            )
    outputs, elsewhere, common, kept, others = json.loads(stored.read_text())
    results = {
        name: subprocess.CompletedProcess(**result) for name, result in kept.items()
    }
    results |= {name: tuple(result) for name, result in others.items()}
    return Path(pathlib.Path(outputs), common, pathlib.Path(elsewhere), results)


def make_path(root):
    root.mkdir()
    outputs = root / "outputs"
    common = [*COMMON, f"--output_dir={outputs}"]
    elsewhere = save_other_model(root / "elsewhere.keras")
    results = {}

    def each(binary, **lines):
        flags = [[*common, *line] for line in lines.values()]
        results.update(zip(lines, binaries.run_each(binary, flags)))

    results["train"] = binaries.run("train", *common, *TRAINING)
    saved_model = outputs / "runs" / "small_cnn" / "saved_model"

    results["killed"] = kill_when(
        start("make_adv", *common, *CW, "--run=small_cnn", "--name=killed"),
        lambda: any(outputs.glob("adv/killed/killed-*-00000-of-*")),
        signal.SIGKILL,
    )
    results["interrupted"] = kill_when(
        start("train", *common, *TRAINING, "--name=interrupted"),
        (outputs / "runs" / "interrupted" / "checkpoints" / "state.npz").exists,
        signal.SIGINT,
    )

    own = ["--run=small_cnn"]
    each(
        "make_adv",
        fgsm=[*own, "--attack=fgsm", "--eps=0.05,0.1", "--num_examples=64"],
        cw=[*own, *CW],
        sparse_l1=[*own, "--attack=sparse_l1", "--num_examples=40"],
        own_train=[*own, *FGSM, "--split=train"],
        other_train=[f"--model_path={elsewhere}", *FGSM, "--split=train"],
        from_saved_model=[f"--model_path={saved_model}", *FGSM],
        targeted=[*own, *FGSM, "--targeted", "--target=3"],
        rounded=[*own, *FGSM, "--eps=0.001", "--store=uint8", "--name=rounded"],
        killed_resumed=[*own, *CW, "--name=killed", "--resume"],
        first_half=[*own, *CW, "--name=halves", "--shard=0/2"],
        second_half=[*own, *CW, "--name=halves", "--shard=1/2"],
        cw_again=[*own, *CW],
    )

    defended = [*TRAINING, "--epochs=2"]
    each(
        "train",
        interrupted_resumed=[*TRAINING, "--name=interrupted", "--resume"],
        adversarial=[
            *defended,
            "--defense=adversarial",
            "--adv_data=small_cnn-fgsm-eps0.1-train",
        ],
        ensemble=[
            *defended,
            "--defense=ensemble",
            "--adv_data=elsewhere-fgsm-eps0.1-train",
        ],
        train_again=TRAINING,
    )
    results["report"] = binaries.run("report", *common, *REPORT)
    alone = ["--runs=", "--attacks=fgsm", "--eps=0.1", "--num_examples=64"]
    each(
        "report",
        report_again=REPORT,
        report_elsewhere=[
            *alone,
            f"--model_path={elsewhere}",
            f"--report_dir={outputs}/elsewhere",
        ],
        report_saved_model=[
            *alone,
            f"--model_path={saved_model}",
            f"--report_dir={outputs}/saved",
        ],
    )
    # Without --dataset, which the runs know.
    results["report_threats"] = binaries.run(
        "report",
        f"--output_dir={outputs}",
        *("--runs=small_cnn-*", "--adv_data=", "--num_examples=32", "--latex"),
        *("--threat=Linf:0.1,L2:0.5", "--attacks=bim", "--attack_args=nb_iter=2"),
        f"--report_dir={outputs}/threats",
    )
    crafting = [*defended, f"--output_dir={root}/crafting"]
    trained = outputs / "runs" / "small_cnn" / "model.keras"
    each(
        "train",
        ensemble_at=[
            *crafting,
            "--defense=ensemble_at",
            f"--sources={trained},{elsewhere}",
        ],
        distillation=[*crafting, "--defense=distillation", f"--teacher={trained}"],
        bit_depth=[*crafting, "--transforms=bit_depth:bits=1"],
    )
    results["report_crafting"] = binaries.run(
        "report", *common, *REPORT, "--eps=0.1", f"--output_dir={root}/crafting"
    )
    results["export"] = binaries.run(
        "export", f"--output_dir={outputs}", "--run=small_cnn-ensemble"
    )
    return Path(outputs, common, elsewhere, results)
