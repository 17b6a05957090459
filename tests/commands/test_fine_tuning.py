"""`bin/train` from a run's weights, or from a model of one's own."""

import binaries
import numpy as np
import pytest

from tf_advdefense.artifacts import runs

QUICK = ["--epochs=1", "--train_examples=64", "--batch_size=32", "--dataset=digits"]


def train(path, tmp_path, *flags):
    # Runs are looked for, and written, in one place: of the finished one a link.
    outputs = tmp_path / "outputs"
    (outputs / "runs").mkdir(parents=True, exist_ok=True)
    there = outputs / "runs" / "small_cnn"
    if not there.exists():
        there.symlink_to(path.outputs / "runs" / "small_cnn")
    result = binaries.run("train", *QUICK, f"--output_dir={outputs}", *flags)
    return result, outputs


def weights(model):
    return {w.path: np.asarray(w) for w in model.weights}


def test_a_training_goes_on_from_a_run(path, tmp_path):
    given = ["--init_from=small_cnn", "--defense=pgd_at", "--defense_args=nb_iter=1"]
    result, outputs = train(path, tmp_path, *given, "--learning_rate=1e-9")
    assert result.returncode == 0, result.stderr
    first = runs.load_run(outputs, "small_cnn")
    run = runs.load_run(outputs, "small_cnn-pgd_at")
    request = run.config["request"]
    assert request["initial_weights"] == first.config["weights_sha256"]
    assert request["model"] == "small_cnn" and "freeze" not in request
    before, after = (weights(each.load_model()) for each in (first, run))
    for name in before:
        if "normalization" not in name:  # Its statistics follow the images.
            np.testing.assert_allclose(after[name], before[name], atol=1e-6)


def test_frozen_layers_stay(path, tmp_path):
    given = ["--init_from=small_cnn", "--name=head", "--freeze=conv*"]
    result, outputs = train(path, tmp_path, *given)
    assert result.returncode == 0, result.stderr
    run = runs.load_run(outputs, "head")
    assert run.config["request"]["freeze"] == ["conv*"]
    first = weights(runs.load_run(outputs, "small_cnn").load_model())
    after = weights(run.load_model())
    same = {name: np.array_equal(first[name], after[name]) for name in first}
    assert all(same[name] for name in same if "/conv" in f"/{name}")
    assert not all(same.values())


def test_a_model_of_ones_own_is_trained(path, tmp_path):
    result, outputs = train(path, tmp_path, f"--model_path={path.elsewhere}")
    assert result.returncode == 0, result.stderr
    run = runs.load_run(outputs, "elsewhere")
    assert run.config["request"]["model"] == "elsewhere"
    before = weights(runs.load_model(path.elsewhere))
    after = weights(run.load_model())
    assert len(before) == len(after)
    moved = zip(before.values(), after.values(), strict=True)
    assert all(np.any(one != other) for one, other in moved)


@pytest.mark.parametrize(
    "flags, expected",
    [
        ([], "One of --model, --model_path and --init_from"),
        (["--model=alexnet", "--init_from=small_cnn"], "alexnet, small_cnn"),
        (
            ["--init_from=small_cnn", "--freeze=block*"],
            "freeze=block*. The nearest",
        ),
        (["--init_from=small_cnn", "--freeze=*"], "small_cnn with --freeze=*, which"),
        (["--init_from=absent"], "No finished run 'absent'"),
        (["--model_path=absent.keras"], "No model at absent.keras"),
    ],
)
def test_wrong_starts_are_one_line(path, tmp_path, flags, expected):
    result, outputs = train(path, tmp_path, *flags)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert expected in line
    assert [p.name for p in (outputs / "runs").iterdir()] == ["small_cnn"]
