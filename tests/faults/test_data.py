"""Damaged data sets: one line, or, of what this package keeps itself, made again."""

import random
import shutil

from faults import campaign
from faults.test_corruption import DAMAGES
import pytest

from tf_advdefense.datasets import load_dataset


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """`digits` as it is kept, and its fingerprint."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        return cache, load_dataset("digits").fingerprint


@pytest.mark.parametrize("as_digits", [True, False])
def test_damaged_data_sets(as_digits, prepared, tmp_path, monkeypatch):
    draw = random.Random(as_digits)
    kept, fingerprint = prepared
    for trial in campaign.trials(4, 40):
        cache = shutil.copytree(kept, tmp_path / f"{trial}")
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        files = sorted(p for p in cache.rglob("*") if p.is_file())
        if not as_digits:  # As a prepared set of somebody else.
            files = [p for p in files if "fingerprints" not in p.parts]
        path, name = draw.choice(files), draw.choice(list(DAMAGES))
        if DAMAGES[name] is None:
            path.unlink()
        else:
            path.write_bytes(DAMAGES[name](path.read_bytes(), draw))
        told = f"{path.relative_to(cache)} {name}"
        try:
            if as_digits:
                found = load_dataset("digits").fingerprint
            else:
                directory = str(cache / "tf_advdefense")
                found = load_dataset("digits:1.0.0", directory).fingerprint
        except (ValueError, OSError) as error:
            assert not as_digits and "\n" not in str(error), (told, str(error))
            campaign.count("data set", "refused in one line")
        else:
            assert found == fingerprint, told
            campaign.count("data set", "made again, or harmless")
        shutil.rmtree(cache)


def test_files_without_their_last_images(prepared, tmp_path, monkeypatch):
    """Cut between two records a file is whole, but images are missing."""
    kept, fingerprint = prepared
    cache = shutil.copytree(kept, tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    (path,) = cache.rglob("*test.tfrecord*")
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little") + 16  # Of the first record.
    path.write_bytes(data[:length])
    assert load_dataset("digits").fingerprint == fingerprint
