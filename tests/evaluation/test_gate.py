"""The gate: its decision from counts, and end to end on a small model."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest

import tf_advdefense as adv
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.baselines import read_baseline
from tf_advdefense.evaluation.gate import Limits
from tf_advdefense.evaluation.gate import decide
from tf_advdefense.evaluation.repetition import rebuilt
from tf_advdefense.evaluation.statistics import wilson

SHAPE = (6, 6, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (64, *SHAPE), np.uint8)
SUITE = [
    adv.make_attack("pgd", eps=2 / 255, nb_iter=3, rand_init=True, loss="margin"),
    adv.make_attack("fgsm", eps=2 / 255),
    adv.make_attack("fgsm", eps=1 / 255),
    "deepfool",
]


def masks(lost, gained, both, neither):
    """{index: right?} of a baseline and a model with these counts."""
    one = [True] * lost + [False] * gained + [True] * both + [False] * neither
    two = [False] * lost + [True] * gained + [True] * both + [False] * neither
    return dict(enumerate(one)), dict(enumerate(two))


def decided(lost, gained, both=100, neither=100, **limits):
    return decide(*masks(lost, gained, both, neither), Limits(**limits))


# === Decisions ===


@pytest.mark.quick
def test_it_fails_what_dropped_more_than_allowed_and_beyond_chance():
    assert decided(3, 2).passed
    assert not decided(30, 2).passed
    assert decided(6, 1).passed  # 2.4 points, p = 0.06
    assert "more than 2 points but not beyond chance" in decided(6, 1).line
    assert decided(30, 2, max_drop=13).passed  # beyond chance, but 12.1 points


@pytest.mark.quick
def test_it_fails_what_is_below_the_least():
    passed = decided(0, 0, both=45, neither=55, min_robust=40)
    failed = decided(0, 0, both=45, neither=55, min_robust=60)
    close = decided(0, 0, both=45, neither=55, min_robust=46)
    assert [passed.passed, failed.passed, close.passed] == [True, False, False]
    low, high = (f"{100 * bound:.1f}" for bound in wilson(45, 100))
    assert f"({low}–{high}) excludes" in failed.line
    assert "below the 46 %" in close.line and "includes" in close.line
    assert decided(0, 0, both=40, neither=60, min_robust=40).passed


@pytest.mark.quick
def test_clean_accuracy_is_told_and_judged_on_demand():
    robust, clean = masks(0, 0, 50, 50), masks(40, 2, 50, 8)
    told = decide(*robust, Limits(), clean=clean)
    judged = decide(*robust, Limits(max_clean_drop=5), clean=clean)
    assert told.passed and not judged.passed
    assert "clean accuracy 90.0 % -> 52.0 % (−38.0 points, 40 lost : 2" in told.line
    assert [c.passed for c in judged.criteria] == [True, False]


@pytest.mark.quick
def test_the_line_says_its_error_rates():
    result = decided(13, 3, both=100, neither=140)
    assert "\n" not in result.line and result.line.startswith("pass: ") is result.passed
    assert result.pair.n == 256 and result.rates.swapped == 16 / 256
    assert 0 < result.rates.equal < 0.05 and 0 < result.rates.missed < 1
    assert "44.1 % -> 40.2 % (−3.9 points, 13 lost : 3 won of 256 images" in result.line
    assert f"misses a drop of 5 points in {100 * result.rates.missed:.1f} %" in (
        result.line
    )
    assert f"finds one of {result.rates.found:g} in 90 %" in result.line


@pytest.mark.quick
def test_a_wider_bound_never_fails_more():
    each = [decided(20, 4, max_drop=m).passed for m in range(20)]
    assert each == sorted(each) and not each[0] and each[-1]


@pytest.mark.quick
@pytest.mark.parametrize("name", ["max_drop", "min_robust", "max_clean_drop"])
def test_limits_are_points(name):
    for value in (-1, 100, float("nan")):
        with pytest.raises(ValueError, match=f"`{name}` is in percentage points"):
            Limits(**{name: value})


# === End to end ===


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(4)
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(4)]
    return keras.Sequential(layers, name="mine")


@pytest.fixture(scope="module")
def labels(model):
    return model(IMAGES / np.float32(255)).numpy().argmax(1)


def noised(model, scale):
    keras.utils.set_random_seed(4)
    other = keras.models.clone_model(model)
    kernel, bias = model.get_weights()
    noise = np.random.default_rng(1).normal(0, scale, kernel.shape)
    other.set_weights([kernel + noise, bias])
    return other


@pytest.fixture(scope="module")
def baseline(model, labels, tmp_path_factory):
    """The directory of a report on the model, of 60 images in batches of 32, seed 7."""
    result = adv.evaluate(
        model,
        IMAGES,
        labels,
        SUITE,
        eps="2/255",
        num_examples=60,
        batch_size=32,
        seed=7,
        verbose=False,
    )
    directory = tmp_path_factory.mktemp("baseline")
    records.save_results(directory, result.survey.results, result.survey.per_example)
    return directory


def test_an_equal_model_passes(model, labels, baseline, tmp_path, capsys):
    given = {"images": IMAGES, "labels": labels, "output_dir": tmp_path}
    result = adv.gate(model, baseline / "results.json", **given)
    assert result.passed and (result.pair.only_first, result.pair.only_second) == (0, 0)
    assert result.pair.n == 60 and result.clean.n == 64
    assert result.line in capsys.readouterr().out
    again = adv.gate(model, baseline, **given)
    assert "Everything is measured already." in capsys.readouterr().out
    assert again == result


def test_a_noised_model_fails(model, labels, baseline):
    given = {"images": IMAGES, "labels": labels, "verbose": False}
    result = adv.gate(noised(model, 0.2), baseline, **given)
    assert not result.passed and result.line.startswith("fail: ")
    assert "beyond chance" in result.line
    assert not adv.gate(model, baseline, min_robust=99, **given).passed


def test_an_evaluation_is_a_baseline(model, labels):
    found = adv.evaluate(model, IMAGES, labels, "fgsm", eps="1/255", verbose=False)
    given = {"images": IMAGES, "labels": labels, "verbose": False}
    result = adv.gate(model, found, name="new", **given)
    assert result.pair.correct == (found.under(found.threat_models[0]).correct,) * 2


def test_the_attacks_are_the_baselines(baseline):
    found = read_baseline(baseline, "mine")
    assert found.threat.eps == pytest.approx(2 / 255)
    assert [rebuilt(record) for record in found.attacked] == SUITE[:2]
    assert found.settings == {"seed": 7, "batch_size": 32}
    assert len(found.robust) == 60 and len(found.clean) == 64
    results, arrays = records.load_results(baseline)
    own = [r for r in results["records"] if r["eps"] == found.attacked[0]["eps"]]
    both = np.all([arrays[f"{r['key']}/ok"] for r in own], axis=0)
    assert sum(found.robust.values()) == both.sum()


def test_other_images_are_refused(model, labels, baseline):
    with pytest.raises(ValueError, match="needs the baseline's data set") as error:
        adv.gate(model, baseline, images=IMAGES[::-1], labels=labels, verbose=False)
    assert "\n" not in str(error.value)


def test_of_several_models_one_is_named(baseline, tmp_path):
    results, arrays = records.load_results(baseline)
    results["models"]["other"] = dict(results["models"]["mine"])
    records.save_results(tmp_path, results, arrays)
    with pytest.raises(ValueError, match="one of mine, other. Received: none."):
        read_baseline(tmp_path)
    with pytest.raises(ValueError, match="mine, other. Received: baseline_model=no"):
        read_baseline(tmp_path, "no")
    with pytest.raises(ValueError, match="results without those of other"):
        read_baseline(tmp_path, "other")
    assert read_baseline(tmp_path, "mine").name == "mine"


def test_what_is_no_baseline(baseline, tmp_path):
    with pytest.raises(FileNotFoundError, match="Make it with `compare`"):
        read_baseline(tmp_path / "results.json")
    shutil.copy(baseline / "results.json", tmp_path)
    with pytest.raises(ValueError, match="per_example.npz is missing"):
        read_baseline(tmp_path)
    found = read_baseline(baseline)
    disjoint = {index + 1000: ok for index, ok in found.robust.items()}
    with pytest.raises(ValueError, match="none in common"):
        decide(disjoint, dataclasses.replace(found).robust, Limits())
