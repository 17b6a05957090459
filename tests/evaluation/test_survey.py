"""Comparison: who plays which part, and what makes a measurement itself."""

import dataclasses
import pathlib

import keras
import numpy as np
import pytest

from tf_advdefense import attacks
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import adversarial_shards
from tf_advdefense.artifacts import claims
from tf_advdefense.artifacts import identity
from tf_advdefense.attacks.core.craft import craft
from tf_advdefense.datasets import Dataset
from tf_advdefense.datasets import Split
from tf_advdefense.datasets import load
from tf_advdefense.evaluation import attack_facts
from tf_advdefense.evaluation import plan as planning
from tf_advdefense.evaluation import records as results
from tf_advdefense.evaluation import scoring as evaluation
from tf_advdefense.evaluation import taking
from tf_advdefense.evaluation import targets as comparison
from tf_advdefense.evaluation.crafted_sets import make_set
from tf_advdefense.evaluation.looks import Looks
from tf_advdefense.evaluation.measurements import clean_images
from tf_advdefense.evaluation.survey import survey
from tf_advdefense.reporting import formats

SHAPE = (6, 6, 3)


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).integers(0, 256, (20, *SHAPE), np.uint8)
    split = Split(images, np.arange(20) % 4, np.arange(200, 220))
    return Dataset("shapes", tuple("abcd"), "f" * 64, split, split, split)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(4)]
    )


CHOSEN = (("8/255", attacks.make_attack("fgsm")),)


@pytest.mark.parametrize(
    "name, eps, given, step",
    [
        ("pgd", 8 / 255, {}, 2 / 255),  # 20 steps of 2/255 cross the ball
        ("pgd", 0.3, {}, 2.5 * 0.3 / 20),
        ("pgd", 0.3, {"eps_iter": 0.01}, 0.01),  # as it was asked for
        ("fgsm", 0.3, {}, None),
    ],
)
def test_steps_reach_the_surface_of_the_ball(name, eps, given, step):
    attack = attack_facts.at_radius(attacks.make_attack(name, **given), eps)
    assert attack.eps == eps
    assert attack.hyper._asdict().get("eps_iter") == step


def target(name="a", sha256="1" * 64):
    return comparison.Target(name, pathlib.Path(name), sha256, {})


def adv_set(name="a-fgsm-test", source_sha256="1" * 64, digest="0", **request):
    request = {
        "source": "a",
        "source_sha256": source_sha256,
        "attack": "fgsm",
        "norm": "inf",
        "goal": "fixed-eps",
        "access": "gradients",
        "params": {"eps": 0.3, "norm": "inf"},
        "eps_text": "0.3",
        "split": "test",
        "targeted": False,
        "target": None,
        "store": "float32",
        "dataset_fingerprint": "f",
        **request,
    }
    config = {"request": request, "num_examples": 12, "files": {"shard": digest}}
    return adversarial_sets.AdversarialSet(name, pathlib.Path(name), config)


def plan(
    data,
    targets=None,
    sets=(),
    chosen=CHOSEN,
    **settings,
):
    settings = {"num_examples": 10, "few": 5, "batch_size": 4, **settings}
    return planning.plan(
        targets or [target()], list(sets), list(chosen), data, **settings
    )


def keys(*arguments, **settings):
    return [m.key for m in plan(*arguments, **settings)]


# === Roles ===


def test_roles_of_the_papers_comparison():
    models = {
        "resnet50": {"model": "resnet50", "defense": "none"},
        "resnet50-control": {"model": "resnet50", "defense": "none"},
        "resnet50-adversarial": {"model": "resnet50", "defense": "adversarial"},
        "resnet50-ensemble": {"model": "resnet50", "defense": "ensemble"},
        "alexnet": {"model": "alexnet", "defense": "none"},
    }
    roles = dict.fromkeys(models, "target") | {
        "resnet50-control": "control",
        "alexnet": "source",
    }
    assert comparison.roles(models, {"resnet50", "alexnet"}) == roles
    assert comparison.roles(dict(reversed(models.items())), {"resnet50"}) == roles
    # Without sets the first undefended network is the one that others compare with.
    assert comparison.roles(models, set()) == roles


def test_models_alone_are_targets():
    models = {name: {"model": name, "defense": "none"} for name in ("resnet50", "vgg")}
    roles = comparison.roles(models, {"resnet50", "vgg"})
    assert roles == dict.fromkeys(models, "target")


# === The plan ===


def test_every_target_meets_every_condition(data):
    targets = [target("a"), target("b", "2" * 64)]
    chosen = [("8/255", attacks.make_attack("fgsm")), (None, attacks.make_attack("cw"))]
    measurements = plan(data, targets, [adv_set()], chosen)
    assert [
        (m.target.name, m.record["attack"], m.record["setting"], m.num_examples)
        for m in measurements
    ] == [
        ("a", "clean", "clean", 20),
        ("a", "fgsm", "white-box", 12),
        ("a", "fgsm", "white-box", 10),
        ("a", "cw", "white-box", 5),
        ("b", "clean", "clean", 20),
        ("b", "fgsm", "transfer", 12),
        ("b", "fgsm", "white-box", 10),
        ("b", "cw", "white-box", 5),
    ]
    assert len({m.key for m in measurements}) == len(measurements)
    assert measurements[-1].title == "cw on b"
    assert measurements[-2].title == "fgsm 8/255 on b"


def test_no_more_examples_than_there_are(data):
    assert [m.num_examples for m in plan(data, num_examples=1000)] == [20, 20]


def test_a_copy_of_the_source_is_white_box(data):
    """What counts is the weights, not the name."""
    copy = plan(data, [target("copy")], [adv_set()])[1]
    assert copy.record["setting"] == "white-box"
    retrained = plan(data, [target("a", "9" * 64)], [adv_set()])[1]
    assert retrained.record["setting"] == "transfer"
    assert retrained.record["source"] == "a"


def test_keys_are_stable(data):
    sets = [adv_set()]
    assert keys(data, sets=sets) == keys(data, sets=sets)
    # Results on disk are found by them: a new form would measure everything again.
    assert keys(data, sets=sets) == [
        "a-clean-clean-f5a9ddab",
        "a-fgsm-0.3-a-white-box-faf73def",
        "a-fgsm-8_255-a-white-box-7ed6f216",
    ]
    distilled = dataclasses.replace(target("b"), temperature=20.0, masked=True)
    chosen = [("0.2", attacks.make_attack("pgd"))]
    assert keys(data, targets=[distilled], chosen=chosen)[1:] == [
        "b-pgd-0.2-b-white-box-5787610e",
        "b-pgd-0.2-b-oblivious-5787610e",
    ]


@pytest.mark.parametrize(
    "change, kept",
    [
        ({"targets": [target("a", "2" * 64)]}, []),
        ({"num_examples": 9}, [0, 1]),
        ({"batch_size": 5}, [0, 1]),
        ({"seed": 1}, [0, 1]),
        ({"chosen": [("8/255", attacks.make_attack("fgsm", eps=0.1))]}, [0, 1]),
        ({"sets": [adv_set(digest="1")]}, [0, 2]),
    ],
)
def test_keys_change_with_all_that_changes_the_outcome(data, change, kept):
    before = keys(data, sets=[adv_set()])
    after = keys(data, **{"sets": [adv_set()], **change})
    assert [i for i, key in enumerate(before) if key == after[i]] == kept


def test_keys_change_with_the_data(data):
    other = dataclasses.replace(data, fingerprint="e" * 64)
    assert not set(keys(data)) & set(keys(other))


def test_a_targeted_set_is_another_attack(data):
    _, plain, targeted, _ = plan(
        data, sets=[adv_set(), adv_set("b", digest="1", targeted=True, target="random")]
    )
    assert "target" not in plain.record["params"]
    assert targeted.record["params"] == {**plain.record["params"], "target": "random"}


def test_hyperparameters_are_json(data):
    attack = attacks.make_attack("pgd", norm=np.inf)
    assert attack_facts.json_hyper(attack)["norm"] == "inf"
    assert [attack_facts.norm_text(n) for n in (np.inf, 2, 1.0)] == ["inf", "2", "1"]
    for name, hyper, text in (("spatial", {}, None), ("noise", {"norm": 2}, "2")):
        norm = attacks.make_attack(name, **hyper).norm
        assert attack_facts.norm_text(norm) == text


# === Measuring ===


def write_set(output_dir, model, data, rows):
    """A set on disk of the given rows of the test split."""
    split = Split(
        *(a[rows] for a in (data.test.images, data.test.labels, data.test.index))
    )
    examples = craft(
        model,
        attacks.make_attack("fgsm", eps=0.1),
        split.images,
        split.labels,
        split.index,
        batch_size=8,
    )
    del examples["forwards"], examples["backwards"]
    directory = adversarial_sets.set_directory(output_dir, "s")
    claims.claim(directory, adv_set().config["request"])
    adversarial_shards.write_shard(directory, "s", "test", 0, 1, examples)
    adversarial_shards.finish_set(
        directory, "s", "test", 1, data.class_names, SHAPE, "float32", {}
    )
    return adversarial_sets.load_set(output_dir, "s"), examples


def test_clean_images_are_found_by_their_index(tmp_path, model, data):
    rows = [7, 3, 19, 0, 11]
    stored, examples = write_set(tmp_path, model, data, rows)
    np.testing.assert_array_equal(
        clean_images(data, stored, examples["clean_index"]), data.test.images[rows]
    )


def test_measurements_are_what_evaluation_says(tmp_path, model, data):
    stored, examples = write_set(tmp_path, model, data, list(range(12)))
    attack = attacks.make_attack("pgd", eps=0.1, nb_iter=3, rand_init=True)
    measurements = plan(data, sets=[stored], chosen=[("0.1", attack)], seed=3)
    expected = [
        evaluation.on_clean(model, data.test, 4),
        evaluation.on_set(model, examples, data.test.images[:12], 4),
        evaluation.under_attack(model, attack, data.test.take(10), 4, seed=3),
    ]
    for measurement, (fields, arrays) in zip(measurements, expected):
        record, stored_arrays = measurement.take(model, data, 4)
        for key in set(fields) - {"seconds", "signs"}:
            assert record[key] == fields[key], key
        if measurement.record["attack"] != "clean":
            images = data.test.take(len(arrays["index"]))
            look, arrays["masked"] = Looks().at("a", model, model, images, 4)
            assert record["signs"].items() >= look.items()
        assert set(record) == set(results.RECORD)
        assert set(stored_arrays) == {f"{record['key']}/{name}" for name in arrays}
        for name, values in arrays.items():
            np.testing.assert_array_equal(
                stored_arrays[f"{record['key']}/{name}"], values
            )
        assert stored_arrays[f"{record['key']}/index"].dtype == np.int32


@pytest.mark.parametrize(
    "differing, attacked_anew",
    [
        ({}, 0),
        ({"num_examples": 9}, 1),
        ({"labels": "predicted"}, 1),
        ({"targeted": True, "target": "random"}, 1),
        ({"params": {"eps": 0.3}}, 1),
        ({"source_sha256": "2" * 64}, 1),
        ({"store": "uint8"}, 1),
    ],
)
def test_a_set_that_holds_the_white_box_attack_spares_it(
    data, differing, attacked_anew
):
    attack = attacks.make_attack("fgsm")
    same = {
        "params": attack_facts.json_hyper(attack),
        "labels": "true",
        "num_examples": 10,
        **differing,
    }
    planned = plan(data, sets=[adv_set(**same)], chosen=[("8/255", attack)])
    assert sum(m.attack is not None for m in planned) == attacked_anew


def test_autoattack_on_a_random_model_is_the_version_for_it(data):
    chosen = [("8/255", attacks.make_attack("autoattack"))]
    given = dict(masked=True, random=True)
    drawing = dataclasses.replace(target("b", "2" * 64), **given)
    planned = plan(data, [target(), drawing], chosen=chosen)
    versions = {
        (m.target.name, m.record["setting"]): m.attack.hyper.version
        for m in planned
        if m.attack is not None
    }
    # Who overlooks the defence climbs the classifier behind, which draws nothing.
    assert versions == {
        ("a", "white-box"): "standard",
        ("b", "white-box"): "rand",
        ("b", "oblivious"): "standard",
    }


# === From Python ===


def test_models_in_memory_and_on_disk_are_measured_once(tmp_path, model, data):
    keras.utils.set_random_seed(5)
    other = keras.models.clone_model(model)
    other.save(tmp_path / "other.keras")
    models = {"a": model, "b": tmp_path / "other.keras"}
    chosen = [*CHOSEN, ("0.1", attacks.make_attack("pgd", eps=0.1, nb_iter=2))]
    settings = dict(store=tmp_path, batch_size=8, num_examples=10)

    def compared(**changed):
        said = []
        arguments = {**settings, **changed, "say": said.append}
        return survey(models, data, chosen, **arguments), said

    first, said = compared(note="shapes", command="x")
    assert said[0] == "6 measurements to take, 4 of them white-box attacks."
    assert "at most" in said[1] and "at most" in said[2] and "kept" in said[3]
    files = first.write(tmp_path / "report")
    stored, per_example = results.load_results(tmp_path / "report")
    assert stored["records"] == first.results["records"]
    assert set(per_example) == set(first.per_example)
    assert files["html"] == tmp_path / "report" / "report.html"
    shown = [
        (r["target"], r["attack"], r["title"], r["eps_text"], r["goal"], r["access"])
        for r in stored["records"][:3]
    ]
    assert shown == [
        ("a", "clean", None, None, None, None),
        ("a", "fgsm", "FGSM", "8/255", "fixed-eps", "gradients"),
        ("a", "pgd", "PGD", "0.1", "fixed-eps", "gradients"),
    ]
    assert stored["dataset"]["note"] == "shapes" and stored["commands"] == ["x"]
    assert stored["models"]["b"]["weights_sha256"] == identity.model_sha256(other)
    expected, _ = evaluation.under_attack(
        other, attacks.make_attack("fgsm"), data.test.take(10), 8
    )
    (record,) = (
        r for r in stored["records"] if (r["target"], r["attack"]) == ("b", "fgsm")
    )
    assert record["correct"] == expected["correct"]
    again, said = compared()
    assert said == ["Everything is measured already."]
    assert again.results["records"] == first.results["records"]
    models["a"] = keras.models.clone_model(model)
    models["a"].set_weights([w + 1 for w in model.get_weights()])
    _, said = compared()
    assert said[0] == "3 measurements to take, 2 of them white-box attacks."
    _, said = compared(store=None)
    assert said[0] == "6 measurements to take, 4 of them white-box attacks."


def test_a_target_is_compared_under_the_name_it_is_given(tmp_path, model, data):
    known = comparison.target_of_model("known", model, data)
    compared = survey({"a": known}, data, say=lambda line: None)
    assert list(compared.results["models"]) == ["a"]
    assert compared.results["models"]["a"]["model"] == "known"
    assert [r["target"] for r in compared.results["records"]] == ["a"]


def test_nothing_to_compare(tmp_path, model, data):
    with pytest.raises(ValueError, match="`models` is empty"):
        survey({}, data)
    training = make_set(model, "fgsm", data, output_dir=tmp_path, split="train")
    with pytest.raises(ValueError, match="`sets` takes sets of shapes's test images"):
        survey({"a": model}, data, sets=[training])


def test_make_set_crafts_resumes_and_recognises(tmp_path, model, data):
    attack = attacks.make_attack("fgsm", eps=0.1)
    settings = dict(output_dir=tmp_path, batch_size=8, num_examples=18)
    said = []

    def made(**changed):
        arguments = {**settings, **changed, "say": said.append}
        return make_set(model, attack, data, **arguments)

    whole = made(name="whole")
    assert said[0].startswith("Crafting whole: 18 images, at most 1 forward and 1 ")
    assert f"{whole.directory}: 18 images, " in said[1]
    assert whole.config["title"] == "FGSM" and whole.config["forwards"] == 1
    request = whole.config["request"]
    assert (request["goal"], request["access"]) == ("fixed-eps", "gradients")
    assert (request["eps_text"], request["labels"]) == ("0.1", "true")
    arrays = adversarial_sets.read_arrays(whole)
    expected = craft(model, attack, *first_of(data, 18), batch_size=8)
    for name in set(arrays) & set(expected):
        np.testing.assert_array_equal(arrays[name], expected[name])
    assert made(name="whole").config == whole.config
    assert said[-1] == f"{whole.directory} is finished: nothing to do."
    with pytest.raises(FileExistsError, match="seed 0, now 1.*`name`.*`overwrite`"):
        made(name="whole", seed=1)
    # Two workers, one after the other, make the same bytes.
    assert made(name="parts", shard=(0, 2)) is None
    assert said[-1].endswith("others' are missing.")
    parts = made(name="parts", shard=(1, 2))
    assert parts.config["forwards"] is None
    for shard in whole.directory.glob("*.tfrecord-*"):
        other = parts.directory / shard.name.replace("whole", "parts")
        assert other.read_bytes() == shard.read_bytes()
    default = make_set(model, "fgsm", data, target=2, **settings, say=said.append)
    assert default.name == f"{model.name}-fgsm-targeted-test"
    assert default.config["request"]["target"] == "2"
    with pytest.raises(ValueError, match="`target` must be .* Received: target=4"):
        made(name="far", target=4)


def first_of(data, n):
    split = data.test.take(n)
    return split.images, split.labels, split.index


def test_a_set_of_a_model_is_its_white_box_attack(tmp_path, model, data):
    adv = make_set(
        model, "fgsm", data, output_dir=tmp_path, num_examples=10, batch_size=8
    )
    compared = survey(
        {"a": model},
        data,
        CHOSEN,
        [adv],
        output_dir=tmp_path,
        num_examples=10,
        batch_size=8,
    )
    records = compared.results["records"]
    assert [(r["attack"], r["setting"], r["adv_set"]) for r in records] == [
        ("clean", "clean", None),
        ("fgsm", "white-box", adv.name),
    ]
    assert records[1]["title"] == "FGSM" and records[1]["access"] == "gradients"


def test_a_model_whose_architecture_is_unknown_is_never_taken_for_another():
    class Opaque(keras.Model):
        def __init__(self, size):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, images):
            return self.dense(images)

    opaque = Opaque(3)
    opaque(np.ones((1, 3), np.float32))
    digests = {identity.model_sha256(opaque) for _ in range(2)}
    assert len(digests) == 2
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert identity.model_sha256(plain) == identity.model_sha256(plain)


@pytest.mark.parametrize("in_memory, first", [("yes", "clean"), ("no", "fgsm")])
def test_of_a_set_on_disk_attacks_are_taken_before_all_clean_images(
    tmp_path, monkeypatch, in_memory, first
):
    data = load("digits", test_only=True, in_memory=in_memory)
    layers = [keras.Input(data.image_shape), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(10)])
    order = []
    monkeypatch.setattr(results, "store", lambda _, record, __: order.append(record))
    found = survey({"m": model}, data, CHOSEN, store=tmp_path, num_examples=8)
    assert [each["attack"] for each in order][0] == first
    # Whatever the order they were taken in, results have one.
    assert [each["attack"] for each in found.results["records"]] == ["clean", "fgsm"]


def test_what_scoring_takes_is_said_before(monkeypatch, model, data):
    """20 clean images, 5 passes of 8 examples, and 2 of each kind to look at 8."""
    monkeypatch.setattr(taking, "time_passes", lambda *_, **__: (2.0, 3.0))
    lines = []
    survey({"m": model}, data, CHOSEN, num_examples=8, batch_size=4, say=lines.append)
    (line,) = [each for each in lines if each.startswith("The attacks take")]
    expected = ((20 + 5 * 8) * 2.0 + 8 * 2 * (2.0 + 3.0)) / 4
    assert f"scoring about {formats.seconds(expected)};" in line
