"""Random flags: a line or success, never a traceback, a hang or a half-written file.

What takes time and is none of the flags' business is left out: a training has one epoch
of 32 images, and attacks are of 8, unless chance takes these flags away.
"""

import importlib
import random
import shutil
import signal

from absl import flags
import binaries
from faults import campaign
import pytest

from tf_advdefense.artifacts import files

_SECONDS = 10
_ODD = [
    *("", " ", "0", "-1", "1", "2", "7", "nan", "inf", "1e400", "-0.0", "1e999999999"),
    *("8/255", "8/0", "1/3/5", "0x10", "1_0", "\u221e", "\u0663", "None", "True", "1j"),
    *(
        "a",
        "A,B",
        ",",
        "=",
        "a=",
        "=1",
        "a=1",
        "a=1,a=2",
        "eps=0.1",
        "eps={}",
        "eps=[]",
    ),
    *("nb_iter=1", "nb_iter=0", "norm=2", "norm=[]", "loss=ce", "x" * 300, "/", "."),
    *("..", "../x", "/proc/x", "/dev/null", "/etc/passwd", "a b", "a\nb", "\x1b[31m"),
    *("{}", "[]", "()", "lambda: 0", "__import__('os')", "%s", "$HOME", "*", "?", "~"),
    *(
        str(10**22),
        str(2**31),
        str(2**63),
        "\U0001f600",
        "zoo:",
        "zoo:x",
        "keras:",
        ":",
    ),
]
_NAMES = {
    "model": ["small_cnn", "alexnet", "small_resnet"],
    "model_args": ["width=4", "width=0", "depth=2", "activation=silu"],
    "defense": ["none", "pgd_at", "fast_at", "mart", "adversarial", "ensemble_at"],
    "attack": ["fgsm", "pgd", "noise"],
    "attacks": ["fgsm", "fgsm,noise", "quick"],
    "schedule": ["cyclic", "plateau"],
    "optimizer": ["adam", "momentum"],
    "average": ["ema", "swa"],
    "transforms": ["jpeg", "bit_depth:bits=3", "jpeg:quality=0"],
    "run": ["a"],
    "runs": ["a", "a,a", "b*"],
    "adv_data": ["a-fgsm-eps0.1-test", "a-fgsm-eps0.1-train"],
    "threat": ["Linf:0.1", "L2:0.5,Linf:8/255", "L3:1"],
    "eps": ["0.1", "0.1,0.2", "8"],
    "dataset": ["digits", "folder:/nowhere", "cifar11"],
    "target": ["random", "3", "11"],
    "shard": ["0/2", "1/2", "2/2"],
    "split": ["test", "train", "validation"],
}
_FIXED = {
    "train": ["--model=small_cnn", "--model_args=width=4", "--dataset=digits"],
    "make_adv": ["--run=a", "--attack=fgsm", "--dataset=digits"],
    "report": ["--runs=a", "--attacks=fgsm", "--dataset=digits", "--eps=0.1"],
    "export": ["--run=a"],
    "gate": ["--run=a", "--baseline=outputs/report/results.json"],
}
_LAST = {
    "train": ["--epochs=1", "--train_examples=32", "--batch_size=16"],
    "make_adv": ["--num_examples=8", "--batch_size=8"],
    "report": ["--num_examples=8", "--num_costly=8", "--batch_size=8"],
    "export": [],
    "gate": ["--num_examples=8", "--batch_size=8"],
}
# Where things are written is not left to chance.
_KEPT = ("output_dir", "report_dir", "to", "verbosity", "help", "compare", "workers")
_KEPT += ("runner", "runner_args", "distribute")  # Processes, and where they run.


class Hang(BaseException):
    """Above what the commands catch.

    Attributes:
      came: whether it was raised since this was last set; Keras lets some exceptions
        vanish, and goes on in its own way.
    """

    came = False


def _stop(*_):
    Hang.came = True
    raise Hang


def _line(command, draw):
    """The usual flags, and a few with values of any kind."""
    values = flags.FlagValues()
    importlib.import_module(f"tf_advdefense.commands.{command}").define(values)
    known = sorted(name for name in values if name not in _KEPT)
    line = list(_FIXED[command])
    for name in draw.sample(known, draw.randint(1, 4)):
        form = draw.random()
        pool = _NAMES.get(name, []) * 8 + _ODD
        given = f"--{name}={draw.choice(pool)}"
        if form < 0.1:
            given = f"--{name}" if form < 0.05 else f"--no{name}"
        line.append(given)
    return line + _LAST[command] * (draw.random() < 0.8)


@pytest.mark.parametrize("command", _FIXED)
def test_random_flags(command, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = random.Random(command)
    former = signal.signal(signal.SIGALRM, _stop)
    outputs = shutil.copytree(base, tmp_path / "outputs")
    before = _tree(tmp_path)
    for _ in campaign.trials(20, 1000):
        line = [command, *_line(command, draw), "--output_dir=outputs"]
        Hang.came = False
        signal.alarm(_SECONDS)
        try:
            result = binaries.run(*line)
        except Hang:
            pass
        finally:
            signal.alarm(0)
        if Hang.came:  # Work that was asked for, if it is not a hang: see the count.
            campaign.count(f"flags of {command}", f"at work after 10 s: {line[1:]}")
            result = None
        done = 0, *[1] * (command == "gate")
        if result is not None and result.returncode not in done:
            assert campaign.is_one_line(result), (line, result.stderr)
            campaign.count(f"flags of {command}", "refused in one line")
            assert _tree(tmp_path) == before, line
            continue
        if result is not None:
            assert "bug of ours" not in result.stderr, (line, result.stderr)
            campaign.count(f"flags of {command}", "done")
        for each in tmp_path.iterdir():  # Whatever it wrote, and wherever.
            files.delete(each)
        shutil.copytree(base, outputs)
    signal.signal(signal.SIGALRM, former)


def _tree(root):
    """Files and directories, but for measurements, which are kept."""
    return {p for p in root.rglob("*") if "measurements" not in p.parts}
