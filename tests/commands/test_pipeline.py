"""The README's commands on `digits`: what they leave, say, and never do twice."""

import json
import re

import binaries
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_advdefense import datasets
from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts import runs
from tf_advdefense.evaluation import records as results
from tf_advdefense.evaluation import scoring as evaluation
from tf_advdefense.evaluation.measurements import clean_images
from tf_advdefense.evaluation.statistics import wilson
from tf_advdefense.evaluation.threat_models import robustness
from tf_advdefense.evaluation.threat_models import threat_models
from tf_advdefense.reporting import model_card

RUNS = [
    "interrupted",
    "small_cnn",
    "small_cnn-adversarial",
    "small_cnn-ensemble",
]


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


def read_json(path):
    return json.loads(path.read_text())


def files_of(directory):
    """Relative name to bytes of what a command left, but for times and commands."""
    found = {p.name: p.read_bytes() for p in directory.iterdir() if p.is_file()}
    return {
        name: data
        for name, data in found.items()
        if name not in ("config.json", "request.json")
    }


def shards(path, name):
    found = sorted(path.outputs.glob(f"adv/{name}/*.tfrecord-*"))
    return [shard.read_bytes() for shard in found]


def arrays_of(path, name):
    return adversarial_sets.read_arrays(adversarial_sets.load_set(path.outputs, name))


def test_every_command_succeeds_and_says_nothing_of_trouble(path):
    for name, result in path.results.items():
        if name not in ("killed", "interrupted"):
            assert result.returncode == 0, (name, result.stderr)
            assert not re.search("(?i)warning|error|traceback", result.stderr), name


# === Runs ===


def test_a_run_directory(path):
    run = path.outputs / "runs" / "small_cnn"
    assert {p.name for p in run.iterdir()} == {
        "request.json",
        "config.json",
        "history.csv",
        "model.keras",
        "model_card.json",
        "model_card.md",
        "saved_model",
        "checkpoints",
        "logs",
    }
    assert len((run / "history.csv").read_text().splitlines()) == 1 + 8
    assert list((run / "logs").rglob("events.out.tfevents.*"))


def test_a_run_describes_itself(path, digits):
    config = runs.load_run(path.outputs, "small_cnn").config
    request = config["request"]
    assert request["model_args"] == {"width": 4}
    assert request["dataset_fingerprint"] == digits.fingerprint
    assert request["epochs"] == 8 and request["train_examples"] == 320
    assert config["class_names"] == [str(i) for i in range(10)]
    assert config["image_shape"] == [32, 32, 3]
    assert config["test_examples"] == 359
    assert config["command"].startswith("bin/train --dataset=digits")
    assert set(config["versions"]) >= {"tensorflow", "keras", "cleverhans", "python"}
    model = runs.load_run(path.outputs, "small_cnn").load_model()
    assert config["weights_sha256"] == identity.model_sha256(model)


def test_the_stated_accuracy_is_the_models(path, digits):
    run = runs.load_run(path.outputs, "small_cnn")
    model = runs.load_model(run.model_path)
    assert run.config["num_params"] == model.count_params()
    for split, stated in (
        (digits.test, "test_accuracy"),
        (digits.validation, "validation_accuracy"),
    ):
        correct = evaluation.classify(model, split.images) == split.labels
        assert run.config[stated] == pytest.approx(correct.mean(), abs=1e-6)


def test_the_saved_model_is_the_model(path, digits):
    run = runs.load_run(path.outputs, "small_cnn")
    images = tf.constant(digits.test.images[:64] / np.float32(255))
    expected = runs.load_model(run.model_path)(images, training=False)
    loaded = tf.saved_model.load(str(run.directory / "saved_model"))
    served = loaded.signatures["serving_default"](images)
    np.testing.assert_allclose(served["logits"], expected, atol=1e-5, rtol=1e-5)


def test_defended_runs_name_their_sets(path):
    for defense, source in (("adversarial", "small_cnn"), ("ensemble", "elsewhere")):
        run = runs.load_run(path.outputs, f"small_cnn-{defense}")
        request = run.config["request"]
        name = f"{source}-fgsm-eps0.1-train"
        config = path.outputs / "adv" / name / "config.json"
        assert request["defense"] == defense
        assert request["adv_data"] == {name: files.sha256(config)}
        assert request["adv_fraction"] == 0.5


def test_ctrl_c_says_in_one_line_how_to_continue(path):
    code, err = path.results["interrupted"]
    assert code == 130
    (line,) = err.splitlines()
    assert line.startswith("Interrupted. Continue with: bin/train --dataset=digits ")
    assert line.endswith("--name=interrupted --resume")


def test_a_resumed_training_ends_with_the_uninterrupted_ones_weights(path):
    assert "Epoch 1/8" not in path.results["interrupted_resumed"].stdout
    one, other = (
        runs.load_model(runs.load_run(path.outputs, name).model_path).get_weights()
        for name in ("interrupted", "small_cnn")
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    history = [
        (path.outputs / "runs" / name / "history.csv").read_text()
        for name in ("interrupted", "small_cnn")
    ]
    assert history[0] == history[1]


def test_a_finished_training_is_not_repeated(path):
    result = path.results["train_again"]
    assert result.stdout.strip().endswith("small_cnn is finished: nothing to do.")


# === Adversarial sets ===


def test_a_set_for_each_radius(path):
    for text in ("0.05", "0.1"):
        config = read_json(
            path.outputs / "adv" / f"small_cnn-fgsm-eps{text}-test" / "config.json"
        )
        request = config["request"]
        assert request["eps_text"] == text
        assert request["params"]["eps"] == float(text)
        assert (request["split"], request["labels"]) == ("test", "true")
        assert (request["source"], request["source_model"]) == ("small_cnn",) * 2
        run = runs.load_run(path.outputs, "small_cnn")
        assert request["source_sha256"] == run.config["weights_sha256"]
        assert config["num_examples"] == 64
        assert config["forwards"] == config["backwards"] == 1


@pytest.mark.parametrize(
    "name",
    [
        "small_cnn-cw-test",
        "small_cnn-sparse_l1-test",
        "rounded",
        "elsewhere-fgsm-eps0.1-train",
        "small_cnn-fgsm-targeted-eps0.1-test",
    ],
)
def test_tfds_reads_a_set_as_it_is(path, digits, name):
    config = read_json(path.outputs / "adv" / name / "config.json")
    builder = tfds.builder_from_directory(path.outputs / "adv" / name)
    split = config["request"]["split"]
    examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
    assert len(examples) == config["num_examples"]
    assert set(examples[0]) == set(adversarial_sets.FEATURES)
    clean = digits.split(split)
    label_of = dict(zip(clean.index.tolist(), clean.labels.tolist()))
    assert all(label_of[e["clean_index"]] == e["label"] for e in examples)


def test_predictions_and_success_are_the_models(path, digits):
    stored = adversarial_sets.load_set(path.outputs, "small_cnn-cw-test")
    arrays = adversarial_sets.read_arrays(stored)
    model = runs.load_model(runs.load_run(path.outputs, "small_cnn").model_path)
    clean = clean_images(digits, stored, arrays["clean_index"])
    np.testing.assert_array_equal(arrays["clean_index"], digits.test.index[:64])
    for images, key in ((clean, "clean_prediction"), (arrays["image"], "prediction")):
        classes = evaluation.classify(model, images, 16)
        np.testing.assert_array_equal(classes, arrays[key])
    correct = arrays["clean_prediction"] == arrays["label"]
    fooled = arrays["prediction"] != arrays["label"]
    assert stored.config["success_rate"] == fooled[correct].mean()
    eta = (arrays["image"] - clean / np.float32(255)).reshape(64, -1)
    l2 = np.linalg.norm(eta, axis=1)
    np.testing.assert_allclose(arrays["l2"], l2, rtol=1e-5, atol=1e-6)


def test_training_sets_leave_predicted_labels(path):
    config = adversarial_sets.load_set(
        path.outputs, "small_cnn-fgsm-eps0.1-train"
    ).config
    assert config["request"]["labels"] == "predicted"


def test_a_saved_model_is_attacked_as_the_model_itself(path):
    own = arrays_of(path, "small_cnn-fgsm-eps0.1-test")
    other = arrays_of(path, "saved_model-fgsm-eps0.1-test")
    same = np.isclose(own["image"], other["image"], atol=1e-6).all(axis=(1, 2, 3))
    assert same.mean() >= 0.9  # A gradient near zero may round to the other sign.


def test_a_keras_file_from_elsewhere_is_a_source(path):
    request = adversarial_sets.load_set(
        path.outputs, "elsewhere-fgsm-eps0.1-train"
    ).config["request"]
    assert request["source"] == request["source_model"] == "elsewhere"
    assert request["source_sha256"] == identity.model_sha256(
        runs.load_model(path.elsewhere)
    )


def test_targeted_sets_move_towards_their_class(path, digits):
    stored = adversarial_sets.load_set(
        path.outputs, "small_cnn-fgsm-targeted-eps0.1-test"
    )
    assert stored.config["request"]["target"] == "3"
    model = runs.load_model(runs.load_run(path.outputs, "small_cnn").model_path)
    arrays = adversarial_sets.read_arrays(stored)
    clean = clean_images(digits, stored, arrays["clean_index"]) / np.float32(255)
    log_probabilities = [
        tf.nn.log_softmax(model(images, training=False))[:, 3].numpy().mean()
        for images in (clean, arrays["image"])
    ]
    assert log_probabilities[1] > log_probabilities[0]


def test_rounding_to_grey_levels_is_judged_afterwards(path):
    """A radius below half a grey level leaves nothing, and so fools nobody."""
    arrays = arrays_of(path, "rounded")
    assert not arrays["linf"].any() and not arrays["l0"].any()
    np.testing.assert_array_equal(arrays["prediction"], arrays["clean_prediction"])
    config = adversarial_sets.load_set(path.outputs, "rounded").config
    assert config["request"]["store"] == "uint8"
    assert config["success_rate"] == 0


def test_a_killed_crafting_continues_to_the_same_bytes(path):
    code, err = path.results["killed"]
    assert code == -9 and "shard 4/4" not in err
    assert shards(path, "killed") == shards(path, "small_cnn-cw-test")
    resumed = path.results["killed_resumed"]
    assert "shard 1/4" not in resumed.stderr and "shard 4/4" in resumed.stderr
    assert files_of(path.outputs / "adv" / "killed").keys() == {
        name.replace("small_cnn_cw_test", "killed")
        for name in files_of(path.outputs / "adv" / "small_cnn-cw-test")
    }


def test_two_workers_make_the_bytes_of_one(path):
    assert "others' are missing" in path.results["first_half"].stdout
    assert "64 images" in path.results["second_half"].stdout
    assert len(shards(path, "halves")) == 4
    assert shards(path, "halves") == shards(path, "small_cnn-cw-test")


def test_a_finished_set_is_not_repeated(path):
    result = path.results["cw_again"]
    assert result.stdout.strip().endswith("cw-test is finished: nothing to do.")
    assert not result.stderr


def test_two_runs_at_once_make_one_set(path):
    common = [*path.common, "--attack=mim", "--num_examples=16"]
    result = binaries.run("make_adv", *common, "--run=small_cnn,small_cnn-adversarial")
    assert result.returncode == 0, result.stderr
    adv = adversarial_sets.load_set(
        path.outputs, "small_cnn_small_cnn-adversarial-mim-test"
    )
    request = adv.config["request"]
    assert request["source"] == "small_cnn+small_cnn-adversarial"
    assert request["source_model"] == "small_cnn+small_cnn"
    assert len(request["source_sha256"].split("+")) == 2


# === Report ===


def test_the_report_names_every_run(path):
    report = path.outputs / "report"
    assert {p.name for p in report.iterdir()} == {
        "report.html",
        "report.md",
        "results.json",
        "per_example.npz",
        "results.csv",
        "made_from.json",
        "figures",
    }
    for name in RUNS:
        assert name in (report / "report.html").read_text()
        assert name in (report / "report.md").read_text()
        assert name in path.results["report"].stdout
    assert f"Report: {report}/report.html" in path.results["report"].stdout


def test_every_number_follows_from_the_examples(path):
    stored, per_example = results.load_results(path.outputs / "report")
    # Clean, nine sets, two attacks; two sets are the source's own attacks already, and
    # those of the run that was interrupted, for it ends with the same weights.
    assert len(stored["records"]) == 4 * (1 + 9 + 2) - 2 - 2
    assert {r["target"] for r in stored["records"]} == set(RUNS)
    assert set(stored["models"]) == set(RUNS)
    for record in stored["records"]:
        key = record["key"]
        clean_ok, ok = per_example[f"{key}/clean_ok"], per_example[f"{key}/ok"]
        assert len(per_example[f"{key}/index"]) == len(ok) == record["num_examples"]
        assert not (ok & ~clean_ok).any()
        assert record["clean_correct"] == clean_ok.sum()
        assert record["correct"] == ok.sum()
        fooled = clean_ok & ~ok
        assert record["fooled"] == fooled.sum()
        assert record["accuracy"] == ok.mean()
        assert record["interval"] == list(wilson(ok.sum(), len(ok)))
        if record["mean_l2"] is not None:
            l2 = per_example[f"{key}/l2"][fooled]
            assert record["mean_l2"] == pytest.approx(l2.mean(), rel=1e-5)
            assert record["median_l2"] == pytest.approx(np.median(l2), rel=1e-5)


def test_the_parts_of_the_comparison(path):
    stored, _ = results.load_results(path.outputs / "report")
    assert {name: m["role"] for name, m in stored["models"].items()} == {
        **dict.fromkeys(RUNS, "target"),
        "interrupted": "control",
    }
    settings = {(r["target"], r["adv_set"]): r["setting"] for r in stored["records"]}
    assert settings["small_cnn", "small_cnn-cw-test"] == "white-box"
    assert settings["small_cnn-ensemble", "small_cnn-cw-test"] == "transfer"
    assert not any(name and name.endswith("-train") for _, name in settings)


def test_what_is_measured_is_not_measured_again(path):
    first, again = path.results["report"], path.results["report_again"]
    assert "44 measurements to take, 4 of them white-box" in first.stdout
    assert again.stdout.startswith("Everything is measured already.")
    assert not again.stderr


def test_threat_models_patterns_and_the_runs_own_data_set(path):
    stored, arrays = results.load_results(path.outputs / "threats")
    members = ["small_cnn-adversarial", "small_cnn-ensemble"]
    assert stored["groups"] == {"small_cnn-*": members}
    assert stored["dataset"]["name"] == "digits" and list(stored["models"]) == members
    asked = [(t["norm"], t["eps_text"]) for t in stored["threat_models"]]
    assert asked == [("inf", "0.1"), ("2", "0.5")]
    attacked = [r for r in stored["records"] if r["attack"] != "clean"]
    for model in members:
        own = [(r["norm"], r["eps"]) for r in attacked if r["target"] == model]
        assert own == [("inf", 0.1), ("2", 0.5)]
    assert {r["params"]["nb_iter"] for r in attacked} == {2}
    first, second = threat_models(stored)
    robust = robustness(stored, arrays, members[0], first)
    said = path.results["report_threats"].stdout
    assert f"{100 * robust.accuracy:.1f} %" in said and "L∞ 0.1" in said
    page = (path.outputs / "threats" / "report.html").read_text()
    assert "Over seeds" in page
    assert "toprule" in (path.outputs / "threats" / "report.tex").read_text()


def test_defences_that_are_overlooked_are_attacked_twice(path):
    directory = path.outputs.parent / "crafting"
    stored, _ = results.load_results(directory / "report")
    names = [
        f"small_cnn-{name}" for name in ("bit_depth", "distillation", "ensemble_at")
    ]
    assert sorted((r["target"], r["setting"]) for r in stored["records"]) == [
        (names[0], "clean"),
        (names[0], "oblivious"),
        (names[0], "white-box"),
        (names[1], "clean"),
        (names[1], "oblivious"),
        (names[1], "white-box"),
        (names[2], "clean"),
        (names[2], "white-box"),
    ]
    models = stored["models"]
    assert [models[name]["defense"] for name in names] == [
        "bit_depth:bits=1",
        "distillation",
        "ensemble_at",
    ]
    assert models[names[2]]["sources"] == ["elsewhere", "model"]
    assert {m["role"] for m in models.values()} == {"target"}
    text = (directory / "report" / "report.md").read_text()
    assert text.count("oblivious attacker") == text.count("adaptive attacker") == 2
    config = read_json(directory / "runs" / names[2] / "config.json")
    assert [len(sha) for sha in config["request"]["sources"].values()] == [64, 64]


def test_a_card_beside_every_run_and_its_export(path):
    """Of crafting runs, which were measured in balls: numbers are the report's."""
    outputs = path.outputs.parent / "crafting"
    loaded = results.load_results(outputs / "report")
    for name in runs.list_runs(outputs):
        run = runs.load_run(outputs, name)
        card = json.loads(json.dumps(model_card.card(run.config, loaded, name=name)))
        found = [
            read_json(directory / "model_card.json")
            for directory in (run.directory, run.directory / "saved_model")
        ]
        assert found == [card, card]
        (robust,) = card["robustness"]
        (threat,) = threat_models(loaded[0])
        worst = robustness(*loaded, name, threat)
        assert robust["accuracy"] == worst.accuracy
        assert card["clean"]["accuracy"] == run.config["test_accuracy"]
        text = (run.directory / "model_card.md").read_text()
        assert f"{100 * worst.accuracy:.1f}" in text and "upper bound" in text


def test_the_card_of_an_export_is_of_the_report(path):
    run = runs.load_run(path.outputs, "small_cnn-ensemble")
    loaded = results.load_results(path.outputs / "report")
    expected = model_card.rendered(model_card.card(run.config, loaded, name=run.name))
    for name in model_card.NAMES:
        held = (run.directory / "saved_model" / name).read_bytes()
        assert held == expected[name]


@pytest.mark.parametrize(
    "name, directory", [("elsewhere", "elsewhere"), ("saved_model", "saved")]
)
def test_a_model_from_elsewhere_alone(path, name, directory):
    stored, _ = results.load_results(path.outputs / directory)
    assert list(stored["models"]) == [name]
    settings = {r["adv_set"]: r["setting"] for r in stored["records"] if r["adv_set"]}
    assert len(settings) == 9
    own = [s for s, setting in settings.items() if setting == "white-box"]
    assert own == (["saved_model-fgsm-eps0.1-test"] if name == "saved_model" else [])


def test_an_export_has_its_evaluation_beside_it(path):
    directory = path.outputs / "runs" / "small_cnn-ensemble" / "saved_model"
    evaluated = read_json(directory / "evaluation.json")
    stored, _ = results.load_results(path.outputs / "report")
    assert evaluated["records"] == [
        r for r in stored["records"] if r["target"] == "small_cnn-ensemble"
    ]
    assert evaluated["test_examples"] == 359
    assert "12 measurements beside it" in path.results["export"].stdout
