"""Files that may come from elsewhere: nothing in them is believed unchecked.

    arrays = read_arrays("per_example.npz")          # no more memory than it holds
    value = read_json("config.json")                 # nor levels without end
    check_archive("mine.keras")                      # before Keras unpacks it
    check_tfds(directory)                            # before TFDS opens it
    check_files(directory, paths)                    # before TensorFlow reads them

Each raises ValueError, in one line, for what no honest program wrote. What of a file is
trusted, and what is not, says SECURITY.md.
"""

import collections
from collections.abc import Iterator
from collections.abc import Sequence
import io
import json
import math
import os
import pathlib
import re
from typing import Any
from typing import BinaryIO
import zipfile

import numpy as np

Path = str | os.PathLike[str]
_GIB = 2**30
_LARGEST_JSON = _GIB // 4
# An archive may hold this much, or this many times its own size, if that is more.
_LARGEST_CONTENT, _LARGEST_RATIO = _GIB, 100
# Before a record: its length, 8 bytes, and their checksum; after it, its own.
_BEFORE, _AFTER = 12, 4
_OWN_FEATURE = re.compile(r"tensorflow_datasets(\.\w+)+")
# By which metadata of TFDS, today's and former, name the class of a feature.
_CLASS = ("pythonClassName", "python_class_name", "type")


def is_inside(name: str) -> bool:
    """Whether a file's name leaves it in the directory that it is joined to."""
    path = pathlib.PurePosixPath(name.replace("\\", "/"))
    return bool(name) and not path.is_absolute() and ".." not in path.parts


# === JSON and arrays ===


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        ValueError: it is no JSON, or more of it than any file of ours.
        OSError: it cannot be read.
    """
    size = os.path.getsize(path)
    if size > _LARGEST_JSON:
        raise ValueError(f"{size} bytes are too many")
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it has too many levels") from error


def read_arrays(file: Path | BinaryIO) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, none of them of objects.

    Raises:
        ValueError: it is no such file, or an array is not as large as it declares.
        OSError: it cannot be read.
    """
    data = (
        file
        if isinstance(file, io.BytesIO)
        else io.BytesIO(pathlib.Path(file).read_bytes())
    )
    try:
        with zipfile.ZipFile(data) as archive:
            _check_contents(archive, len(data.getbuffer()))
            for each in archive.infolist():
                _check_array(archive, each)
        data.seek(0)
        with np.load(data, allow_pickle=False) as arrays:
            return dict(arrays)
    except ValueError:
        raise
    except Exception as error:  # NumPy lets through what zipfile and zlib raise.
        raise ValueError(f"It is no archive of arrays: {error}") from error


def _check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise ValueError(f"{member.filename} is of NumPy's format {version}")
        shape, _, dtype = readers[version](file)
        declared = math.prod(shape) * dtype.itemsize
        held = member.file_size - file.tell()
    if declared != held:
        raise ValueError(f"{member.filename} declares {declared} bytes, holds {held}")


# === Archives ===


def check_archive(path: Path) -> None:
    """Refuses a zip archive whose entries lie outside it, or are absurdly many bytes.

    What is no zip archive is left to whoever reads it.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        _check_contents(archive, os.path.getsize(path))


def _check_contents(archive: zipfile.ZipFile, size: int) -> None:
    entries = archive.infolist()
    outside = [each.filename for each in entries if not is_inside(each.filename)]
    if outside:
        raise ValueError(f"its entry {outside[0]!r} lies outside it")
    total = sum(each.file_size for each in entries)
    if total > max(_LARGEST_CONTENT, _LARGEST_RATIO * size):
        raise ValueError(f"its {size} bytes claim to hold {total}")


# === Records of TFDS ===


def records(path: Path) -> Iterator[tuple[int, int]]:
    """Where each record of a TFRecord file begins, and how long it is.

    Raises:
        ValueError: one is longer than what is left of the file. TensorFlow would take
            memory for as much as it claims, and be ended by it.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        place = 0
        while place < size:
            file.seek(place)
            head = file.read(_BEFORE)
            start, length = place + _BEFORE, int.from_bytes(head[:8], "little")
            place = start + length + _AFTER
            if place > size:
                raise ValueError(f"{path} ends within a record")
            yield start, length


def check_tfds(directory: Path) -> None:
    """Refuses metadata of TFDS that name code to be imported.

    TFDS imports the module of any feature that it does not know.
    """
    for path in sorted(pathlib.Path(directory).rglob("features.json")):
        for name in _class_names(read_json(path)):
            if not _OWN_FEATURE.fullmatch(name):
                raise ValueError(
                    f"Features must be those of TFDS. Received: {path} with {name!r}, "
                    "which is not imported."
                )


def check_files(directory: Path, paths: Sequence[Path]) -> None:
    """Refuses record files that lie elsewhere, or are damaged."""
    for path in map(pathlib.Path, paths):
        if path.parent != pathlib.Path(directory):
            raise ValueError(f"{path} does not lie in {directory}")
        if path.exists() and ".tfrecord" in path.name:
            collections.deque(records(path), maxlen=0)  # Goes through all of them.


def _class_names(value):
    """The classes that a JSON value names anywhere."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _CLASS:
                yield str(inner)
            else:
                yield from _class_names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _class_names(inner)
