"""README and docs are true: their Python runs, and the binaries take their commands."""

import pathlib
import re
import runpy
import shlex

import binaries
import keras
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = PAGES[0].read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line.partition("#")[0])
    for page in PAGES
    for line in re.findall(
        r"(?m)^    (bin/(?:train|make_adv|report|gate|export).*)$",
        page.read_text(encoding="utf-8"),
    )
]
# What ends a command whose flags were accepted.
ABSENT = "nowhere|mine.keras|No image folder|No results.json"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # What it saves is nobody's.
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    if not blocks:
        pytest.skip("no Python on it")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    images = np.random.default_rng(0).random((6, 8, 8, 3), np.float32)
    labels = model(images).numpy().argmax(1)
    found = {"model": model, "images": images, "labels": labels}
    for block in blocks:  # A block knows what those before it made.
        (tmp_path / "block.py").write_text(block)
        given = {k: v for k, v in found.items() if k not in ("result", "adversarial")}
        found = runpy.run_path(str(tmp_path / "block.py"), given)
        if "result" in found:
            assert 0 <= found["result"].robust_accuracy.value <= 1
        if "adversarial" in found:
            _check_examples(model, images, found["adversarial"], labels)


def _check_examples(model, images, adversarial, labels):
    change = np.abs(adversarial - images).max(axis=(1, 2, 3))
    np.testing.assert_allclose(change, 8 / 255, atol=1e-6)
    losing = np.take_along_axis(
        model(adversarial).numpy() - model(images).numpy(),
        labels[:, np.newaxis],
        axis=1,
    )
    assert (losing < 0).all()


def test_the_main_path_is_there():
    path = re.search(r"## The paper\n\n(.*?)\n\n", TEXT, re.DOTALL)[1]
    assert [shlex.split(line)[0] for line in path.splitlines()] == [
        "bin/train",
        "bin/train",
        "bin/make_adv",
        "bin/make_adv",
        "bin/make_adv",
        "bin/train",
        "bin/train",
        "bin/report",
    ]


@pytest.mark.parametrize("binary", ["train", "make_adv", "report", "gate", "export"])
def test_every_flag_of_a_command_exists(binary):
    # An unreachable data set ends each command after its flags were accepted.
    nowhere = ["--output_dir=nowhere", "--verbosity=0"]
    if binary != "export":
        nowhere.append("--data_dir=nowhere")
    lines = [
        command[1:] + nowhere for command in COMMANDS if command[0] == f"bin/{binary}"
    ]
    assert lines
    for line, result in zip(lines, binaries.run_each(binary, lines)):
        assert result.returncode == 2, line
        assert re.search(ABSENT, result.stderr), (
            line,
            result.stderr,
        )
