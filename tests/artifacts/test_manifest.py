"""What was made from what: any change is seen, and nothing else is one."""

import pytest

from tf_advdefense.artifacts import manifest

pytestmark = pytest.mark.quick
REQUEST = {"eps": "8/255", "names": ("a", "b")}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A directory made from a file and a directory, by a package of two files."""
    for name in ("package/code.py", "data/1/x.bin", "model.keras", "made/page.html"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(manifest, "_PACKAGE", tmp_path / "package")
    inputs = [tmp_path / "data", tmp_path / "model.keras"]
    page = tmp_path / "made/page.html"
    manifest.write(tmp_path / "made", REQUEST, inputs, [page])
    return tmp_path


def test_it_is_current(made):
    assert manifest.is_current(made / "made", REQUEST)
    (made / "package/__pycache__").mkdir()
    (made / "package/__pycache__/code.pyc").write_text("compiled")
    (made / "made/notes.txt").write_text("of somebody else")
    assert manifest.is_current(made / "made", REQUEST)


def test_another_copy_of_the_package_is_not(made, monkeypatch):
    (made / "other").mkdir()
    (made / "other/code.py").write_text("of another version")
    monkeypatch.setattr(manifest, "_PACKAGE", made / "other")
    assert not manifest.is_current(made / "made", REQUEST)


def test_another_request_is_not(made):
    assert not manifest.is_current(made / "made", {**REQUEST, "eps": "4/255"})


@pytest.mark.parametrize(
    "name", ["package/code.py", "data/1/x.bin", "model.keras", "made/page.html"]
)
def test_a_changed_or_missing_file_is_seen(made, name):
    (made / name).write_text(name.upper())
    assert not manifest.is_current(made / "made", REQUEST)
    (made / name).unlink()
    assert not manifest.is_current(made / "made", REQUEST)


def test_a_file_more_or_under_another_name_is_seen(made):
    (made / "data/1/y.bin").write_text("more")
    assert not manifest.is_current(made / "made", REQUEST)
    (made / "data/1/y.bin").unlink()
    assert manifest.is_current(made / "made", REQUEST)
    (made / "data/1/x.bin").rename(made / "data/1/y.bin")
    assert not manifest.is_current(made / "made", REQUEST)


@pytest.mark.parametrize("text", [None, "", "null", "[]", "{}", '{"request": 1}'])
def test_without_a_manifest_nothing_is_current(made, text):
    path = made / "made" / manifest.NAME
    path.unlink() if text is None else path.write_text(text)
    assert not manifest.is_current(made / "made", REQUEST)
