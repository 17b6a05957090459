"""bin/gate on `digits`: exit codes, what it writes, and what it refuses."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import binaries
import keras
import numpy as np
import pytest

from tf_advdefense.evaluation import records

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory, elsewhere):
    """A baseline's report, a model with noise, and the flags all gates share."""
    root = tmp_path_factory.mktemp("gate")
    common = ["--batch_size=16", f"--output_dir={root}/outputs"]
    measured = ["--runs=", "--attacks=fgsm", "--threat=Linf:2/255", "--num_examples=64"]
    report = [*common, *measured, "--dataset=digits", f"--model_path={elsewhere}"]
    assert binaries.run("report", *report).returncode == 0
    other = keras.models.load_model(elsewhere)
    kernel, bias = other.get_weights()
    noise = np.random.default_rng(0).normal(0, 1, kernel.shape)
    other.set_weights([kernel + noise, bias])
    other.save(root / "noised.keras")
    baseline = f"--baseline={root}/outputs/report/results.json"
    return root, [*common, baseline], f"--model_path={elsewhere}"


def gate(made, *flags):
    return binaries.run("gate", *made[1], *flags)


def test_the_same_model_passes(made):
    result = gate(made, made[2])
    assert result.returncode == 0 and not result.stderr
    # Seed, batch size and images are the baseline's: nothing is left to measure.
    assert result.stdout.startswith("Everything is measured already.")
    verdict = result.stdout.splitlines()[-1]
    assert verdict.startswith("pass: robust accuracy under L∞ 2/255")
    assert "0 lost : 0 won of 64 images" in verdict


@pytest.fixture(scope="module")
def failing(made):
    # Hardly trained, the model has few right images to lose.
    flags = ["--min_robust=99", f"--junit={made[0]}/gate.xml", "--github"]
    return gate(made, made[2], *flags)


def test_a_failure_is_code_1_with_annotations_and_junit(made, failing):
    assert failing.returncode == 1 and not failing.stderr
    lines = failing.stdout.splitlines()
    verdict, annotation = (
        next(line for line in lines if line.startswith(start))
        for start in ("fail: ", "::error title=Robustness gate::")
    )
    assert "below the 99 % asked for" in verdict
    assert annotation.partition("gate::")[2] == verdict.replace("%", "%25")
    suite = ElementTree.parse(made[0] / "gate.xml").getroot()
    assert suite.attrib["tests"] == "3" and suite.attrib["failures"] == "1"


def test_another_model_is_attacked_alike(made):
    result = gate(made, f"--model_path={made[0]}/noised.keras", "--seed=3")
    assert "2 measurements to take, 1 of them white-box" in result.stdout
    assert result.returncode in (0, 1) and "of 64 images" in result.stdout


@pytest.mark.parametrize(
    "flags, wanted",
    [
        ([], "one of --model_path and --run. Received: neither."),
        (["{model}", "--run=a"], "Received: both."),
        (["{model}", "--max_drop=120"], "--max_drop=120"),
        (["{model}", "--max_drop=two"], "two"),
        (["{model}", "--baseline=nowhere"], "No results.json in nowhere"),
        (
            ["{model}", "--baseline_model=b"],
            "--baseline_model must be one of elsewhere",
        ),
        (["{model}", "--image_size=16"], "Give the same --dataset"),
        (["--run=absent"], "absent"),
        (["--model_path=absent.keras"], "absent.keras"),
        (["{model}", "--junit=/dev/null"], "/dev/null, which is no file"),
        (["{model}", "--junit=README.md"], "README.md, which is another file"),
    ],
)
def test_wrong_input_is_code_2_and_a_line(made, flags, wanted):
    result = gate(made, *(flag.format(model=made[2]) for flag in flags))
    assert result.returncode == 2 and wanted in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_baseline_of_several_models_needs_a_name(made, tmp_path):
    results, arrays = records.load_results(made[0] / "outputs" / "report")
    results["models"]["b"] = results["models"]["elsewhere"]
    records.save_results(tmp_path, results, arrays)
    line = [made[2], f"--baseline={tmp_path}/results.json"]
    assert "elsewhere, b. Received: none." in gate(made, *line).stderr
    assert gate(made, *line, "--baseline_model=elsewhere").returncode == 0
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_the_fixture_of_the_docs_runs(made, elsewhere, tmp_path):
    text = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "test_robustness.py").write_text(block)
    shutil.copytree(made[0] / "outputs" / "report", tmp_path / "baseline")
    shutil.copy(elsewhere, tmp_path / "mine.keras")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
