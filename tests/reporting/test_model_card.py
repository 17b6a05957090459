"""Model cards: numbers are the run's or the results', and what is unknown is said."""

import copy
import json

import numpy as np
import pytest

from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.evaluation.threat_models import threat_models
from tf_advdefense.reporting import model_card

CONFIG = {
    "dataset": "digits",
    "best_epoch": 3,
    "epochs_trained": 4,
    "validation_accuracy": 0.95,
    "test_accuracy": 0.9,
    "test_examples": 360,
    "weights_sha256": "a" * 64,
    "sources": ["elsewhere"],
    "num_params": 12345,
    "class_names": ("zero", "one"),
    "image_shape": (8, 8, 3),
    "seconds": 7,
    "versions": {"tensorflow": "2.21.0"},
    "git_commit": "c" * 40,
    "command": "bin/train --model=small_cnn --resume --seed=5 --overwrite",
    "request": {
        "model": "small_cnn",
        "defense": "pgd_at",
        "defense_args": {"eps": 0.1},
        "dataset": "digits",
        "dataset_fingerprint": "f" * 64,
        "epochs": 4,
        "optimizer": "sgd",
        "seed": 5,
        "adv_data": {"set": "9" * 64},
        "color": None,
    },
}


def measured(sha="a" * 64):
    """Two models attacked in one ball, of which "mine" has the run's weights."""
    ok = np.array([1, 1, 0, 0, 1, 0, 1, 1], bool)
    clean = np.array([1, 1, 1, 0, 1, 1, 1, 1], bool)
    ball = {"norm": "inf", "eps": 0.1, "eps_text": "0.1", "goal": "fixed-eps"}
    results = {
        "dataset": {"name": "digits", "note": "A note of the data."},
        "models": {
            "mine": {"weights_sha256": sha},
            "mine-2": {"weights_sha256": "b" * 64},
        },
        "records": [
            {
                "key": f"{name}-fgsm",
                "target": name,
                "attack": "fgsm",
                "setting": "white-box",
                "access": "gradients",
                "title": None,
                **ball,
            }
            for name in ("mine", "mine-2")
        ],
        "threat_models": [
            {k: v for k, v in ball.items() if k != "goal"} | {"knowledge": "white-box"}
        ],
        "flags": [
            {"flag": "masked", "where": "mine, FGSM", "detail": "own", "remedy": "r"},
            {"flag": "masked", "where": "mine-2, FGSM", "detail": "other"},
            {"flag": "data", "where": "test images", "detail": "all"},
        ],
    }
    arrays = {}
    for key, shift in (("mine-fgsm", 0), ("mine-2-fgsm", 1)):
        arrays[f"{key}/index"] = np.arange(8)
        arrays[f"{key}/clean_ok"] = clean
        arrays[f"{key}/ok"] = np.roll(ok, shift) & clean
    return results, arrays


def test_numbers_are_those_of_the_results():
    results, arrays = measured()
    found = model_card.card(CONFIG, (results, arrays), name="mine")
    (threat,) = threat_models(results)
    worst = robustness(results, arrays, "mine", threat)
    (each,) = found["robustness"]
    assert each["accuracy"] == worst.accuracy == 5 / 8
    assert each["interval"] == list(wilson(5, 8)) and each["num_examples"] == 8
    assert each["clean_accuracy"] == 7 / 8 and each["attacks"] == ["FGSM"]
    assert found["clean"]["accuracy"] == 0.9
    assert found["clean"]["interval"] == list(wilson(324, 360))
    assert [flag["detail"] for flag in found["flags"]] == ["own", "all"]
    assert found["data"]["note"] == "A note of the data."
    text = model_card.to_markdown(found)
    for told in ("62.5", "30.6–86.3", "90.0 %", "L∞ 0.1", "own", "A note of", "87.5"):
        assert told in text, told
    assert "upper bound" in text and "not measured" not in text


@pytest.mark.parametrize("results", [None, measured("d" * 64)])
def test_what_was_not_measured_is_said(results):
    found = model_card.card(CONFIG, results, name="mine")
    assert found["robustness"] == [] == found["flags"]
    assert found["limits"][0].startswith("Robustness was not measured")
    assert "Robustness was not measured" in model_card.to_markdown(found)


def test_it_says_how_the_model_was_made():
    found = model_card.card(CONFIG, name="mine")
    assert found["model"]["parameters"] == 12345
    recipe = found["training"]["recipe"]
    assert recipe["seed"] == 5 and recipe["adv_data"] == {"set": "9" * 64}
    assert found["training"]["command"] == "bin/train --model=small_cnn --seed=5"
    assert found["model"]["adapted_from"]["sources"] == ["elsewhere"]
    text = model_card.to_markdown(found)
    told = ("small_cnn", "12,345", "PGD adversarial training", "optimizer: `sgd`")
    told += ("c" * 40, "f" * 64, "tensorflow 2.21.0", "zero, one", "serving_default")
    for each in (*told, "[None, 8, 8, 3]", "adv.load_model", "of `elsewhere`"):
        assert each in text, each
    assert "color" not in text


def test_files_come_back_and_do_not_vary():
    found = model_card.card(CONFIG, measured(), name="mine")
    files = model_card.rendered(found)
    assert tuple(files) == model_card.NAMES
    assert json.loads(files["model_card.json"]) == found
    assert files["model_card.md"].decode() == model_card.to_markdown(found)
    again = copy.deepcopy(CONFIG) | {"seconds": 99, "image_shape": [8, 8, 3]}
    again["command"] = "bin/train --model=small_cnn --seed=5"
    assert model_card.rendered(model_card.card(again, measured(), name="mine")) == files


def test_behind_transformations_it_is_another_model():
    found = model_card.card(
        CONFIG, measured(), name="mine", transforms="bit_depth:bits=3"
    )
    assert found["clean"] is None and found["robustness"] == []
    assert found["model"]["weights_sha256"] is None
    text = model_card.to_markdown(found)
    assert "`bit_depth:bits=3`" in text and "Clean accuracy was not measured." in text
