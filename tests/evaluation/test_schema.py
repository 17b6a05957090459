"""The JSON Schema of results: complete, true of what was and is written, and strict."""

import copy
import dataclasses
import json
import pathlib

import jsonschema
import keras
import numpy as np
import pytest

import tf_advdefense as adv
from tf_advdefense.evaluation import records
from tf_advdefense.evaluation.placement import Network
from tf_advdefense.evaluation.placement import Placement
from tf_advdefense.evaluation.threat_models import ThreatModel

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATH = ROOT / "tf_advdefense" / "evaluation" / "results.schema.json"
SCHEMA = json.loads(PATH.read_text(encoding="utf-8"))
COMMITTED = sorted((ROOT / "docs" / "results").rglob("results.json"))


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """What `evaluate` writes of a small model, clean and under two kinds of attack."""
    keras.utils.set_random_seed(4)
    layers = [keras.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = keras.Sequential(layers, name="mine")
    images = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 3), np.uint8)
    attacks = ["fgsm", adv.make_attack("autoattack", n_iter=2, n_queries=4), "deepfool"]
    labels = model(images / np.float32(255)).numpy().argmax(1)
    result = adv.evaluate(model, images, labels, attacks, verbose=False)
    directory = tmp_path_factory.mktemp("fresh")
    found = result.survey
    records.save_results(directory, found.results, found.per_example)
    return json.loads((directory / "results.json").read_text())


@pytest.mark.quick
@pytest.mark.parametrize(
    "name, fields",
    [
        (None, records.Results.__annotations__),
        ("model", records.Model.__annotations__),
        ("record", records.Record.__annotations__),
        ("signs", records.Signs.__annotations__),
        ("flag", records.Flag.__annotations__),
        ("placement", Placement.__annotations__),
        ("network", Network.__annotations__),
        ("threat_model", [f.name for f in dataclasses.fields(ThreatModel)]),
    ],
)
def test_it_has_the_very_fields_of_the_code(name, fields):
    part = SCHEMA if name is None else SCHEMA["$defs"][name]
    assert list(part["properties"]) == list(fields)
    assert part["additionalProperties"] is False
    if name in ("model", "record"):
        assert part["required"] == list(fields)


def test_it_is_of_todays_format():
    assert SCHEMA["properties"]["format"]["const"] == records.FORMAT
    assert len(COMMITTED) >= 6


@pytest.mark.quick
@pytest.mark.parametrize(
    "path", COMMITTED, ids=lambda path: str(path.parent.relative_to(ROOT))
)
def test_committed_results_satisfy_it(path, validator):
    results, _ = records.load_results(path.parent)
    validator.validate(results)


def test_fresh_results_satisfy_it(fresh, validator):
    validator.validate(fresh)
    assert {r["attack"] for r in fresh["records"]} == {
        *("clean", "fgsm", "autoattack", "deepfool")
    }
    assert set(fresh) == set(SCHEMA["properties"])


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(format=4),
        lambda r: r.update(more=1),
        lambda r: r["records"][0].pop("signs"),
        lambda r: r["records"][0].update(accuracy=87.3),
        lambda r: r["records"][1].update(norm="Linf"),
        lambda r: r["records"][1].update(setting="whitebox"),
        lambda r: r["records"][1]["signs"].update(guess=1),
        lambda r: r["models"]["mine"].update(weights_sha256=None),
        lambda r: r["threat_models"][0].update(eps="8/255"),
    ],
)
def test_what_is_wrong_is_refused(change, fresh, validator):
    changed = copy.deepcopy(fresh)
    change(changed)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(changed)
