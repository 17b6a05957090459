"""Fingerprints of data sets that were decoded before, known by their record files.

fingerprint = known(key)                # None: never decoded here
remember(key, fingerprint)

A fingerprint is of decoded images, and decoding all of CIFAR-10 takes seconds that
nobody needs who measures on its test images. Hashing the files they are in takes a
tenth of that, and changes with every byte of them.
"""

import hashlib
import os
import pathlib
import tempfile

from tf_advdefense.datasets import cache


def known(key: str | None) -> str | None:
    """The fingerprint of what was decoded under a key before."""
    if key is None:
        return None
    try:
        fingerprint, _, check = _file(key).read_text().partition(" ")
    except (OSError, ValueError):
        return None
    return fingerprint if check == _check(fingerprint) else None


def remember(key: str | None, fingerprint: str) -> None:
    """For the next time; without a word where nothing can be written."""
    if key is None:
        return
    try:
        _file(key).parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=_file(key).parent)
        with open(handle, "w") as file:
            file.write(f"{fingerprint} {_check(fingerprint)}")
        os.replace(temporary, _file(key))
    except OSError:
        pass


def _check(fingerprint: str) -> str:
    """By which a damaged file is told."""
    return hashlib.sha256(fingerprint.encode()).hexdigest()


def _file(key: str) -> pathlib.Path:
    return cache.directory() / "fingerprints" / key
