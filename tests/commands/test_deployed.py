"""Deployed models through `bin/report` and `bin/make_adv`."""

import binaries
import keras
import pytest
import tflite_files

from tf_advdefense.artifacts import adversarial_sets
from tf_advdefense.evaluation import records


@pytest.fixture(scope="module")
def path(elsewhere, tmp_path_factory):
    """A file of the same name as its parent's, but for the suffix."""
    content = tflite_files.converted(keras.models.load_model(elsewhere))
    folder = tmp_path_factory.mktemp("deployed")
    return tflite_files.written(folder / "elsewhere.tflite", content)


def test_a_file_is_reported_beside_its_parent(path, elsewhere, tmp_path):
    common = ["--dataset=digits", "--batch_size=16", "--num_examples=16"]
    outputs = f"--output_dir={tmp_path}"
    report, alone, made, refused = (
        [*common, outputs, f"--model_path={path}", *flags]
        for flags in (
            ["--runs=", f"--parent={elsewhere}", "--attacks=fgsm,noise", "--eps=0.1"],
            ["--runs=", "--attacks=fgsm", "--eps=0.1", f"--output_dir={tmp_path}/no"],
            ["--attack=noise", "--attack_args=n_draws=3"],
            ["--attack=fgsm", f"--output_dir={tmp_path}/no"],
        )
    )
    done, alone = binaries.run_each("report", [report, alone])
    assert done.returncode == 0, done.stderr
    assert "elsewhere.tflite agrees with its parent elsewhere on 100.0 %" in done.stdout
    results, _ = records.load_results(tmp_path / "report")
    (one,) = (r for r in results["records"] if r["setting"] == "transfer")
    assert (one["target"], one["source"]) == ("elsewhere.tflite", "elsewhere")

    made, refused = binaries.run_each("make_adv", [made, refused])
    assert made.returncode == 0, made.stderr
    adversarial_sets.load_set(tmp_path, "elsewhere.tflite-noise-test")
    for each in (alone, refused):
        assert each.returncode == 2 and len(each.stderr.splitlines()) == 1
        assert "bin/report --parent=FLOAT.keras" in each.stderr
    assert not (tmp_path / "no").exists()
