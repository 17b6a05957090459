"""Data sets that stay on disk go through every command as those in memory do."""

import binaries
from faults import campaign
import pytest

DATA = ["--dataset=digits", "--in_memory=no"]
TRAIN = [*DATA, *campaign.TRAIN[1:], "--name=a"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A run, a set of each split, and a report, of images on disk."""
    outputs = tmp_path_factory.mktemp("streamed")
    there = f"--output_dir={outputs}"
    craft = ["--run=a", "--attack=fgsm", "--eps=0.1", "--batch_size=16", there]
    for command in (
        ["train", *TRAIN, there],
        ["make_adv", *craft, "--num_examples=32"],  # Of the run's own data set.
        ["make_adv", *craft, "--num_examples=32", "--split=train"],
        ["report", *DATA, *campaign.REPORT[1:], there],
    ):
        campaign.succeeded(binaries.run(*command))
    return outputs


@pytest.mark.slow
def test_a_run_says_how_its_images_were_read(outputs):
    config = campaign.config(outputs, "a")
    assert config["request"]["in_memory"] == "no"
    assert config["test_accuracy"] > 0.15


def test_a_set_feeds_a_training(outputs):
    given = ["--defense=adversarial", "--adv_data=a-fgsm-eps0.1-train", "--epochs=1"]
    where = ["--name=defended", f"--output_dir={outputs}"]
    campaign.succeeded(binaries.run("train", *TRAIN[:-1], *given, *where))


def test_a_report_takes_its_sets(outputs):
    results, _ = campaign.numbers(outputs)
    settings = {record["setting"] for record in results["records"]}
    assert settings == {"clean", "white-box"}
    sets = {record["adv_set"] for record in results["records"]}
    assert "a-fgsm-eps0.1-test" in sets


def test_the_same_images_in_memory_are_another_data_set(outputs):
    """As of a run before: known by their content, not by their files."""
    result = binaries.run(
        *("make_adv", "--dataset=digits", "--run=a", "--attack=fgsm", "--name=b"),
        f"--output_dir={outputs}",
    )
    assert campaign.is_one_line(result) and "in_memory" in result.stderr


def test_sets_are_the_same_bytes(outputs, tmp_path):
    """Crafted of images in memory, in the order of the test split."""
    model = f"--model_path={outputs}/runs/a/model.keras"
    digests = []
    for flags in (DATA, DATA[:1]):
        given = [*flags, model, "--attack=pgd", "--attack_args=nb_iter=2", "--name=s"]
        where = ["--num_examples=48", "--batch_size=16", f"--output_dir={tmp_path}"]
        campaign.succeeded(binaries.run("make_adv", *given, *where, "--overwrite"))
        named = campaign.set_files(tmp_path, "s")
        digests.append({k: v for k, v in named.items() if "tfrecord" in k})
    assert digests[0] == digests[1]
