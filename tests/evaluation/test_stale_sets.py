"""Sets whose source has been trained again: left out of comparisons, and named."""

import keras
import numpy as np
import pytest

from tf_advdefense.artifacts import claims
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import runs
from tf_advdefense.attacks import make_attack
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.evaluation.crafted_sets import make_set
from tf_advdefense.evaluation.survey import survey

SHAPE = (6, 6, 3)
FGSM = make_attack("fgsm", eps=0.1)


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).integers(0, 256, (8, *SHAPE), np.uint8)
    split = Split(images, np.arange(8) % 4, np.arange(8))
    return Dataset("shapes", tuple("abcd"), "f" * 64, split, split, split)


def model(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(4)]
    )


def trained(output_dir, name, seed, data, former=False):
    """A run as `train_run` leaves it, or as a former version did."""
    directory = runs.run_directory(output_dir, name)
    request = {
        "model": "linear",
        "defense": "none",
        "adv_data": {},
        "dataset": data.name,
        "dataset_fingerprint": data.fingerprint,
    }
    claims.claim(directory, request, overwrite=True)
    saved = runs.save_model(directory, model(seed))
    if former:
        saved = {"weights_sha256": files.sha256(directory / "model.keras")}
    files.finish(directory, {**saved, "command": None})
    return runs.load_run(output_dir, name)


def crafted(run, data, output_dir, **settings):
    return make_set(
        run, FGSM, data, output_dir=output_dir, batch_size=8, say=str, **settings
    )


def compared(targets, sets, data, output_dir):
    said = []
    models = {run.name: run for run in targets}
    settings = dict(output_dir=output_dir, batch_size=8, say=said.append)
    comparison = survey(models, data, [], sets, **settings)
    used = {r["adv_set"] for r in comparison.results["records"]} - {None}
    return used, said, comparison


def test_a_set_of_a_run_that_was_trained_again_is_left_out(tmp_path, data):
    other = trained(tmp_path, "b", 2, data)
    old = crafted(trained(tmp_path, "a", 0, data), data, tmp_path, name="old")
    kept = crafted(other, data, tmp_path)
    again = trained(tmp_path, "a", 1, data)
    new = crafted(again, data, tmp_path, name="new")
    line = "Left out: `old` (of `a`), crafted before the source was trained again."
    for targets in ([other], [again, other]):  # the source is a target itself, or not
        used, said, comparison = compared(targets, [old, kept, new], data, tmp_path)
        assert used == {kept.name, "new"}
        assert said[0].startswith(line) and "\n" not in said[0]
        assert comparison.results["stale_sets"] == {"old": "a"}
        files = comparison.write(tmp_path / "report")
        assert line in files["markdown"].read_text()
        assert not any(line in each for each in said[1:])


def test_one_of_several_sources_is_enough(tmp_path, data):
    pair = [trained(tmp_path, name, 3, data) for name in "ab"]
    joint = crafted(pair, data, tmp_path)
    assert compared(pair, [joint], data, tmp_path)[0] == {joint.name}
    trained(tmp_path, "b", 4, data)
    used, _, comparison = compared(pair[:1], [joint], data, tmp_path)
    assert not used and comparison.results["stale_sets"] == {joint.name: "a+b"}


def test_a_source_that_is_not_there_makes_no_set_stale(tmp_path, data):
    run = trained(tmp_path / "elsewhere", "b", 2, data)
    found = crafted(trained(tmp_path, "a", 0, data), data, tmp_path)
    used, _, comparison = compared([run], [found], data, tmp_path / "elsewhere")
    assert used == {found.name} and not comparison.results["stale_sets"]
    page = comparison.write(tmp_path / "report")["markdown"]
    assert "Left out" not in page.read_text()


def test_training_again_to_the_same_weights_changes_nothing(tmp_path, data):
    found = crafted(trained(tmp_path, "a", 0, data), data, tmp_path)
    used, *_ = compared([trained(tmp_path, "a", 0, data)], [found], data, tmp_path)
    assert used == {found.name}


@pytest.mark.parametrize("former_run", [True, False])
def test_sets_of_former_versions_are_recognised(tmp_path, data, former_run):
    """They name their source by the hash of its file."""
    run = trained(tmp_path, "a", 0, data, former=former_run)
    found = crafted(run, data, tmp_path)
    as_it_was = {
        **found.config["request"],
        "source_sha256": files.sha256(run.model_path),
    }
    for name in ("request.json", "config.json"):
        path = found.directory / name
        written = files.read_json(path)
        files.write_json(
            path,
            as_it_was if name == "request.json" else {**written, "request": as_it_was},
        )
    found.config["request"] = as_it_was
    used, _, comparison = compared([run], [found], data, tmp_path)
    (record,) = (r for r in comparison.results["records"] if r["adv_set"])
    assert used == {found.name} and record["setting"] == "white-box"


def test_a_former_set_of_a_file_is_no_other_request(tmp_path, data):
    model(0).save(tmp_path / "m.keras")
    settings = dict(output_dir=tmp_path, batch_size=8)
    said = []
    made = make_set(tmp_path / "m.keras", FGSM, data, **settings, say=said.append)
    former = {
        **made.config["request"],
        "source_sha256": files.sha256(tmp_path / "m.keras"),
    }
    files.write_json(made.directory / "request.json", former)
    make_set(tmp_path / "m.keras", FGSM, data, **settings, say=said.append)
    assert said[-1].endswith("is finished: nothing to do.")
    model(1).save(tmp_path / "m.keras")
    with pytest.raises(FileExistsError, match="source_sha256"):
        make_set(tmp_path / "m.keras", FGSM, data, **settings, say=said.append)
