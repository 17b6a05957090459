"""Files, claimed directories, runs and results."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from tf_advdefense.artifacts import claims
from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import finished
from tf_advdefense.artifacts import identity
from tf_advdefense.artifacts import runs
from tf_advdefense.artifacts.former_formats import without_kind
from tf_advdefense.evaluation import records as results_format

PUBLISHED = [
    path.parent
    for path in pathlib.Path(__file__).parents[2].glob("docs/results/**/results.json")
]
REQUEST = {
    "model": "alexnet",
    "epochs": 3,
    "params": {"eps": 0.3, "shape": (8, 8)},
    **dict.fromkeys(("defense", "dataset", "dataset_fingerprint"), "-"),
}


def one_line(error):
    """Returns the message, which has to be one line."""
    message = str(error.value)
    assert "\n" not in message
    return message


def linear_model():
    return keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )


def names(directory):
    return sorted(path.name for path in directory.iterdir())


# === Files ===


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    files.write_bytes(tmp_path / "deep" / "x", b"old")
    files.write_bytes(tmp_path / "deep" / "x", b"new")
    assert (tmp_path / "deep" / "x").read_bytes() == b"new"
    assert names(tmp_path / "deep") == ["x"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_former_file(tmp_path, error):
    files.write_bytes(tmp_path / "x", b"old")
    with pytest.raises(error), files.replacing(tmp_path / "x") as temporary:
        temporary.write_bytes(b"ha")
        raise error
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_a_killed_write_leaves_the_former_file(tmp_path):
    files.write_bytes(tmp_path / "x", b"old")
    script = (
        "import os, sys; from tf_advdefense.artifacts import files\n"
        "with files.replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'ha'); os._exit(9)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "x")]
    assert subprocess.run(command, env=_environment()).returncode == 9
    assert (tmp_path / "x").read_bytes() == b"old"


def test_a_directory_is_replaced_whole(tmp_path):
    ours = lambda directory: names(directory) == ["old"]
    for content in ("old", "new"):
        with files.replacing(tmp_path / "d", ours) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert names(tmp_path) == ["d"]
    assert names(tmp_path / "d") == ["new"]
    with (
        pytest.raises(FileExistsError, match="holds other files"),
        files.replacing(tmp_path / "d", ours) as temporary,
    ):
        temporary.mkdir()
    assert names(tmp_path / "d") == ["new"] and names(tmp_path) == ["d"]


def test_links_are_followed_and_stay(tmp_path):
    (tmp_path / "far").mkdir()
    for name, target in (("file", "far/x"), ("directory", "far/d"), ("run", "far/a")):
        (tmp_path / name).symlink_to(tmp_path / target)  # To nothing yet.
    for content in (b"old", b"new"):
        files.write_bytes(tmp_path / "file", content)
        with files.replacing(tmp_path / "directory", lambda path: True) as temporary:
            temporary.mkdir()
            (temporary / "x").write_bytes(content)
        claims.claim(tmp_path / "run", {"is": content.decode()}, overwrite=True)
        assert (tmp_path / "far" / "x").read_bytes() == content
        assert (tmp_path / "far" / "d" / "x").read_bytes() == content
        assert content in (tmp_path / "far" / "a" / files.REQUEST).read_bytes()
    assert all((tmp_path / n).is_symlink() for n in ("file", "directory", "run"))
    assert names(tmp_path / "far") == ["a", "d", "x"]
    files.remove(tmp_path / "run")
    assert names(tmp_path / "far") == ["d", "x"]


def test_of_files_only_ours_are_replaced_and_devices_never(tmp_path):
    ours = lambda path: path.read_bytes().startswith(b"ours")
    files.write_bytes(tmp_path / "new", b"ours 1", ours)
    files.write_bytes(tmp_path / "new", b"ours 2", ours)
    assert (tmp_path / "new").read_bytes() == b"ours 2"
    (tmp_path / "letter").write_text("precious")
    (tmp_path / "empty").touch()
    files.write_bytes(tmp_path / "empty", b"ours", ours)
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("letter", "is another file"), ("pipe", "is no file")):
        with pytest.raises(FileExistsError, match=f"{name}, which {why}.*another name"):
            files.write_bytes(tmp_path / name, b"ours", ours)
    with pytest.raises(FileExistsError, match="is no file"):
        files.write_bytes(tmp_path / "pipe", b"ours")
    assert (tmp_path / "letter").read_text() == "precious"


def test_without_the_mark_nothing_by_these_names_may_be_there(tmp_path):
    files.check_mark(tmp_path, "mark", ["a", "b"])
    (tmp_path / "b").touch()
    (tmp_path / "c").touch()
    with pytest.raises(FileExistsError, match=f"{tmp_path}, which holds b and no mark"):
        files.check_mark(tmp_path, "mark", ["a", "b"])
    (tmp_path / "mark").touch()
    files.check_mark(tmp_path, "mark", ["a", "b"])


def test_data_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("name"), replace(*a)))
    files.write_bytes(tmp_path / "x", b"data")
    assert calls == ["fsync", "name", "fsync"]


def test_json_takes_numpy_and_paths(tmp_path):
    value = {"a": np.float32(0.5), "b": np.arange(3), "c": tmp_path, "d": [None, "é"]}
    files.write_json(tmp_path / "v.json", value)
    expected = {"a": 0.5, "b": [0, 1, 2], "c": str(tmp_path), "d": [None, "é"]}
    assert files.read_json(tmp_path / "v.json") == expected
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "v.json", {"a": object()})
    assert files.read_json(tmp_path / "v.json") == expected


def test_damaged_json_is_one_line(tmp_path):
    (tmp_path / "v.json").write_text('{"a":')
    with pytest.raises(ValueError, match="v.json is not readable JSON") as error:
        files.read_json(tmp_path / "v.json")
    assert "make it again" in one_line(error)


def test_sha256(tmp_path):
    data = bytes(range(256)) * 10_000
    (tmp_path / "x").write_bytes(data)
    assert files.sha256(tmp_path / "x") == hashlib.sha256(data).hexdigest()


# === Claims ===


def test_a_claim_passes_from_new_over_unfinished_to_finished(tmp_path):
    directory = tmp_path / "runs" / "a"
    assert claims.claim(directory, REQUEST) == "new"
    assert claims.claim(directory, REQUEST, resume=True) == "unfinished"
    files.finish(directory, {"accuracy": 0.5})
    assert claims.claim(directory, REQUEST) == "finished"
    assert claims.claim(directory, REQUEST, resume=True) == "finished"
    config = files.read_json(directory / "config.json")
    held = {"accuracy": 0.5, "request": json.loads(json.dumps(REQUEST))}
    assert config == {**held, "checksum": files.checksum(held)}


def test_an_absent_or_empty_directory_is_new_with_resume_as_well(tmp_path):
    assert claims.claim(tmp_path / "a", REQUEST, resume=True) == "new"
    (tmp_path / "b").mkdir()
    assert claims.claim(tmp_path / "b", REQUEST) == "new"
    assert files.read_json(tmp_path / "b" / "request.json")["epochs"] == 3


def test_an_unfinished_directory_needs_a_word(tmp_path):
    claims.claim(tmp_path / "a", REQUEST)
    with pytest.raises(FileExistsError, match="a is unfinished") as error:
        claims.claim(tmp_path / "a", REQUEST)
    assert "`resume`" in one_line(error) and "`overwrite`" in one_line(error)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("resume", [False, True])
def test_another_request_is_refused_and_told_apart(tmp_path, finished, resume):
    claims.claim(tmp_path / "a", REQUEST)
    if finished:
        files.finish(tmp_path / "a", {})
    before = {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()}
    other = {**REQUEST, "epochs": 5, "params": {"eps": 0.1, "shape": (8, 8)}}
    with pytest.raises(FileExistsError) as error:
        claims.claim(tmp_path / "a", other, resume=resume)
    message = one_line(error)
    assert "epochs 3, now 5; params.eps 0.3, now 0.1." in message
    assert "model" not in message and "shape" not in message
    assert "`name`" in message and "`overwrite`" in message
    assert {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()} == before


def test_a_setting_that_only_one_request_has_tells_them_apart(tmp_path):
    claims.claim(tmp_path / "a", REQUEST)
    with pytest.raises(FileExistsError, match="schedule None, now 'cosine'"):
        claims.claim(tmp_path / "a", {**REQUEST, "schedule": "cosine"})


def test_overwrite_begins_anew(tmp_path):
    claims.claim(tmp_path / "a", REQUEST)
    (tmp_path / "a" / "model.keras").write_text("old")
    files.finish(tmp_path / "a", {})
    other = {**REQUEST, "epochs": 5}
    assert claims.claim(tmp_path / "a", other, overwrite=True) == "new"
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["request.json"]
    assert files.read_json(tmp_path / "a" / "request.json")["epochs"] == 5


@pytest.mark.parametrize("finished", [False, True])
def test_resuming_and_overwriting_contradict_each_other(tmp_path, finished):
    claims.claim(tmp_path / "a", REQUEST)
    if finished:
        files.finish(tmp_path / "a", {})
    before = names(tmp_path / "a")
    with pytest.raises(ValueError, match="`resume`.*`overwrite`.*both"):
        claims.claim(tmp_path / "a", REQUEST, resume=True, overwrite=True)
    assert names(tmp_path / "a") == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_that_no_command_made_is_never_touched(tmp_path, overwrite):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("precious")
    with pytest.raises(FileExistsError, match="holds other files") as error:
        claims.claim(tmp_path / "photos", REQUEST, overwrite=overwrite)
    assert "`name`" in one_line(error)
    assert names(tmp_path / "photos") == ["me.jpg"]


def test_of_two_commands_that_claim_at_once_one_wins(tmp_path, monkeypatch):
    rename = os.rename

    def beaten(source, target):
        monkeypatch.setattr(os, "rename", rename)
        claims.claim(tmp_path / "a", REQUEST)  # The other one, a moment before.
        rename(source, target)

    monkeypatch.setattr(os, "rename", beaten)
    assert claims.claim(tmp_path / "a", REQUEST, resume=True) == "unfinished"
    assert names(tmp_path) == ["a"]


def test_a_directory_that_cannot_be_written_to(tmp_path, monkeypatch):
    files.check_writable(tmp_path / "new" / "deeper")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for path in ("file", "file/deeper"):
        with pytest.raises(NotADirectoryError, match=f"{tmp_path}/file"):
            files.check_writable(tmp_path / path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # Root may all.
    with pytest.raises(PermissionError, match=str(tmp_path)):
        files.check_writable(tmp_path / "new")


def test_what_killed_processes_left_is_ignored_and_removed(tmp_path):
    claims.claim(tmp_path / "a", REQUEST)
    (tmp_path / ".tmp-0123abcd-a").mkdir()  # A claim or a removal, killed.
    (tmp_path / ".tmp-0123abcd-a" / "config.json").write_text("{}")
    (tmp_path / ".tmp-0123abcd-b").mkdir()  # Another directory's.
    (tmp_path / "a" / "checkpoints").mkdir()
    for folder in ("a", "a/checkpoints"):
        (tmp_path / folder / ".tmp-01234567-model.keras").write_text("half")
    assert claims.claim(tmp_path / "a", REQUEST, resume=True) == "unfinished"
    files.finish(tmp_path / "a", {})
    assert names(tmp_path) == [".tmp-0123abcd-b", "a"]
    assert names(tmp_path / "a") == ["checkpoints", "config.json", "request.json"]
    assert not names(tmp_path / "a" / "checkpoints")
    assert finished.names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "-x", "a b", "ä"])
def test_a_name_cannot_leave_its_directory(tmp_path, name):
    with pytest.raises(ValueError, match="A name begins with") as error:
        runs.run_directory(tmp_path, name)
    assert f"Received: {name!r}" in one_line(error)


# === Runs ===


def finished_run(output_dir, name, model):
    directory = runs.run_directory(output_dir, name)
    claims.claim(directory, REQUEST)
    files.finish(directory, runs.save_model(directory, model))
    return directory


@pytest.mark.quick
def test_a_run_comes_back_as_it_was_saved(tmp_path):
    model = linear_model()
    directory = finished_run(tmp_path, "linear", model)
    run = runs.load_run(tmp_path, "linear")
    assert (run.name, run.directory) == ("linear", directory)
    assert run.model_path == tmp_path / "runs" / "linear" / "model.keras"
    assert run.config["weights_sha256"] == identity.model_sha256(model)
    assert run.config["model_file_sha256"] == files.sha256(run.model_path)
    images = np.random.default_rng(0).random((5, 4, 4, 1), np.float32)
    loaded = run.load_model()
    np.testing.assert_array_equal(loaded.predict(images), model.predict(images))
    assert names(directory) == ["config.json", "model.keras", "request.json"]


def test_a_missing_run_names_the_known_ones(tmp_path):
    for name in ("b", "a"):
        finished_run(tmp_path, name, linear_model())
    claims.claim(runs.run_directory(tmp_path, "half"), {})
    assert runs.list_runs(tmp_path) == ["a", "b"]
    with pytest.raises(FileNotFoundError) as error:
        runs.load_run(tmp_path, "c")
    assert one_line(error) == (
        f"No finished run 'c' in {tmp_path}/runs. Known: a, b. Make it with "
        "`train_run`."
    )


def test_a_missing_run_where_there_are_none(tmp_path):
    assert runs.list_runs(tmp_path) == []
    with pytest.raises(FileNotFoundError, match="Known: none."):
        runs.load_run(tmp_path, "a")


@pytest.mark.parametrize(
    "content, lacks",
    [
        ("{}", "request, weights_sha256"),
        ("[]", "every field"),
        ("null", "every field"),
        ('"text"', "every field"),
        ('{"request": [], "weights_sha256": ""}', "request"),
        (
            '{"request": {"model": "a"}, "weights_sha256": ""}',
            "defense, dataset, dataset_fingerprint",
        ),
    ],
)
def test_a_damaged_configuration_is_one_line(tmp_path, content, lacks):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json is damaged") as error:
        runs.load_run(tmp_path, "a")
    assert f"it lacks {lacks}. Make it again with `train_run`" in one_line(error)


def test_what_no_command_made_is_no_run(tmp_path):
    for name in ("a", "a (copy)", ".tmp-0123-a", "a copy"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").write_text("{}")
    assert runs.list_runs(tmp_path) == ["a"]


def test_an_unfinished_run_says_how_to_continue(tmp_path):
    claims.claim(runs.run_directory(tmp_path, "half"), {})
    with pytest.raises(FileNotFoundError, match="'half' .* is unfinished") as error:
        runs.load_run(tmp_path, "half")
    assert "repeat its `train_run` with `resume`" in one_line(error)


def test_no_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="No model at") as error:
        runs.load_model(tmp_path / "x.keras")
    wanted = "Give a .keras, .h5 or .tflite file or a SavedModel directory"
    assert wanted in one_line(error)


@pytest.mark.parametrize("name", ["model.pt", "folder/"])
def test_neither_keras_file_nor_saved_model(tmp_path, name):
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.write_bytes(b"x")
    with pytest.raises(
        ValueError, match="A model is a .keras, .h5 or .tflite"
    ) as error:
        runs.load_model(path)
    assert str(path) in one_line(error) and "model.save" in one_line(error)


@pytest.mark.parametrize("keep", [0, 100, -100])
def test_a_damaged_keras_file(tmp_path, keep):
    runs.save_model(tmp_path, linear_model())
    path = tmp_path / "model.keras"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="damaged or no Keras model") as error:
        runs.load_model(path)
    assert str(path) in one_line(error) and "Save it again" in one_line(error)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_code_in_a_model_file_is_not_run(name, tmp_path):
    images = keras.Input((4, 4, 1))
    outputs = keras.layers.Lambda(lambda x: x + 1)(images)
    keras.Model(images, outputs).save(tmp_path / name)
    with pytest.raises(ValueError, match="Lambda layer") as error:
        runs.load_model(tmp_path / name)
    assert "SavedModel" in one_line(error)


def test_code_that_is_not_at_hand(tmp_path):
    class Foreign(keras.layers.Layer):
        pass

    keras.Sequential([keras.Input((4,)), Foreign()]).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="needs code that is not at hand") as error:
        runs.load_model(tmp_path / "m.keras")
    assert "Foreign" in one_line(error) and "SavedModel" in one_line(error)


def test_layers_of_a_package_that_is_not_installed(tmp_path, monkeypatch):
    package = types.ModuleType("keras_hub")
    package.Layer = type("Layer", (keras.layers.Layer,), {"__module__": "keras_hub"})
    with monkeypatch.context() as installed:
        installed.setitem(sys.modules, "keras_hub", package)
        layers = [keras.Input((4,)), package.Layer()]
        keras.Sequential(layers).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="the package keras_hub, which") as error:
        runs.load_model(tmp_path / "m.keras")
    assert "Install it" in one_line(error) and "SavedModel" in one_line(error)


def test_the_digest_of_a_directory_sees_names_and_contents(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "a").write_bytes(b"1")
    digests = [identity.files_sha256(tmp_path), identity.files_sha256(tmp_path)]
    (tmp_path / "variables" / "a").rename(tmp_path / "variables" / "b")
    digests.append(identity.files_sha256(tmp_path))
    (tmp_path / "variables" / "b").write_bytes(b"2")
    digests.append(identity.files_sha256(tmp_path))
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_versions_are_those_of_the_imported_packages():
    versions = runs.versions()
    assert versions["keras"] == keras.__version__
    assert versions["numpy"] == np.__version__
    assert versions["python"] == sys.version.split()[0]
    assert set(versions) == {
        *("tf_advdefense", "tensorflow", "keras", "cleverhans"),
        *("tensorflow_datasets", "numpy", "python"),
    }


def test_the_commit_of_tracked_files_only(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        command = ["git", *identity, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    (tmp_path / "code.py").write_text("1")
    (tmp_path / "other.py").write_text("1")
    assert runs.git_commit(tmp_path / "code.py") is None
    git("init", "--quiet")
    git("add", "code.py")
    git("commit", "--quiet", "--message=1")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD")
    assert runs.git_commit(tmp_path / "code.py") == commit
    assert runs.git_commit(tmp_path / "other.py") is None
    (tmp_path / "code.py").write_text("2")
    assert runs.git_commit(tmp_path / "code.py") == commit + "-dirty"


# === Results ===


def some_results():
    record = dict.fromkeys(results_format.RECORD) | {"key": "a/fgsm", "correct": 1}
    model = dict.fromkeys(results_format.MODEL) | {"model": "alexnet"}
    return {
        "dataset": {"name": "digits"},
        "models": {"a": model},
        "records": [record, {**record, "key": "a/cw"}],
        "versions": {},
        "commands": ["bin/report"],
        "groups": {},
        "threat_models": [],
    }


def some_arrays():
    return {
        "a/fgsm/index": np.arange(3, dtype=np.int32),
        "a/fgsm/ok": np.array([True, False, False]),
        "a/cw/l2": np.array([0.5], np.float32),
    }


@pytest.mark.quick
def test_results_come_back_as_they_were_saved(tmp_path):
    results_format.save_results(tmp_path, some_results(), some_arrays())
    results, arrays = results_format.load_results(tmp_path)
    assert results == {"format": results_format.FORMAT, **some_results()}
    assert set(arrays) == set(some_arrays())
    for key, expected in some_arrays().items():
        np.testing.assert_array_equal(arrays[key], expected)
        assert arrays[key].dtype == expected.dtype


def test_equal_results_are_equal_files(tmp_path):
    for name in ("1", "2"):
        results_format.save_results(tmp_path / name, some_results(), some_arrays())
    for name in ("results.json", "per_example.npz"):
        assert (tmp_path / "1" / name).read_bytes() == (
            tmp_path / "2" / name
        ).read_bytes()


def test_results_hold_no_python_objects(tmp_path):
    arrays = {"a/fgsm/index": np.array([{}], dtype=object)}
    with pytest.raises(ValueError):
        results_format.save_results(tmp_path, some_results(), arrays)
    assert names(tmp_path) == []


def test_record_keys_are_unique(tmp_path):
    results = some_results()
    results["records"].append(results["records"][0])
    with pytest.raises(ValueError, match=r"unique keys.*\['a/fgsm'\]"):
        results_format.save_results(tmp_path, results, {})


@pytest.mark.parametrize("entries, field", [("records", "fooled"), ("models", "role")])
def test_no_field_is_forgotten(tmp_path, entries, field):
    results = some_results()
    entry = results["records"][0] if entries == "records" else results["models"]["a"]
    del entry[field]
    with pytest.raises(ValueError, match=f"lacks {field}") as error:
        results_format.save_results(tmp_path, results, {})
    assert "Give null" in one_line(error)


@pytest.mark.parametrize("number", [0, 6, None, "2"])
def test_results_of_another_format(tmp_path, number):
    files.write_json(tmp_path / "results.json", {"format": number})
    message = f"must be of format 5 or a former one. Received: {number!r}"
    with pytest.raises(ValueError, match=message) as error:
        results_format.load_results(tmp_path)
    one_line(error)


@pytest.mark.parametrize(
    "kind, eps, goal, access",
    [
        ("fixed-eps", 0.1, "fixed-eps", "gradients"),
        ("minimal-norm", None, "minimal-norm", "gradients"),
        ("score-based", 0.1, "fixed-eps", "scores"),
        ("score-based", None, "none", "scores"),
        ("decision-based", None, "minimal-norm", "decisions"),
        (None, None, None, None),
    ],
)
def test_former_kinds_are_goals_and_accesses(tmp_path, kind, eps, goal, access):
    former = {"key": "a-1", "kind": kind, "eps": eps}
    expected = {"key": "a-1", "goal": goal, "access": access, "eps": eps}
    results_format.store(tmp_path, former, {})
    record, _ = results_format.stored(tmp_path, "a-1")
    assert record == {**expected, "title": None, "signs": None}
    request = {
        "attack": "x",
        "kind": kind,
        "params": {} if eps is None else {"eps": eps},
    }
    converted = without_kind(request)
    assert "kind" not in converted and request["kind"] == kind
    assert (converted["goal"], converted["access"]) == (goal, access)
    assert without_kind(converted) == converted


@pytest.mark.parametrize("directory", PUBLISHED, ids=lambda path: path.name)
def test_published_results_are_read_as_if_they_were_new(tmp_path, directory):
    results, arrays = results_format.load_results(directory)
    written = files.read_json(directory / "results.json")
    assert results["format"] == results_format.FORMAT >= written["format"]
    assert len(results["records"]) == len(written["records"]) > 0
    results_format.save_results(tmp_path, results, arrays)  # no field is missing
    assert results_format.load_results(tmp_path)[0] == results
    for new, old in zip(results["records"], written["records"]):
        assert set(results_format.RECORD) == set(new)
        if "kind" in old:  # Of attacks by gradients they are the same.
            assert new["goal"] == old["kind"]
        assert new["access"] == (None if old["attack"] == "clean" else "gradients")
        assert new["forwards"] == old.get("passes", old.get("forwards"))
        unchanged = set(new) & set(old)
        assert {k: new[k] for k in unchanged} == {k: old[k] for k in unchanged}
        assert arrays[f"{new['key']}/ok"].sum() == new["correct"]


def test_missing_and_damaged_results(tmp_path):
    with pytest.raises(FileNotFoundError, match="Make it with `compare`"):
        results_format.load_results(tmp_path)
    results_format.save_results(tmp_path, some_results(), some_arrays())
    (tmp_path / "per_example.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="per_example.npz is missing or damaged"):
        results_format.load_results(tmp_path)


def test_a_measurement_is_kept_until_it_is_damaged(tmp_path):
    record = {"key": "a-fgsm-1", "correct": 3, "interval": [0.1, 0.5], "signs": None}
    arrays = {"a-fgsm-1/ok": np.array([True, False]), "a-fgsm-1/index": np.arange(2)}
    assert results_format.stored(tmp_path, "a-fgsm-1") is None
    results_format.store(tmp_path, record, arrays)
    back, back_arrays = results_format.stored(tmp_path, "a-fgsm-1")
    assert back == record and set(back_arrays) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back_arrays[name], array)
    assert names(tmp_path) == ["a-fgsm-1.npz"]
    (tmp_path / "a-fgsm-1.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="damaged.*Remove it and measure") as error:
        results_format.stored(tmp_path, "a-fgsm-1")
    one_line(error)


def test_results_are_read_without_tensorflow():
    script = (
        "import sys; import tf_advdefense.evaluation.records\n"
        "import tf_advdefense.evaluation.statistics\n"
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], env=_environment(), check=True)


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
