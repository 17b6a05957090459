"""Files and directories that are either whole or absent.

    with replacing("outputs/x.bin") as temporary:
        temporary.write_bytes(data)          # x.bin is the old one or the new one
    finish("outputs/runs/a", {"accuracy": 0.9})

A directory made by a command holds `request.json`, every setting that changes its
outcome, from its first moment on, and `config.json`, written last: a directory
without it is unfinished. Temporary files begin with `.tmp-`; no reader looks at
them, and `finish` removes those that killed processes left.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import secrets
import shutil
from typing import Any

from tf_advdefense import untrusted

Path = str | os.PathLike[str]
REQUEST = "request.json"
CONFIG = "config.json"
TEMPORARY = ".tmp-"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


# === Files ===


@contextlib.contextmanager
def replacing(
    path: Path, is_ours: Callable[[pathlib.Path], bool] | None = None
) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write to; then it takes the place of `path`.

    What is written, a file or a directory, is flushed to the disk before it is
    renamed; after an exception or a kill `path` is what it was. Of a symbolic link
    what it leads to is replaced.

    Args:
        path: of the file or directory.
        is_ours: see `check_replaced`.

    Raises:
        FileExistsError: see `check_replaced`.
    """
    check_replaced(path, is_ours)
    path = followed(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(path)
    try:
        yield temporary
        _sync_tree(temporary)
        if path.is_dir() and temporary.is_dir():
            remove(path)  # A directory cannot be renamed onto a full one.
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        delete(temporary)


def check_replaced(
    path: Path, is_ours: Callable[[pathlib.Path], bool] | None = None
) -> None:
    """Refuses to replace what this package did not write.

    Args:
        path: of a file or directory, or of nothing yet.
        is_ours: function from what is there, and not empty, to whether this package
            wrote all of it; by default no directory is replaced, and any file is.

    Raises:
        FileExistsError: it is anything else, or a device.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        what, kept = "holds other files", any(path.iterdir())
        kept = kept and not (is_ours and is_ours(path))
    elif path.is_file():
        what, kept = "is another file", path.stat().st_size > 0
        kept = kept and is_ours is not None and not is_ours(path)
    else:
        what, kept = "is no file", path.exists()
    if kept:
        raise FileExistsError(
            f"Only what this package wrote is replaced. Received: {path}, which "
            f"{what}. Choose another name, or move it away."
        )


def check_mark(directory: Path, mark: str, names: Iterable[str]) -> None:
    """Refuses to replace files in a directory that does not hold the mark of ours.

    Args:
        directory: path.
        mark: name of a file that this package writes before the others.
        names: of these others, by which anybody might call something else.

    Raises:
        FileExistsError: some of them are there, and the mark is not.
    """
    directory = pathlib.Path(directory)
    there = [name for name in names if (directory / name).exists()]
    if there and not (directory / mark).exists():
        raise FileExistsError(
            f"Only what this package wrote is replaced. Received: {directory}, which "
            f"holds {', '.join(there)} and no {mark}. Choose another directory, or "
            "move them away."
        )


def write_bytes(
    path: Path, data: bytes, is_ours: Callable[[pathlib.Path], bool] | None = None
) -> None:
    """Writes `data` to `path`, whole or not at all; see `check_replaced`."""
    with replacing(path, is_ours) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON; NumPy numbers and arrays, and paths, are accepted."""
    write_bytes(path, (to_json(value) + "\n").encode())


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON.
    """
    try:
        return untrusted.read_json(path)
    except ValueError as error:
        raise ValueError(
            f"{path} is not readable JSON ({error}). Remove the directory it lies in "
            "and make it again."
        ) from error


def sha256(path: Path) -> str:
    """Returns the hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def followed(path: Path) -> pathlib.Path:
    """What a symbolic link leads to; any other path as it is."""
    path = pathlib.Path(path)
    return pathlib.Path(os.path.realpath(path)) if path.is_symlink() else path


def remove(directory: Path) -> None:
    """Deletes a directory; its name is free at once, even if this is interrupted.

    Of a symbolic link what it leads to is deleted.
    """
    directory = followed(directory)
    doomed = temporary_of(directory)
    os.rename(directory, doomed)
    shutil.rmtree(doomed)


# === Directories ===


def named(parent: Path, name: str) -> pathlib.Path:
    """Returns `parent/name`, where `name` is safe as the name of a directory."""
    if not NAME.fullmatch(name):
        raise ValueError(
            "A name begins with a letter or digit and holds only letters, digits, "
            f"'.', '_' and '-'. Received: {name!r}. Choose another `name`."
        )
    return pathlib.Path(parent) / name


def finish(directory: Path, config: dict[str, Any]) -> None:
    """Writes `config.json`, the request included: the directory is finished.

    Everything else in it is flushed to the disk before. Its `checksum` tells a reader
    that it is what was written.
    """
    directory = pathlib.Path(directory)
    remove_leftovers(directory)
    _sync_tree(directory)
    request = read_json(directory / REQUEST)
    write_config(directory, {**config, "request": request})


def write_config(directory: Path, config: dict[str, Any]) -> None:
    """Writes `config.json`, with the checksum of what it holds."""
    whole = {**config, "checksum": checksum(config)}
    write_json(pathlib.Path(directory, CONFIG), whole)


def checksum(config: dict[str, Any]) -> str:
    """The SHA-256 of all fields of a configuration but `checksum`."""
    held = json.loads(to_json({k: v for k, v in config.items() if k != "checksum"}))
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def check_writable(directory: Path) -> None:
    """Raises OSError for a directory that could not be made or written to."""
    path = pathlib.Path(directory).absolute()
    while not path.exists():
        path = path.parent
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(path))
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))


def remove_leftovers(directory: Path) -> None:
    """Removes what killed processes left of a directory; nobody else may work on it."""
    directory = pathlib.Path(directory)
    for leftover in [
        *directory.rglob(TEMPORARY + "*"),
        *directory.parent.glob(f"{TEMPORARY}*-{directory.name}"),
    ]:
        delete(leftover)


# === Parts ===


def temporary_of(path: pathlib.Path) -> pathlib.Path:
    """A name beside a path that no reader looks at."""
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")


def to_json(value: Any) -> str:
    """The text of `write_json`, without the newline at its end."""
    return json.dumps(value, indent=2, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else os.fspath(value)


def _sync_tree(path: pathlib.Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            _sync_tree(child)
    _sync(path)


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def delete(path: pathlib.Path) -> None:
    """Deletes a file or a directory, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
