"""Killed at any moment, and again: the outcome is that of an undisturbed run."""

import random
import shutil
import signal
import subprocess
import time

import binaries
from faults import campaign
import pytest

CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
EPOCHS = ["--epochs=12", "--train_examples=512", "--batch_size=16", "--name=killed"]
# Of 32 steps an epoch: three checkpoints within it.
TRAIN = ["train", *campaign.TRAIN, *EPOCHS, "--checkpoint_steps=10"]
CW = "--attack_args=max_iterations=40,binary_search_steps=3"
CRAFT = ["make_adv", "--dataset=digits", "--batch_size=8", "--run=a", "--attack=cw", CW]
CRAFT += ["--num_examples=64", "--name=killed"]
REPORT = ["report", *campaign.REPORT[:2], "--runs=a", "--adv_data="]
REPORT += ["--attacks=fgsm,pgd,cw,deepfool,square", "--eps=0.05,0.1"]
REPORT += ["--num_examples=32", "--num_costly=32"]

# The command, where its work begins to show, and what counts of its outcome.
WORK = {
    "train": (
        [*TRAIN, "--resume"],
        "runs/killed/checkpoints/state.npz",
        lambda outputs: campaign.weights(outputs, "killed"),
    ),
    "make_adv": (
        [*CRAFT, "--resume"],
        "adv/killed/request.json",
        lambda outputs: campaign.set_files(outputs, "killed"),
    ),
    "report": (REPORT, "measurements", campaign.numbers),
}


def start(command):
    """A process that Ctrl-C interrupts, whoever started the tests."""
    return subprocess.Popen(
        ["env", "--default-signal=INT", *binaries.command(*command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(command, there, draw):
    """Kills a command at a moment of its work; the signal, or None if it was over."""
    before = there.stat().st_mtime_ns if there.exists() else None
    with start(command) as process:
        while process.poll() is None:
            if there.exists() and there.stat().st_mtime_ns != before:
                break
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        number = draw.choice(list(CODES))
        process.send_signal(number)
        said = process.communicate()[1]
    if process.returncode == 0:
        return None
    assert process.returncode == CODES[number], (number, process.returncode, said)
    if number != signal.SIGKILL:
        assert "Interrupted. Continue with: bin/" in said.splitlines()[-1], said
        assert "Traceback" not in said
    return signal.Signals(number).name


# In the sample the README's path kills a training and a set (`tests/conftest.py`).
@campaign.only_whole
@pytest.mark.parametrize("name", WORK)
def test_kills(name, base, tmp_path):
    command, shows, outcome = WORK[name]
    whole = shutil.copytree(base, tmp_path / "whole")
    done = binaries.run(*command, f"--output_dir={whole}")
    assert done.returncode == 0, done.stderr
    draw, kills = random.Random(name), 0
    wanted, trial = len(campaign.trials(1, 50)), 0
    while kills < wanted:
        trial += 1
        assert trial <= 3 * wanted, "It is over before it can be killed."
        outputs = shutil.copytree(base, tmp_path / f"{trial}")
        there = f"--output_dir={outputs}"
        for _ in range(draw.randint(1, 3)):
            number = kill([*command, there], outputs / shows, draw)
            if number is None:
                break
            kills += 1
            campaign.count(f"killed {name}", number)
        done = binaries.run(*command, there)
        assert done.returncode == 0, done.stderr
        assert outcome(outputs) == outcome(whole)
        assert not list(outputs.rglob(".tmp-*"))
        shutil.rmtree(outputs)
