"""`evaluate` and `compare` against crafting and counting by hand."""

import inspect

import keras
import numpy as np
import pytest

import tf_advdefense as adv
from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.commands import names
from tf_advdefense.evaluation import evaluate as one_call
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation import suites
from tf_advdefense.evaluation.statistics import mcnemar
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.evaluation.threat_models import ThreatModel

SHAPE = (6, 6, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (24, *SHAPE), np.uint8)
SUITE = ["fgsm", "bim"]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(4)],
        name="mine",
    )


@pytest.fixture(scope="module")
def labels(model):
    labels = model(IMAGES / np.float32(255)).numpy().argmax(1)
    labels[::6] = (labels[::6] + 1) % 4
    return labels


def by_hand(model, labels, eps):
    """Right when clean, and under each attack of the suite."""
    found = [
        craft(model, make_attack(name, eps=eps), IMAGES, labels, batch_size=24)
        for name in SUITE
    ]
    clean = found[0]["clean_prediction"] == labels
    return clean, clean & np.all([f["prediction"] == labels for f in found], axis=0)


def test_a_verdict_is_what_is_counted_by_hand(model, labels, capsys):
    result = adv.evaluate(model, IMAGES, labels, SUITE, eps=["2/255", 8 / 255])
    clean, robust = by_hand(model, labels, 2 / 255)
    assert 0 < robust.sum() < clean.sum() < 24
    assert result.robust_accuracy == (
        robust.mean(),
        wilson(int(robust.sum()), 24),
        24,
    )
    assert result.clean_accuracy.value == clean.mean() == 20 / 24
    first, second = result.robust_accuracies.items()
    assert first == (ThreatModel("inf", 2 / 255), result.robust_accuracy)
    assert second[1].value == by_hand(model, labels, 8 / 255)[1].mean()
    printed = capsys.readouterr().out
    percent = f"{100 * robust.mean():.1f} %"
    assert "24 images mine classifies 83.3 % correctly; under FGSM and BIM" in printed
    assert percent in printed and percent in str(result) and percent in repr(result)
    assert "Nothing is kept" in printed
    (flag,) = result.flags
    assert flag["flag"] == "untrained model" and flag["detail"] in printed


def test_it_holds_the_arrays_and_makes_tables(model, labels):
    result = adv.evaluate(model, IMAGES, labels, SUITE, eps="2/255", verbose=False)
    (fgsm,) = (r for r in result.records if r["attack"] == "fgsm")
    assert result.per_example[f"{fgsm['key']}/ok"].sum() == fgsm["correct"]
    lines = str(result.table()).splitlines()
    assert len(lines) == 4 and lines[2].split()[:3] == ["FGSM", "L∞", "2/255"]
    assert f"{100 * fgsm['accuracy']:.1f}" in lines[2]
    html = result._repr_html_()
    assert html.count("<tr>") == 4 and "<td>FGSM</td>" in html


def test_names_are_escaped_in_a_notebook(labels):
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    result = adv.evaluate(
        model, IMAGES, labels, "fgsm", name="<b>&", verbose=False, num_examples=4
    )
    html = result._repr_html_()
    assert "<b>" not in html and "&lt;b&gt;&amp;" in html


def test_a_second_call_measures_nothing(model, labels, tmp_path, capsys):
    given = dict(attacks=SUITE, eps=2 / 255, output_dir=tmp_path)
    first = adv.evaluate(model, IMAGES, labels, **given)
    assert "3 measurements" in capsys.readouterr().out
    second = adv.evaluate(model, IMAGES, labels, **given)
    assert "Everything is measured already." in capsys.readouterr().out
    assert second.survey.results == first.survey.results
    page = second.save(tmp_path / "report")
    assert "mine" in page.read_text()
    stored, arrays = records.load_results(tmp_path / "report")
    assert stored["threat_models"][0]["eps_text"] == "2/255"
    assert set(arrays) == set(second.per_example)


def test_attacks_and_data_sets_are_taken_as_they_are(model, labels):
    attack = make_attack("fgsm", eps=0.25)
    result = adv.evaluate(model, IMAGES, labels, [attack], verbose=False)
    assert [t.eps_text for t in result.threat_models] == ["0.25"]
    assert adv.evaluate(
        model, IMAGES, labels, attack, verbose=False
    ).robust_accuracy == (result.robust_accuracy)
    # The smallest norm that fools answers every radius.
    found = adv.evaluate(model, IMAGES, labels, "deepfool", eps=[0, 9], verbose=False)
    shares = [share.value for share in found.robust_accuracies.values()]
    assert shares == [20 / 24, 0]


def test_differences_are_paired(model, labels):
    keras.utils.set_random_seed(4)
    other = keras.models.clone_model(model)
    noise = np.random.default_rng(1).normal(0, 0.02, model.weights[0].shape)
    other.set_weights([model.get_weights()[0] + noise, model.get_weights()[1]])
    models = {"one": model, "other": other}
    result = adv.compare(models, IMAGES, labels, SUITE, eps="2/255", verbose=False)
    masks = [by_hand(each, labels, 2 / 255) for each in models.values()]
    for found, which in zip(result.differences, (0, 1)):
        one, second = masks[0][which], masks[1][which]
        only = int((one & ~second).sum()), int((second & ~one).sum())
        assert (found.pair.only_first, found.pair.only_second) == only
        assert found.pair.p == mcnemar(*only)
        assert found.pair.gain == pytest.approx(one.mean() - second.mean())
    clean, robust = result.differences
    assert clean.threat is None and robust.threat.eps_text == "2/255"
    assert result["other"].robust_accuracy.value == masks[1][1].mean()
    assert "one - other" in str(result)


def test_the_entry_of_a_leaderboard_has_its_keys(model, labels):
    result = adv.evaluate(
        model,
        IMAGES,
        labels,
        [make_attack("autoattack", n_iter=4, n_queries=20)],
        verbose=False,
    )
    entry = result.robustbench_json(link="https://example.org", authors="A")
    accuracy = f"{100 * result.robust_accuracy.value:.2f}"
    assert entry["autoattack_acc"] == entry["reported"] == accuracy
    assert entry["clean_acc"] == "83.33" and entry["eps"] == "8/255"
    assert entry["link"] == "https://example.org" and entry["venue"] is None
    assert {"name", "dataset", "architecture", "number_forward_passes"} < set(entry)


def test_a_benchmark_is_autoattack_on_a_named_set(monkeypatch):
    default = inspect.signature(adv.evaluate).parameters["attacks"].default
    assert default == "standard"
    called = {}
    monkeypatch.setattr(
        one_call, "evaluate", lambda *given, **named: called.update(named, at=given)
    )
    adv.benchmark("mine.keras", "mnist", threat_model="L2", eps=2, n_examples=5)
    assert called == {
        "at": ("mine.keras", "mnist"),
        "norm": "L2",
        "eps": 2,
        "num_examples": 5,
    }


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"labels": None}, "`labels` are needed"),
        ({"norm": "linf"}, "`norm` must be one of Linf, L2, L1, L0"),
        ({"attacks": "pdg"}, "Did you mean 'pgd'"),
        ({"attacks": []}, "must name a suite"),
        ({"eps": "8/0"}, "a fraction such as 8/255"),
        ({"eps": 8}, r"`eps` must be in \[0, 1\]"),
        ({"images": IMAGES[..., :1]}, r"the images are \[6, 6, 1\]"),
    ],
)
def test_errors_are_one_line(model, labels, given, expected):
    given = {"images": IMAGES, "labels": labels, "attacks": "fgsm", **given}
    with pytest.raises(ValueError, match=expected) as error:
        adv.evaluate(model, verbose=False, **given)
    assert "\n" not in str(error.value)


# === Suites ===


@pytest.mark.quick
def test_suites_are_known_without_tensorflow():
    assert tuple(suites.SUITES) == names.SUITES


@pytest.mark.quick
def test_what_is_named_is_run_in_every_ball_it_can():
    threats = [one_call.threat("Linf", "8/255"), one_call.threat("L2", 0.5)]
    found = suites.chosen(["pgd", "cw", "sparse_l1"], threats, IMAGES)
    assert [(text, a.name, a.norm, a.eps) for text, a in found] == [
        ("8/255", "pgd", np.inf, 8 / 255),
        ("0.5", "pgd", 2, 0.5),
        (None, "cw", 2, None),
        ("10", "sparse_l1", 1, 10.0),
    ]
    steps = found[1][1].hyper
    assert steps.eps_iter * steps.nb_iter >= 0.5
    assert found[2][1].hyper.max_iterations == 200
    (_, full), *_ = suites.chosen("cw", threats, IMAGES, full=True)
    assert full.hyper.max_iterations == 1000
    arguments = {"nb_iter": 7, "max_iterations": 9}
    found = suites.chosen(["pgd", "cw"], threats, IMAGES, arguments=arguments)
    assert [getattr(a.hyper, "nb_iter", None) for _, a in found] == [7, 7, None]
    assert found[2][1].hyper.max_iterations == 9
    for wrong in ("decay_factor", "eps"):
        with pytest.raises(ValueError, match="`attack_args` must name"):
            suites.chosen(["pgd"], threats, IMAGES, arguments={wrong: 1.0})
