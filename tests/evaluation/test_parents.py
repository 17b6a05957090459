"""A deployed model beside its parent, against crafting and counting by hand."""

import dataclasses

import keras
import numpy as np
import pytest
import small_models
import tflite_files

import tf_advdefense as adv
from tf_advdefense.attacks import make_attack
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.datasets.arrays import from_arrays
from tf_advdefense.evaluation import last_crafted
from tf_advdefense.evaluation import parents
from tf_advdefense.evaluation.plan import plan
from tf_advdefense.evaluation.survey import survey
from tf_advdefense.evaluation.targets import target_of_model
from tf_advdefense.reporting.contents import build_report
from tf_advdefense.reporting.deployed import agreement
from tf_advdefense.reporting.markdown import render

EPS = 0.02
IMAGES = (255 * tflite_files.images(24)).round().astype(np.uint8)
ATTACKS = [make_attack("fgsm", eps=EPS), small_models.within_budget("square", eps=EPS)]

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*Interpreter is deprecated", "ignore:Statistics for quantized inputs"
)


@pytest.fixture(scope="module")
def parent():
    model = tflite_files.classifier()
    return keras.Model(model.inputs[0], model.outputs[0], name="parent")


@pytest.fixture(scope="module")
def labels(parent):
    labels = small_models.classes(parent, IMAGES / np.float32(255))
    labels[::6] = (labels[::6] + 1) % small_models.CLASSES
    return labels


@pytest.fixture(scope="module")
def path(parent, tmp_path_factory):
    """Rougher than eight bits alone make so small a model: the two must disagree."""
    rough = keras.models.clone_model(parent)
    rough.set_weights([np.round(8 * each) / 8 for each in parent.get_weights()])
    content = tflite_files.converted(rough, "int8 inside")
    return tflite_files.written(tmp_path_factory.mktemp("lite") / "m.tflite", content)


@pytest.fixture(scope="module")
def found(parent, path, labels, tmp_path_factory):
    """The evaluation, and the directory that keeps it."""
    outputs = tmp_path_factory.mktemp("outputs")
    given = {"parent": parent, "output_dir": outputs, "verbose": False}
    return adv.evaluate(path, IMAGES, labels, ATTACKS, **given), outputs


def predicted(path, images):
    raw, _, _ = tflite_files.invoked(path, images)
    return raw.argmax(1)


@pytest.fixture(scope="module")
def by_hand(parent, path, labels):
    """Of the examples crafted on the parent: both models' classes before and after."""
    examples = craft(parent, ATTACKS[0], IMAGES, labels, batch_size=24)
    own = examples["clean_prediction"], examples["prediction"]
    clean = predicted(path, IMAGES / np.float32(255))
    return own, (clean, predicted(path, examples["image"]))


def record(result, attack, setting):
    (one,) = (
        r for r in result.records if (r["attack"], r["setting"]) == (attack, setting)
    )
    return one


def test_transfer_is_crafting_on_the_parent_and_asking_the_interpreter(
    found, by_hand, labels
):
    result, _ = found
    own, (clean, attacked) = by_hand
    ok = (clean == labels) & (attacked == labels)
    one = record(result, "fgsm", "transfer")
    assert (one["source"], one["access"]) == ("parent", "gradients")
    assert 0 < one["correct"] == ok.sum() < one["clean_correct"]
    assert one["clean_correct"] == (clean == labels).sum()
    np.testing.assert_array_equal(result.per_example[f"{one['key']}/ok"], ok)
    assert one["signs"] == {
        "alike_clean": (clean == own[0]).sum(),
        "alike": (attacked == own[1]).sum(),
    }
    assert one["backwards"] == 1 and one["signs"]["alike"] < 24
    assert one["signs"]["alike"] != one["signs"]["alike_clean"]


def test_the_parents_own_numbers_stand_beside(found, by_hand, labels):
    result, _ = found
    (clean, attacked), _ = by_hand
    beside = dataclasses.replace(result, name="parent")
    one = record(beside, "fgsm", "white-box")
    assert one["correct"] == ((clean == labels) & (attacked == labels)).sum()
    assert record(beside, "square", "white-box")["source"] == "parent"
    assert result.survey.results["models"]["m.tflite"]["num_params"] is None


def test_robust_is_what_withstands_transfer_and_queries(found):
    result, _ = found
    one, other = (
        result.per_example[f"{record(result, *which)['key']}/ok"]
        for which in (("fgsm", "transfer"), ("square", "white-box"))
    )
    assert not np.array_equal(one, other)
    assert result.robust_accuracy.value == np.mean(one & other)
    assert "FGSM and Square" in result.verdict


def test_transfer_alone_is_an_answer_and_said_to_be_no_more(
    parent, path, labels, by_hand
):
    result = adv.evaluate(
        path, IMAGES, labels, "fgsm", eps=EPS, parent=parent, verbose=False
    )
    _, (clean, attacked) = by_hand
    ok = (clean == labels) & (attacked == labels)
    assert result.robust_accuracy.value == ok.mean()
    assert f"it keeps {100 * ok.mean():.1f} %" in result.verdict
    assert "met no white-box attack, only transfer" in result.verdict
    beside = dataclasses.replace(result, name="parent")
    own = record(beside, "fgsm", "white-box")
    assert beside.robust_accuracy.value == own["accuracy"]


def test_a_set_of_the_parent_is_not_crafted_again_and_agreement_is_counted(
    parent, path, labels, by_hand, tmp_path
):
    data = from_arrays(IMAGES, labels, num_classes=small_models.CLASSES)
    own = target_of_model("parent", parent, data)
    made = adv.make_set(
        parent, ATTACKS[0], data, output_dir=tmp_path, batch_size=24, say=list
    )
    target = target_of_model("m.tflite", path, data)
    keys = []
    for models in (
        {"m.tflite": target},
        parents.with_parent({"m.tflite": target}, own),
    ):
        found = survey(models, data, [], [made], batch_size=24, say=list)
        (one,) = (r for r in found.results["records"] if r["setting"] == "transfer")
        keys.append(one["key"])
    predictions, (clean, attacked) = by_hand
    assert one["signs"] == {
        "alike_clean": (clean == predictions[0]).sum(),
        "alike": (attacked == predictions[1]).sum(),
    }
    assert len(set(keys)) == 2 and one["adv_set"] == made.name
    planned = plan(
        list(models.values()),
        [made],
        [(None, ATTACKS[0])],
        data,
        num_examples=24,
        few=24,
        batch_size=24,
    )
    assert not [m for m in planned if m.attack is not None]


def test_measured_once_and_crafted_once(found, parent, path, labels, monkeypatch):
    result, outputs = found
    crafted = []

    def counted(model, attack, *given, **settings):
        crafted.append(attack.name)
        return craft(model, attack, *given, **settings)

    monkeypatch.setattr(last_crafted, "craft", counted)
    given = {"parent": parent, "verbose": False}
    again = adv.evaluate(path, IMAGES, labels, ATTACKS, output_dir=outputs, **given)
    assert again.survey.results == result.survey.results and not crafted
    adv.evaluate(path, IMAGES, labels, ATTACKS, **given)
    # FGSM once for both models, Square on each.
    assert sorted(crafted) == ["fgsm", "square", "square"]


def test_what_the_terminal_and_the_page_say(parent, path, labels, capsys):
    given = {"parent": parent, "attacks": "fgsm", "eps": EPS}
    result = adv.evaluate(path, IMAGES, labels, **given)
    signs = record(result, "fgsm", "transfer")["signs"]
    clean, attacked = (
        f"{100 * signs[name] / 24:.1f} %" for name in ("alike_clean", "alike")
    )
    printed = capsys.readouterr().out
    assert (
        f"m.tflite agrees with its parent parent on {clean} of 24 clean images, on "
        f"{attacked} of them under fgsm 0.02." in printed
    )
    assert "m.tflite itself was not attacked" in printed
    assert "4 measurements to take, 1 of them white-box attacks" in printed
    page = render(build_report(result.survey.results, result.survey.per_example))
    assert f"`m.tflite` agrees with its parent `parent` on {clean} of 24" in page
    assert not agreement(
        adv.evaluate(parent, IMAGES, labels, "fgsm", verbose=False).records
    )


def test_both_models_are_part_of_a_measurements_identity(parent, path, labels):
    data = from_arrays(IMAGES, labels, num_classes=small_models.CLASSES)
    target = target_of_model("m.tflite", path, data)
    other = keras.models.clone_model(parent)
    keys = []
    for each in (parent, other):
        models = parents.with_parent(
            {"m.tflite": target}, target_of_model("parent", each, data)
        )
        planned = plan(
            list(models.values()),
            [],
            [(None, ATTACKS[0])],
            data,
            num_examples=24,
            few=24,
            batch_size=24,
        )
        (transfer,) = (m for m in planned if m.record["setting"] == "transfer")
        assert target.sha256 in transfer.identity.values()
        assert transfer.title == "fgsm of parent on m.tflite"
        assert transfer.examples_key in [m.key for m in planned]
        keys.append(transfer.key)
    assert len(set(keys)) == 2


def test_misplaced_parents_are_refused_in_one_line(parent, path, labels):
    def refused(message, model, **given):
        with pytest.raises(ValueError, match=message) as error:
            adv.evaluate(model, IMAGES, labels, "fgsm", verbose=False, **given)
        assert "\n" not in str(error.value)

    refused("`parent` goes with a deployed model", parent, parent=parent)
    refused("`parent` must have a gradient", path, parent=path)
    refused("Models need names of their own", path, parent=parent, name="parent")
    refused("Attack a TensorFlow Lite file by `square`", path)
