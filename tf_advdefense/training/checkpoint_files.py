"""Where checkpoints are kept: in a run's directory, or in memory alone."""

import pathlib

from tf_advdefense.artifacts.files import write_bytes


class OnDisk:
    """Files of a run's directory, each replaced atomically."""

    def __init__(self, root):
        self._root = pathlib.Path(root)

    def __str__(self) -> str:
        return str(self._root)

    def has(self, path: str) -> bool:
        return (self._root / path).exists()

    def read(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def remove(self, path: str) -> None:
        (self._root / path).unlink(missing_ok=True)

    def write(self, path: str, data: bytes) -> None:
        (self._root / path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self._root / path, data)


class InMemory:
    """The same files in memory; those that are not, in a directory."""

    def __init__(self, behind=None):
        self._files, self._behind = {}, behind

    def has(self, path: str) -> bool:
        return path in self._files or bool(self._behind and self._behind.has(path))

    def read(self, path: str) -> bytes:
        if path not in self._files and self._behind:
            return self._behind.read(path)
        return self._files[path]

    def remove(self, path: str) -> None:
        self._files.pop(path, None)

    def write(self, path: str, data: bytes) -> None:
        self._files[path] = data
