"""`bin/make_adv` and `bin/bench` with every attack."""

import pathlib

import binaries
import pytest
import small_models

from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.artifacts import runs
from tf_advdefense.attacks import ATTACKS
from tf_advdefense.commands.work import bench_training
from tf_advdefense.commands.work import make_adv
from tf_advdefense.defenses import DEFENSES

SETTINGS = {
    **small_models.BUDGETS,
    "jsma": {"gamma": 0.05},
    "spatial": {"n_samples": 2},
}


@pytest.fixture(scope="module")
def sets(elsewhere, tmp_path_factory):
    """Output directory and each attack's result, on a linear model from elsewhere."""
    outputs = tmp_path_factory.mktemp("attacks")
    common = [
        "--dataset=digits",
        f"--output_dir={outputs}",
        "--batch_size=16",
        "--num_examples=16",
        f"--model_path={elsewhere}",
    ]
    lines = [
        [
            *common,
            f"--attack={name}",
            "--attack_args="
            + ",".join(
                f"{key}={value}" for key, value in SETTINGS.get(name, {}).items()
            ),
        ]
        for name in ATTACKS
    ]
    return outputs, dict(zip(ATTACKS, binaries.run_each("make_adv", lines)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_makes_a_set(sets, name):
    outputs, results = sets
    assert results[name].returncode == 0, results[name].stderr
    adv = adversarial_sets.load_set(outputs, f"elsewhere-{name}-test")
    request, examples = adv.config["request"], adversarial_sets.read_arrays(adv)
    assert request["attack"] == name
    assert request["params"].items() >= SETTINGS.get(name, {}).items()
    assert examples["image"].min() >= 0 and examples["image"].max() <= 1
    attack = ATTACKS[name]
    attack = attack.replace(**attack.budget | SETTINGS.get(name, {}))
    forwards, backwards = attack.cost((32, 32, 3), 10)
    assert 0 < adv.config["forwards"] <= forwards
    assert adv.config["backwards"] <= backwards
    assert f"at most {forwards} forward" in results[name].stdout


def test_bench_lists_each_attack_with_its_success(elsewhere):
    result = binaries.run(
        "bench",
        "--attacks",
        "--dataset=digits",
        "--batch_size=8",
        "--repeats=1",
        "--only=fgsm,cw",
        f"--model_path={elsewhere}",
    )
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["fgsm", "cw"]
    assert [float(rows[0][-2]), float(rows[0][-1])] == [1, 1]
    assert rows[1][3] == "100.0%" and rows[1][4] == "L2" and float(rows[1][5]) > 0


def test_bench_knows_what_a_step_of_every_defence_needs(elsewhere):
    assert bench_training._NEEDED.keys() == DEFENSES.keys()
    given = ["--training", "--batch_size=4", "--repeats=1", "--only=ensemble,rslad"]
    result = binaries.run("bench", *given, f"--model_path={elsewhere}")
    assert result.returncode == 0, result.stderr
    floors, steps = result.stdout.splitlines()[1::2], result.stdout.splitlines()[2::2]
    assert [line.split(":")[0].strip() for line in floors] == [
        "5 x (1 steps)",
        "5 x (10 gradients, 1 forwards, 2 steps)",
    ]
    assert [line.split(":")[0].strip() for line in steps] == [
        "5 steps of ensemble",
        "5 steps of rslad",
    ]
    refused = binaries.run("bench", "--training", "--only=pgd")
    assert refused.returncode == 2 and "Received: --only=pgd." in refused.stderr


def test_bench_times_steps_on_images_from_the_disk(elsewhere):
    given = ["bench", "--streaming", "--batch_size=16", "--repeats=1"]
    result = binaries.run(*given, "--dataset=digits", f"--model_path={elsewhere}")
    assert result.returncode == 0, result.stderr
    memory, disk = result.stdout.splitlines()[1:]
    assert "steps, images in memory" in memory and "of its floor" in disk
    refused = binaries.run(*given, "--dataset=digits", "--image_size=16")
    assert refused.returncode == 2
    assert "Received: (32, 32, 3) and (16, 16, 3) of digits" in refused.stderr


def test_bench_times_attacks_on_trained_models_only():
    result = binaries.run("bench", "--attacks")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "Give --run=NAME or --model_path" in line


@pytest.mark.parametrize(
    "split, limits, number, said",
    [
        ("train", [320], 320, "The first 320 images of train, as a was trained on"),
        ("train", [None, 64, 96], 64, "The first 64 images of train, as b was trained"),
        ("train", [None], None, ""),
        ("test", [320], 512, ""),
    ],
)
def test_of_train_those_images_that_the_runs_were_trained_on(
    split, limits, number, said, capsys
):
    found = [
        runs.Run(name, pathlib.Path(name), {"request": {"train_examples": limit}})
        for name, limit in zip("abc", limits)
    ]
    assert make_adv.default_examples(split, found) == number
    out = capsys.readouterr().out
    assert out.startswith(said) and out.count("\n") == bool(said)
    assert make_adv.default_examples("train", pathlib.Path("m.keras")) is None
