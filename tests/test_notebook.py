"""The notebook of docs runs from its first cell to its last, and tells the truth."""

import pathlib

from nbclient import NotebookClient
import nbformat
import pytest

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    notebook = nbformat.read(PAGE / "evaluate_your_model.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, resources=where).execute()
    said = [
        output.get("text", "") or output.get("data", {}).get("text/plain", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    ]
    assert any(
        "its softmax was removed, it takes images in [0, 255]" in s for s in said
    )
    assert any("plain - robust" in s and "p\n" in s for s in said)
    assert (tmp_path / "robustness_report" / "report.html").exists()
    shown = [
        output["data"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    assert any("<td>APGD-CE</td>" in data.get("text/html", "") for data in shown)
    assert sum("image/png" in data for data in shown) == 3
