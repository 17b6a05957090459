"""Models from elsewhere in comparisons and sets: adapted, said, and recorded."""

import keras
import numpy as np
import pytest

from tf_advdefense.attacks import make_attack
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.evaluation.classifiers import classifier_of
from tf_advdefense.evaluation.crafted_sets import make_set
from tf_advdefense.evaluation.survey import survey
from tf_advdefense.training.parts import load_part

SHAPE = (6, 6, 3)
COUNT = 48


@pytest.fixture(scope="module")
def logits():
    """Centred, so that it classifies otherwise in any other range."""
    keras.utils.set_random_seed(4)
    images = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(keras.layers.Rescaling(8.0, -4.0)(images))
    return keras.Model(images, keras.layers.Dense(4)(flat))


@pytest.fixture(scope="module")
def data(logits):
    images = np.random.default_rng(0).integers(0, 256, (COUNT, *SHAPE), np.uint8)
    labels = np.argmax(logits(images / np.float32(255)), axis=1)
    split = Split(images, labels, np.arange(COUNT))
    return Dataset("shapes", tuple("abcd"), "f" * 64, split, split, split)


@pytest.fixture(scope="module")
def foreign(logits):
    """The same classes, as a Keras user saves them: [0, 255] to probabilities."""
    pixels = keras.Input(SHAPE)
    values = logits(keras.layers.Rescaling(1 / 255)(pixels))
    return keras.Model(pixels, keras.layers.Softmax()(values))


def test_a_comparison_says_and_records_it(logits, foreign, data, tmp_path):
    foreign.save(tmp_path / "foreign.keras")
    said = []
    result = survey(
        {"logits": logits, "foreign": tmp_path / "foreign.keras"},
        data,
        [("8/255", make_attack("fgsm")), ("8/255", make_attack("pgd", nb_iter=3))],
        batch_size=16,
        say=said.append,
    ).results
    notes = [
        "its softmax was removed",
        f"it takes images in [0, 255]: {COUNT} of {COUNT} are right there, ",
    ]
    assert said[0].startswith(f"foreign: {', '.join(notes)}")
    recorded = result["models"]["foreign"]["adapted"]
    assert recorded[0] == notes[0] and recorded[1].startswith(notes[1])
    assert result["models"]["logits"]["adapted"] == []
    correct = {(r["target"], r["attack"]): r["correct"] for r in result["records"]}
    for attack in ("clean", "fgsm", "pgd"):
        assert correct["foreign", attack] == correct["logits", attack], attack
    assert 0 < correct["logits", "fgsm"] < COUNT == correct["logits", "clean"]


def test_a_set_says_and_records_it(foreign, data, tmp_path):
    said = []
    adv_set = make_set(
        foreign, "fgsm", data, output_dir=tmp_path, batch_size=16, say=said.append
    )
    assert "its softmax was removed" in said[0]
    assert adv_set.config["request"]["source_adapted"][0] == "its softmax was removed"
    assert adv_set.config["clean_correct"] == COUNT


def test_what_cannot_be_adapted_stands_with_the_results(logits, data):
    ends = keras.Model(
        logits.inputs[0], keras.layers.ReLU(name="end")(logits.outputs[0])
    )
    said = []
    result = survey({"relu": ends}, data, say=said.append, batch_size=16).results
    (warning,) = result["models"]["relu"]["warnings"]
    assert "never negative" in warning
    assert said[0] == f"relu: warning: {warning}"


def test_a_teacher_is_adapted_too(foreign, data, logits, tmp_path):
    part = load_part(foreign, data, tmp_path)
    clean = data.test.images / np.float32(255)
    np.testing.assert_allclose(part.model(clean), logits(clean), rtol=1e-4, atol=1e-4)


def test_a_given_range_is_not_looked_for(foreign, data):
    adapted = classifier_of(foreign, data, "mine", input_range=(0, 255))
    assert adapted.notes[-1] == "it takes images in [0, 255]"
