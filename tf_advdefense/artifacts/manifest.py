"""What a directory was made from, so that its maker can tell that nothing is new.

    write("outputs/report", request, inputs=[...], outputs=[...])
    is_current("outputs/report", request)        # nothing it was made from has changed

The manifest, `made_from.json`, is written last. It holds the request, the SHA-256 of
every input, of this package's own code, and of what was made of them.
"""

from collections.abc import Iterable
import hashlib
import json
import pathlib
from typing import Any

from tf_advdefense.artifacts import files

NAME = "made_from.json"
_PACKAGE = pathlib.Path(__file__).resolve().parent.parent


def write(
    directory: files.Path,
    request: dict[str, Any],
    inputs: Iterable[files.Path],
    outputs: Iterable[files.Path],
) -> None:
    """Writes the manifest of a directory.

    Args:
      directory: what was made.
      request: JSON values: all that was asked for.
      inputs: files, or directories of them, that it was made from.
      outputs: files in it.
    """
    paths = [*inputs, *outputs]
    made = {str(pathlib.Path(path).absolute()): content(path) for path in paths}
    files.write_json(
        pathlib.Path(directory, NAME),
        {"request": request, "code": content(_PACKAGE), "files": made},
    )


def is_current(directory: files.Path, request: dict[str, Any]) -> bool:
    """Whether the same request would make the same of the same files."""
    try:
        manifest = files.read_json(pathlib.Path(directory, NAME))
        same = manifest["request"] == json.loads(files.to_json(request))
        same = same and manifest["code"] == content(_PACKAGE)  # What runs now.
        made = manifest["files"].items()
        return same and all(content(path) == former for path, former in made)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # There is none, or it is damaged, or a file is gone.


def content(path: files.Path) -> str:
    """The SHA-256 of a file, or of the names and contents below a directory."""
    path = pathlib.Path(path)
    if not path.is_dir():
        return files.sha256(path)
    digest = hashlib.sha256()
    for each in sorted(p for p in path.rglob("*") if p.is_file()):
        if "__pycache__" not in each.parts:
            digest.update(f"{each.relative_to(path)}\0{files.sha256(each)}\n".encode())
    return digest.hexdigest()
