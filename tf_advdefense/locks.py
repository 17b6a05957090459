"""One process at a time works on a directory; workers on shards of a set share it.

    with held("outputs/runs/resnet50"):
        ...
    with held("outputs/adv/resnet50-cw-test", shared=True) as lock:
        ...
        lock.alone()                 # when all others have let go

The lock is the system's own (flock), so that it ends with its process however that
ends. A file beside the directory, `.lock-NAME`, says who holds it.
"""

from collections.abc import Iterator
import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import socket
from typing import Any

Path = str | os.PathLike[str]
_UNKNOWN = (errno.ENOLCK, errno.EOPNOTSUPP)  # The file system has no locks.


class Lock:
    """A lock that is held."""

    def __init__(self, descriptor: int | None):
        self._descriptor = descriptor

    def alone(self) -> None:
        """Waits for all others that share it to end, and keeps new ones out."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)


@contextlib.contextmanager
def held(
    directory: Path,
    *,
    shared: bool = False,
    wait: bool = False,
    parameter: str = "name",
) -> Iterator[Lock]:
    """Context in which no other process works on a directory.

    Args:
        directory: path; it need not exist.
        shared: others that share it may work on it, too.
        wait: for whoever holds it, instead of refusing.
        parameter: by which another directory is chosen, for the message.

    Raises:
        FileExistsError: in one line that names who holds it.
    """
    path = pathlib.Path(directory).absolute()
    path = path.with_name(f".lock-{path.name}")
    made = [each for each in path.parents if not each.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = _taken(path, shared, wait, parameter)
        try:
            yield Lock(descriptor)
        finally:
            if descriptor is not None:
                _release(path, descriptor)
    finally:
        for each in made:  # The deepest first; one that is used by now stays.
            with contextlib.suppress(OSError):
                each.rmdir()


def _taken(path: pathlib.Path, shared: bool, wait: bool, parameter: str) -> int | None:
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # Whoever made the directory took it away.
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        try:
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _UNKNOWN:
                return None
            if isinstance(error, BlockingIOError):
                raise _busy(path, parameter) from None
            raise
        # Whoever held it before may have removed the file: then it is another's.
        if _is_there(path, descriptor):
            _sign(descriptor)
            return descriptor
        os.close(descriptor)


def _release(path: pathlib.Path, descriptor: int) -> None:
    """Lets go; the file goes with the last one."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except OSError:
        pass  # Others share it, or the directory is gone or read-only by now.
    finally:
        os.close(descriptor)


def _is_there(path: pathlib.Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    now = datetime.datetime.now().isoformat(" ", "seconds")
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(owner).encode(), 0)


def _busy(path: pathlib.Path, parameter: str) -> FileExistsError:
    directory = path.with_name(path.name.removeprefix(".lock-"))
    return FileExistsError(
        f"A directory is one process's at a time. Received: {directory}, on which "
        f"{_owner(path)} works. Wait for it, or choose another `{parameter}`."
    )


def _owner(path: pathlib.Path) -> str:
    try:
        owner: Any = json.loads(path.read_text())
        return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
