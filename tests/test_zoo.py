"""The zoo: its networks are found, checked, attacked and trained on by their names.

A zoo of digits stands for the packaged one where images are needed.
"""

import json
import re
import shutil

import binaries
import keras
import numpy as np
import pytest

from tf_advdefense import build_model
from tf_advdefense import load_dataset
from tf_advdefense import train_run
from tf_advdefense import zoo
from tf_advdefense.artifacts import runs
from tf_advdefense.evaluation import records

FILES = ("model.keras", "config.json", "request.json", "history.csv")
SHAPE = (32, 32, 3)


COMMON = ["--dataset=digits", "--batch_size=16"]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The run that the network `plain` was."""
    few = {"epochs": 1, "batch_size": 32, "train_examples": 320}
    arguments = {"model_args": {"width": 8}, "output_dir": tmp_path_factory.mktemp("o")}
    return train_run("small_cnn", "none", load_dataset("digits"), **arguments, **few)


@pytest.fixture(scope="module")
def digits_zoo(first, tmp_path_factory):
    """A directory with the network `plain`."""
    root = tmp_path_factory.mktemp("zoo")
    (root / "plain").mkdir()
    for name in FILES:
        shutil.copy(first.directory / name, root / "plain" / name)
    return root


@pytest.fixture
def here(digits_zoo, monkeypatch):
    monkeypatch.setattr(zoo, "DIRECTORY", digits_zoo)
    return digits_zoo


def contents(directory):
    return {p.name: p.read_bytes() for p in directory.iterdir()}


def test_a_network_is_a_run(here, first):
    run = runs.load_run("nowhere", "zoo:plain")
    assert run.packaged and not first.packaged
    assert (run.name, run.config) == ("zoo-plain", first.config)
    ours, theirs = run.load_model().get_weights(), first.load_model().get_weights()
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_with_its_weights(here, first):
    bare = build_model("small_cnn", SHAPE, 10, weights="plain")
    same = build_model("small_cnn", SHAPE, 10, weights="plain", width=8)
    trained = first.load_model()
    images = np.random.default_rng(0).random((3, *SHAPE), np.float32)
    for model in (bare, same):
        np.testing.assert_array_equal(model(images), trained(images))


@pytest.mark.parametrize(
    "name, side, classes, hyper, message",
    [
        (
            "small_resnet",
            32,
            10,
            {},
            "of model=small_cnn. Received: model=small_resnet",
        ),
        ("small_cnn", 28, 10, {}, "of image_shape=(32, 32, 3)"),
        ("small_cnn", 32, 7, {}, "of num_classes=10. Received: num_classes=7"),
        ("small_cnn", 32, 10, {"width": 99}, "Received: width=99. Leave it out"),
        ("small_cnn", 32, 10, {"weights": "plane"}, "Unknown network 'plane'"),
    ],
)
def test_weights_of_something_else(here, name, side, classes, hyper, message):
    with pytest.raises(ValueError) as error:
        hyper = {"weights": "plain", **hyper}
        build_model(name, (side, side, 3), classes, **hyper)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_damaged_file_is_refused(here, tmp_path, monkeypatch):
    shutil.copytree(here / "plain", tmp_path / "plain")
    model = keras.models.load_model(here / "plain" / "model.keras", compile=False)
    model.layers[-1].bias.assign_add(model.layers[-1].bias * 0 + 1e-3)
    model.save(tmp_path / "plain" / "model.keras")
    monkeypatch.setattr(zoo, "DIRECTORY", tmp_path)
    with pytest.raises(ValueError, match="must be the one that the package came with"):
        build_model("small_cnn", SHAPE, 10, weights="plain")
    with pytest.raises(ValueError, match="the one that its training ended with"):
        runs.load_run(tmp_path, "zoo:plain").load_model()


def test_reported_and_nothing_is_written_into_the_package(here, tmp_path):
    before = contents(here / "plain")
    given = ["--runs=zoo:*", "--attacks=fgsm", "--eps=0.1", "--num_examples=16"]
    result = binaries.run("report", *given, *COMMON, f"--output_dir={tmp_path}")
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert list(results["models"]) == ["zoo-plain"] and not results["groups"]
    assert contents(here / "plain") == before


@pytest.mark.slow
def test_crafted_on_trained_from_and_exported(here, tmp_path):
    output = [f"--output_dir={tmp_path}", *COMMON]
    given = ["--run=zoo:plain", "--attack=fgsm", "--eps=0.1", "--num_examples=16"]
    result = binaries.run("make_adv", *given, *output)
    assert result.returncode == 0, result.stderr
    (made,) = (tmp_path / "adv").iterdir()
    assert re.fullmatch("zoo-plain-fgsm.*-test", made.name)
    few = ["--epochs=1", "--train_examples=32"]
    given = ["--init_from=zoo:plain", "--defense=rslad", "--teacher=zoo:plain", *few]
    args = "--defense_args=nb_iter=1"
    result = binaries.run("train", *given, args, "--name=student", *output)
    assert result.returncode == 0, result.stderr
    request = runs.load_run(tmp_path, "student").config["request"]
    sha256 = json.loads((here / "plain" / "config.json").read_text())["weights_sha256"]
    assert request["initial_weights"] == request["teacher"] == sha256
    where = f"--output_dir={tmp_path}"
    refused = binaries.run("export", "--run=zoo:plain", where)
    assert refused.returncode == 2 and "Give --to=DIRECTORY." in refused.stderr
    result = binaries.run("export", "--run=zoo:plain", f"--to={tmp_path}/out", where)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "saved_model.pb").exists()


def test_unknown_networks_are_one_line(here, tmp_path):
    given = ["--run=zoo:plane", "--attack=fgsm", f"--output_dir={tmp_path}"]
    result = binaries.run("make_adv", *given)
    assert result.returncode == 2
    assert result.stderr == (
        "make_adv: Unknown network 'plane' of the zoo. Known: plain.\n"
    )


def test_listed(here):
    assert "\nZoo\n  zoo:plain  small_cnn(" in binaries.run("list").stdout


# === The packaged networks ===


@pytest.mark.parametrize("name", zoo.names())
def test_packaged_networks(name):
    directory = zoo.find(name)
    run = runs.load_run("nowhere", f"zoo:{name}")
    assert run.model_path.stat().st_size <= 2_000_000
    config, request = run.config, run.config["request"]
    assert "JPEG" in config["note"] and request["dataset"] == "cifar10"
    program, *flags = config["command"].split()
    origins = {f"--init_from=zoo:{other}" for other in zoo.names() if other != name}
    assert program == "bin/train" and {"--model=small_resnet", *origins} & {*flags}
    assert "_dir" not in config["command"]
    assert json.loads((directory / "request.json").read_text()) == request
    card = (directory / "model_card.md").read_text()
    assert config["weights_sha256"] in card and f"zoo:{name}" in card
    model = build_model("small_resnet", SHAPE, 10, weights=name)
    images = np.random.default_rng(0).random((4, *SHAPE), np.float32)
    np.testing.assert_array_equal(model(images), run.load_model()(images))
    assert model.count_params() == config["num_params"]


def test_packaged_results_say_no_place():
    results, _ = records.load_results(zoo.DIRECTORY)
    assert results["commands"]
    assert not [command for command in results["commands"] if "_dir" in command]
