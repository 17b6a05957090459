"""The commands: what they answer without TensorFlow, their help, and their errors."""

import json
import os
import subprocess
import sys
import time

import binaries
import pytest

from tf_advdefense import defenses
from tf_advdefense.artifacts import adversarial_shards
from tf_advdefense.attacks import ATTACKS
from tf_advdefense.commands import flags
from tf_advdefense.commands import main
from tf_advdefense.commands import names
from tf_advdefense.commands.errors import in_flags
from tf_advdefense.commands.loading import quietly
from tf_advdefense.commands.run import CommandLine
from tf_advdefense.defenses import transforms
from tf_advdefense.evaluation.plan import CHEAP
from tf_advdefense.evaluation.progress import progress
from tf_advdefense.models import MODELS
from tf_advdefense.radii import radius_text

# === Without TensorFlow ===

QUICK = [
    (["train", "--help"], 0, "Defence:"),
    (["train"], 2, "small_resnet"),
    (["train", "--model=resnet51"], 2, "Did you mean 'resnet50'"),
    (["train", "--model=alexnet", "--defense=hope"], 2, "pgd_at"),
    (["train", "--model=alexnet", "--transforms=jpg"], 2, "Did you mean 'jpeg'"),
    (["make_adv", "--attack=nonsense"], 2, "fgsm"),
    (["make_adv", "--atack=cw"], 2, "Did you mean: attack"),
    (["report", "--attacks=cw,pdg"], 2, "Did you mean 'pgd'"),
    (["bench", "--attacks"], 2, "--run=NAME"),
    (["gate"], 2, "--baseline"),
    (["export"], 2, "--run"),
    (["list", "--all"], 2, "all"),
    (["trian"], 2, "Did you mean 'train'"),
    (["--help"], 0, "advdefense make_adv"),
]


def test_flags_are_answered_before_tensorflow_is_loaded():
    script = (
        "import json, sys\n"
        "from tf_advdefense.commands import main\n"
        "codes = [main.run(line) for line in json.loads(sys.argv[1])]\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
        "print(*codes)\n"
    )
    lines = json.dumps([line for line, _, _ in QUICK])
    done = subprocess.run(
        [sys.executable, "-c", script, lines], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == [str(code) for _, code, _ in QUICK]


@pytest.mark.quick
@pytest.mark.parametrize("line, code, wanted", QUICK, ids=lambda value: str(value)[:40])
def test_what_they_answer(line, code, wanted):
    result = binaries.run(*line)
    assert result.returncode == code
    assert wanted in (result.stderr if code else result.stdout)
    assert len(result.stderr.splitlines()) == (1 if code else 0)


@pytest.mark.parametrize("line", [["train", "--help"], ["make_adv", "--attack=no"]])
def test_they_answer_within_a_second(line):
    used = os.times()
    binaries.run_alone(*line)
    now = os.times()
    # Of the processor: other tests run beside this one.
    assert now.children_user - used.children_user < 1


def test_what_flags_say_twice_is_what_the_library_says():
    assert names.STORES == adversarial_shards.STORES
    assert f"more than {CHEAP} passes" in binaries.run("report", "--help").stdout


# === Help ===


@pytest.mark.parametrize("command", main.COMMANDS)
def test_help_fits_the_screen_and_names_commands_as_they_are_called(command):
    module_help = binaries.run(command, "--help").stdout
    assert max(map(len, module_help.splitlines())) <= 88
    assert f"    bin/{command}" in module_help and "advdefense" not in module_help


def test_help_shows_every_flag_once_with_its_default():
    text = binaries.run("train", "--help").stdout
    for flag in (
        "--model= ",
        "--batch_size= ",
        "--seed=0",
        "--[no]augment ",
        "--[no]flip",
        "--resume",
        "--adv_fraction=0.5",
        "--defense=none",
    ):
        assert text.count(f"\n  {flag}") == 1, flag
    report = binaries.run("report", "--help").stdout
    assert "--eps=1/255,2/255,4/255,8/255" in report


def test_list_has_a_line_for_everything():
    result = binaries.run("list")
    assert result.returncode == 0 and not result.stderr
    first = [line.split()[0] for line in result.stdout.splitlines() if line[:2] == "  "]
    known = [ATTACKS, defenses.DEFENSES, MODELS, transforms.TRANSFORMS, ["digits"]]
    for name in sum(map(list, known), []):
        assert first.count(name) >= 1, name
    (cw,) = [line for line in result.stdout.splitlines() if line.startswith("  cw ")]
    assert "L2" in cw and "arXiv:1608.04644" in cw
    assert "5,000 / 5,000" in cw and "1,000 / 1,000 by max_iterations=200" in cw


# === Values ===


@pytest.mark.parametrize(
    "parse, text, value",
    [
        (flags.number, "8/255", 8 / 255),
        (flags.number, "0.3", 0.3),
        (flags.share, "1/3", 1 / 3),
        (flags.words, "a, b,,", ["a", "b"]),
        (flags.words, "", []),
        (flags.radii, "2/255, 0.1", ["2/255", "0.1"]),
        (flags.arguments, "", {}),
        (
            flags.arguments,
            "nb_iter=7,eps_iter=1/4,norm=inf,labels=predicted,rand_init=True",
            {
                "nb_iter": 7,
                "eps_iter": 0.25,
                "norm": float("inf"),
                "labels": "predicted",
                "rand_init": True,
            },
        ),
    ],
)
def test_kinds_of_values(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    "parse, text",
    [
        (flags.number, "small"),
        (flags.number, "8/0"),
        (flags.share, "1.5"),
        (flags.radii, "0.1,b"),
        (flags.arguments, "width"),
        (flags.attacks, "fgsm,pdg"),
        (flags.interval, "255"),
        (flags.interval, "1,0"),
    ],
)
def test_what_is_no_value_is_named(parse, text):
    with pytest.raises(ValueError, match=text.split(",")[-1]):
        parse(text)


@pytest.mark.parametrize(
    "eps, text", [(8 / 255, "8/255"), (0.3, "0.3"), (1.0, "1"), (0.031, "0.031")]
)
def test_radii_as_people_type_them(eps, text):
    assert radius_text(eps) == text


def test_progress_in_a_log_is_one_line(capsys):
    show = progress("cw", clean_correct=8)
    for done in (0, 5, 10):
        show(done, 10, 1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cw: 10 images, at most 70.0 % still right, ")
    progress("cw")(10, 10, 1)
    assert "1 fooled of those that were right" in capsys.readouterr().err


def test_long_progress_in_a_log_is_a_line_a_minute(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    show = progress("cw", clean_correct=8)
    for clock[0], done in ((30, 1), (61, 2), (90, 3), (122, 4), (130, 10)):
        show(done, 10, done // 2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "cw: 2 of 10 images",
        "cw: 4 of 10 images",
        "cw: 10 images",
    ]


# === Errors ===


@pytest.mark.parametrize(
    "text, line",
    [
        (
            "`eps` must be in [0, 1]. Received: eps=8",
            "--eps must be in [0, 1]. Received: --eps=8",
        ),
        (
            "`nb_iter` must be\n  whole. Received: nb_iter=0.5, eps=1, --name=eps=2",
            "`nb_iter` must be whole. Received: nb_iter=0.5, --eps=1, --name=eps=2",
        ),
        ("Set eps=1 with `name='a b'`.", "Set eps=1 with --name='a b'."),
        (
            "No run. Known: name. Make it with `train_run`.",
            "No run. Known: name. Make it with bin/train.",
        ),
        (
            "A set is damaged. Make it again with `make_set` and `overwrite`.",
            "A set is damaged. Make it again with bin/make_adv and --overwrite.",
        ),
        (
            "Craft one with `make_set(split='train', name='x')` or `other(split=1)`.",
            "Craft one with bin/make_adv --split=train --name=x or `other(split=1)`.",
        ),
    ],
)
def test_errors_of_the_library_speak_of_flags(text, line):
    assert in_flags(text, {"eps", "name"}, "bin/") == line


def test_a_command_line_is_repeated_and_continued():
    line = CommandLine("advdefense ", "train", ["--overwrite", "--name=a b"])
    assert str(line) == "advdefense train --overwrite '--name=a b'"
    assert line.continued(True) == "advdefense train '--name=a b' --resume"
    assert line.continued(False) == "advdefense train '--name=a b'"


def test_loading_quietly_keeps_what_is_no_chatter():
    script = (
        "import os\n"
        "from tf_advdefense.commands.loading import quietly\n"
        "try:\n"
        "    with quietly():\n"
        "        os.write(2, b'I0000 00:00:1 1 port.cc] oneDNN\\nE0000 a fault\\n')\n"
        "        raise OSError\n"
        "except OSError:\n"
        "    os.write(2, b'I0000 after\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert done.stderr == b"E0000 a fault\nI0000 after\n"


def test_nothing_is_redirected_once_tensorflow_is_loaded(capfd):
    with quietly():
        os.write(2, b"I0000 said\n")
    assert capfd.readouterr().err == "I0000 said\n"
