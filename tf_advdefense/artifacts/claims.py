"""A name that is claimed for work is free again where the work fails at once.

    state = files.claim(directory, request)
    with released_on_failure(directory, state, "checkpoints/state.npz"):
        ...

Otherwise the corrected command would be told that the name is taken, by a directory
that holds nothing but the wrong request.
"""

from collections.abc import Iterator
import contextlib
import pathlib

from tf_advdefense.artifacts import files


@contextlib.contextmanager
def released_on_failure(
    directory: files.Path, state: str, results: str
) -> Iterator[None]:
    """Removes a directory that was claimed anew, after a failure without results.

    An interruption is none, and leaves what a later command goes on with.

    Args:
        directory: path.
        state: what `files.claim` returned; only a "new" one is removed.
        results: glob pattern of what is worth keeping.
    """
    directory = pathlib.Path(directory)
    try:
        yield
    except Exception:
        if state == "new" and directory.is_dir() and not any(directory.glob(results)):
            files.remove(directory)
        raise
