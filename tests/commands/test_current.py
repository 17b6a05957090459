"""A report is shown again only where its command would find nothing new."""

import pathlib
import shutil

from absl.flags import FlagValues
import pytest

from tf_advdefense.artifacts import files
from tf_advdefense.artifacts import manifest
from tf_advdefense.commands import report
from tf_advdefense.commands.work import current

_RESULTS = pathlib.Path(__file__).resolve().parents[2] / "docs/results"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The flags of a report that was made, of a model from elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.keras").write_bytes(b"weights")
    directory = tmp_path / "outputs/report"
    kept = min(_RESULTS.rglob("results.json"))  # Whichever report it is.
    shutil.copytree(kept.parent, directory)
    flags = _flags()
    page = directory / "report.html"
    page.write_text("a page")
    manifest.write(directory, current.request_of(flags), ["mine.keras"], [page])
    return flags


def _flags(*more):
    values = FlagValues()
    report.define(values)
    values(["report", "--model_path=mine.keras", "--threat=Linf:8/255", *more])
    return values


def test_it_is_shown(made, capsys):
    report.main(made, "bin/report")  # No model could be loaded from that file.
    shown = capsys.readouterr().out
    assert shown.startswith("Everything is measured already.")
    assert "Report: outputs/report/report.html" in shown


def test_other_flags_models_and_runs_are_new(made, monkeypatch, tmp_path):
    assert not current.shown(_flags("--num_examples=5"))
    assert not current.shown(_flags("--report_dir=elsewhere"))
    assert current.shown(made)
    monkeypatch.setenv("TFDS_DATA_DIR", "elsewhere")
    assert not current.shown(made)
    monkeypatch.delenv("TFDS_DATA_DIR")
    run = tmp_path / "outputs/runs/new"
    files.write_json(run / files.CONFIG, {})
    assert not current.shown(made)
    (run / files.CONFIG).unlink()
    assert current.shown(made)
    (tmp_path / "mine.keras").write_bytes(b"other weights")
    assert not current.shown(made)
