"""Model cards as commands write them: trained, reported, exported, and then loaded."""

import json
import pathlib

import binaries
import keras
import numpy as np
import pytest

from tf_advdefense import datasets
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.evaluation.threat_models import threat_models
from tf_advdefense.reporting import model_card
from tf_advdefense.training.run import train_run

REPORT = ["--threat=Linf:2/255", "--attacks=fgsm", "--num_examples=32", "--runs=mine"]


@pytest.fixture(scope="module")
def data():
    return datasets.load("digits")


def train(data, output_dir):
    """A run of a linear model; asked for once more, it is recognised."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]
    recipe = {"epochs": 1, "batch_size": 16, "train_examples": 320, "name": "mine"}
    model = keras.Sequential(layers, name="linear")
    return train_run(model, "none", data, output_dir=output_dir, **recipe)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("cards"))


@pytest.fixture(scope="module")
def trained(run):
    """The cards of run and export as training left them."""
    return card_of(run.directory), card_of(run.directory / "saved_model")


@pytest.fixture(scope="module")
def reported(run, trained):
    """Results, arrays, and the cards' bytes after one report and after another."""
    held = []
    for _ in range(2):
        result = command(run, "report", *REPORT)
        assert result.returncode == 0, result.stderr
        held.append(bytes_of(run.directory) | bytes_of(run.directory / "saved_model"))
    output_dir = run.directory.parents[1]
    return *records.load_results(output_dir / "report"), held


def command(run, binary, *flags):
    return binaries.run(binary, f"--output_dir={run.directory.parents[1]}", *flags)


def card_of(directory):
    return json.loads((pathlib.Path(directory) / "model_card.json").read_text())


def bytes_of(directory):
    paths = [pathlib.Path(directory) / name for name in model_card.NAMES]
    return {path: path.read_bytes() for path in paths}


def test_training_says_what_was_not_measured(run, trained):
    own, exported = trained
    assert own == exported and own["robustness"] == []
    assert own["limits"][0].startswith("Robustness was not measured")
    assert own["clean"]["accuracy"] == run.config["test_accuracy"]
    assert own["training"]["recipe"]["train_examples"] == 320


def test_a_report_brings_its_numbers(run, reported):
    results, arrays, (first, again) = reported
    assert first == again and len(set(first.values())) == 2  # Run and export agree.
    (threat,) = threat_models(results)
    worst = robustness(results, arrays, "mine", threat)
    (row,) = card_of(run.directory)["robustness"]
    assert row["accuracy"] == worst.accuracy and row["interval"] == list(worst.interval)
    assert row["num_examples"] == 32 and row["threat_model"]["eps_text"] == "2/255"
    text = (run.directory / "model_card.md").read_text()
    shown = [f"{100 * value:.1f}" for value in (worst.accuracy, *worst.interval)]
    assert f"| {shown[0]} | {shown[1]}–{shown[2]} | 32 |" in text
    assert "not measured" not in text


def test_an_export_has_the_reports_card(run, reported, tmp_path):
    result = command(run, "export", "--run=mine", f"--to={tmp_path}/there")
    assert result.returncode == 0, result.stderr
    assert bytes_of(tmp_path / "there").keys() == {
        tmp_path / "there" / name for name in model_card.NAMES
    }
    assert card_of(tmp_path / "there")["robustness"]
    # An empty directory has no report: it is exported as never measured.
    other = f"--report_dir={tmp_path}/none"
    result = command(run, "export", "--run=mine", f"--to={tmp_path}/there", other)
    assert result.returncode == 2 and card_of(tmp_path / "there")["robustness"]


def test_numbers_of_other_weights_are_left_aside(run, reported, tmp_path):
    results, arrays, _ = reported
    model = {**results["models"]["mine"], "weights_sha256": "0" * 64}
    records.save_results(tmp_path, {**results, "models": {"mine": model}}, arrays)
    flags = ["--run=mine", f"--to={tmp_path}/there", f"--report_dir={tmp_path}"]
    assert command(run, "export", *flags).returncode == 0
    card = card_of(tmp_path / "there")
    assert card["robustness"] == [] and "not measured" in card["limits"][0]


@pytest.mark.parametrize("flags", [[], ["--transforms=bit_depth:bits=1"]])
def test_a_card_loads_its_very_model(run, data, flags, tmp_path, monkeypatch):
    result = command(run, "export", "--run=mine", *flags, f"--to={tmp_path}/there")
    assert result.returncode == 0, result.stderr
    card = card_of(tmp_path / "there")
    assert card["model"]["transforms"] == ("bit_depth:bits=1" if flags else None)
    assert (card["clean"] is None) is bool(flags)
    images = data.test.images[:8] / np.float32(255)
    given = np.rint(images) if flags else images
    expected = run.load_model()(given).numpy()
    # The Keras file of a run lies in it, that of a transformed model beside the export.
    monkeypatch.chdir(tmp_path if flags else run.directory)
    scope = {"images": images}
    exec("\n".join(card["loading"]["python"]), scope)
    np.testing.assert_allclose(scope["model"](images), expected, atol=1e-5)
    monkeypatch.chdir(tmp_path)
    *load, call = card["loading"]["saved_model"]
    exec("\n".join([*load, f"found = {call}"]), scope)
    np.testing.assert_array_equal(scope["found"], expected.argmax(1))


def test_a_repeated_training_leaves_the_reports_card(run, reported, data):
    before = bytes_of(run.directory)
    again = train(data, run.directory.parents[1])
    assert again == run and bytes_of(run.directory) == before
