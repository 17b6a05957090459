"""Who owns a directory: the request that its outcome is of.

    state = claim("outputs/runs/a", request)      # "new", "unfinished" or "finished"
    with released_on_failure(directory, state, "checkpoints/state.npz"):
        ...

A name that is claimed for work is free again where the work fails at once. Otherwise
the corrected command would be told that the name is taken, by a directory that holds
nothing but the wrong request.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import json
import os
import pathlib
from typing import Any

from tf_advdefense.artifacts import files


def claim(
    directory: files.Path,
    request: dict[str, Any],
    *,
    resume: bool = False,
    overwrite: bool = False,
    convert: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> str:
    """Makes `directory` the one that holds the outcome of `request`.

    Args:
        directory: path; its parents are created.
        request: dict of JSON values, every setting that changes the outcome.
        resume: continue an unfinished directory of the same request.
        overwrite: remove what a former command left there, and begin anew.
        convert: from a request that a former version wrote to today's.

    Returns:
        "new" (created, holds `request.json`), "unfinished" (to be continued) or
        "finished" (the same request was fulfilled: nothing is left to do).

    Raises:
        FileExistsError: another request's directory, an unfinished one without
            `resume`, or a directory that no command made. It is left untouched.
        ValueError: both `resume` and `overwrite`, which contradict each other.
    """
    if resume and overwrite:
        raise ValueError(
            "`resume` goes on with what is there, `overwrite` deletes it. Received: "
            "both. Leave one of them out."
        )
    directory = files.followed(directory)
    if overwrite and (directory / files.REQUEST).exists():
        files.remove(directory)
    if _create(directory, request):
        return "new"
    _check_same(directory, json.loads(files.to_json(request)), convert or dict)
    if (directory / files.CONFIG).exists():
        return "finished"
    if resume:
        return "unfinished"
    raise FileExistsError(
        f"{directory} is unfinished. Continue it with `resume` or start again with "
        "`overwrite`."
    )


@contextlib.contextmanager
def released_on_failure(
    directory: files.Path, state: str, results: str
) -> Iterator[None]:
    """Removes a directory that was claimed anew, after a failure without results.

    An interruption is none, and leaves what a later command goes on with.

    Args:
        directory: path.
        state: what `claim` returned; only a "new" one is removed.
        results: glob pattern of what is worth keeping.
    """
    directory = pathlib.Path(directory)
    try:
        yield
    except Exception:
        if state == "new" and directory.is_dir() and not any(directory.glob(results)):
            files.remove(directory)
        raise


def _create(directory: pathlib.Path, request: dict[str, Any]) -> bool:
    """Makes the directory with its request in one step; False if it is taken."""
    if directory.is_dir() and any(directory.iterdir()):
        return False
    temporary = files.temporary_of(directory)
    try:
        files.write_json(temporary / files.REQUEST, request)
        os.rename(temporary, directory)
    except OSError:
        files.delete(temporary)
        if (directory / files.REQUEST).exists():
            return False  # Another process was faster.
        raise
    return True


def _check_same(
    directory: pathlib.Path,
    request: dict[str, Any],
    convert: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    if not (directory / files.REQUEST).exists():
        raise FileExistsError(
            f"{directory} exists and holds other files. Choose another `name`, or "
            "move them away."
        )
    former = files.read_json(directory / files.REQUEST)
    if not isinstance(former, dict):
        raise ValueError(
            f"{directory / files.REQUEST} is damaged: it holds no request. Choose "
            "another `name`, or replace it with `overwrite`."
        )
    former = convert(former)
    there, here = (dict(_leaves(each)) for each in (former, request))
    differing = [k for k in {**there, **here} if there.get(k) != here.get(k)]
    if differing:
        pairs = (f"{k} {there.get(k)!r}, now {here.get(k)!r}" for k in differing)
        raise FileExistsError(
            f"{directory} was made with other settings: {'; '.join(pairs)}. Choose "
            "another `name` or replace it with `overwrite`."
        )


def _leaves(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields ("params.eps", 0.3) and the like from nested dictionaries."""
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield prefix + key, item
