"""A model's identity: its architecture and weights, and nothing else."""

import dataclasses
import re
import zipfile

import keras
import numpy as np
import pytest

from tf_advdefense.artifacts import claims
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts import saved_model
from tf_advdefense.defenses.transforms import parse_transforms
from tf_advdefense.defenses.transforms import with_transforms


def model(activation="relu", seed=3):
    keras.utils.set_random_seed(seed)
    images = keras.Input((6, 6, 3))
    hidden = keras.layers.Conv2D(4, 3, activation=activation)(images)
    hidden = keras.layers.Add()([hidden, keras.layers.Dropout(0.5)(hidden)])
    hidden = keras.layers.BatchNormalization()(hidden)
    return keras.Model(
        images, keras.layers.Dense(4)(keras.layers.Flatten()(hidden)), name="m"
    )


def transformed():
    (layer,) = parse_transforms("crop_rescale")
    return with_transforms(model(), [layer], eot_draws=2)


def nested():
    return keras.Sequential([keras.Input((6, 6, 3)), model(), keras.layers.ReLU()])


def dated(path, date):
    """The same file, as if it had been saved on another day."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["metadata.json"] = re.sub(
        rb'"date_saved": "[^"]*"', b'"date_saved": "%s"' % date, parts["metadata.json"]
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def test_a_model_its_twin_and_its_files_are_one(tmp_path):
    """Its twin's layers have other names, as they were made later."""
    first, twin = model(), model()
    assert [layer.name for layer in first.layers] != [x.name for x in twin.layers]
    digest = identity.model_sha256(first)
    assert identity.model_sha256(twin) == digest
    twin.compile("adam", "sparse_categorical_crossentropy")
    assert identity.model_sha256(twin) == digest
    first.save(tmp_path / "a.keras")
    twin.save(tmp_path / "b.keras")
    dated(tmp_path / "b.keras", b"2001-01-01@00:00:00")
    assert files.sha256(tmp_path / "a.keras") != files.sha256(tmp_path / "b.keras")
    for name in ("a.keras", "b.keras"):
        assert identity.model_sha256(runs.load_model(tmp_path / name)) == digest


@pytest.mark.parametrize("make", [transformed, nested])
def test_nested_models_and_own_layers_come_back_as_they_were(tmp_path, make):
    saved = make()
    saved.save(tmp_path / "m.keras")
    loaded = runs.load_model(tmp_path / "m.keras")
    assert identity.model_sha256(loaded) == identity.model_sha256(saved)


def test_other_weights_and_other_architectures_are_others():
    digests = [identity.model_sha256(model(*a)) for a in ((), ("tanh",), ("relu", 4))]
    moved = model()
    moved.layers[-1].bias.assign_add([0.0, 0.0, 0.0, 1e-6])
    (narrow, wide) = (
        keras.Sequential([keras.Input((4, 4, 1)), keras.layers.MaxPool2D(2, strides)])
        for strides in (1, 2)
    )
    digests += map(identity.model_sha256, (moved, narrow, wide))
    assert len(set(digests)) == 6


def test_layers_of_equal_weights_in_another_order_are_others():
    """What a layer is fed with counts, though names do not."""

    def chained(order):
        images = keras.Input((6,))
        layers = [keras.layers.ReLU(name="a"), keras.layers.Softmax(name="b")]
        return keras.Model(images, layers[order[1]](layers[order[0]](images)))

    assert identity.model_sha256(chained([0, 1])) != identity.model_sha256(
        chained([1, 0])
    )


def test_a_saved_model_is_its_files_wherever_they_lie(tmp_path):
    saved_model.export_saved_model(model(), tmp_path / "m")
    (tmp_path / "m").rename(tmp_path / "n")
    saved_model.export_saved_model(model("tanh"), tmp_path / "m")
    other, one = (
        identity.model_sha256(runs.load_model(tmp_path / name)) for name in "mn"
    )
    assert other != one
    (tmp_path / "n").rename(tmp_path / "o")
    assert identity.model_sha256(runs.load_model(tmp_path / "o")) == one


# === Runs ===


def a_run(output_dir, classifier, former=False):
    directory = runs.run_directory(output_dir, "a")
    about = "model", "defense", "dataset", "dataset_fingerprint"
    claims.claim(directory, dict.fromkeys(about, "m"))
    saved = runs.save_model(directory, classifier)
    if former:
        saved = {"weights_sha256": files.sha256(directory / "model.keras")}
    files.finish(directory, saved)
    return runs.load_run(output_dir, "a")


@pytest.mark.parametrize("former", [False, True])
def test_a_model_that_was_exchanged_is_noticed(tmp_path, former):
    run = a_run(tmp_path, model(), former)
    loaded = run.load_model()
    np.testing.assert_array_equal(loaded.get_weights()[0], model().get_weights()[0])
    model(seed=4).save(run.model_path)
    with pytest.raises(ValueError, match="must be the one .*model.keras") as error:
        run.load_model()
    assert "\n" not in str(error.value)


def test_the_same_model_saved_anew_is_no_other(tmp_path):
    run = a_run(tmp_path, model())
    model().save(run.model_path)
    dated(run.model_path, b"2001-01-01@00:00:00")
    assert run.load_model().count_params() == model().count_params()


def test_a_layer_that_describes_itself_anew_is_known_by_its_file(tmp_path):
    run = a_run(tmp_path, model())
    other = dataclasses.replace(run, config={**run.config, "weights_sha256": "0" * 64})
    assert other.load_model().count_params() == model().count_params()
    del other.config["model_file_sha256"]
    with pytest.raises(ValueError, match="model.keras"):
        other.load_model()


def test_former_hashes_in_a_request_are_todays():
    request = {"teacher": "f" * 64, "sources": {"a": "e" * 64}, "n": [1, "f" * 64]}
    assert identity.renamed(request, {"f" * 64: "new"}) == {
        "teacher": "new",
        "sources": {"a": "e" * 64},
        "n": [1, "new"],
    }
