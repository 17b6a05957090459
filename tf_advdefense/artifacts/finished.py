"""What commands have finished: directories with a `config.json` that holds all it must.

names("outputs/runs")                        # of finished directories, sorted
load_config("outputs/runs/a", kind="run", function="train_run", needed={...})
"""

from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
from typing import Any

from tf_advdefense.artifacts import files


def names(parent: files.Path) -> list[str]:
    """Returns the sorted names of the finished directories in `parent`.

    What no command can have made, such as "resnet50 (copy)", is not among them.
    """
    found = (
        path.parent.name for path in pathlib.Path(parent).glob(f"*/{files.CONFIG}")
    )
    return sorted(filter(files.NAME.fullmatch, found))


def load_config(
    directory: files.Path,
    *,
    kind: str,
    function: str,
    needed: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Returns `config.json` of a finished directory.

    Args:
        directory: path.
        kind: what it holds, for the messages: "run".
        function: that makes one, for the messages: "train_run".
        needed: the fields that it must have, by "", and those that its dicts must.

    Raises:
        ValueError: it is damaged.
        FileNotFoundError: it is missing (the message lists the finished ones) or
            unfinished (the message says how to continue).
    """
    directory = pathlib.Path(directory)
    if (directory / files.CONFIG).exists():
        config = files.read_json(directory / files.CONFIG)
        _check(directory, config, needed, function)
        return config
    where = f"{kind} {directory.name!r} in {directory.parent}"
    if (directory / files.REQUEST).exists():
        raise FileNotFoundError(
            f"The {where} is unfinished. Continue it: repeat its `{function}` with "
            "`resume`."
        )
    known = ", ".join(names(directory.parent)) or "none"
    raise FileNotFoundError(
        f"No finished {where}. Known: {known}. Make it with `{function}`."
    )


def _check(
    directory: pathlib.Path,
    config: Any,
    needed: Mapping[str, Sequence[str]],
    function: str,
) -> None:
    for part, fields in needed.items():
        held = config if not part or not isinstance(config, dict) else config.get(part)
        if isinstance(held, dict):
            absent = [field for field in fields if field not in held]
        else:
            absent = [part or "every field"]
        if absent:
            raise ValueError(
                f"{directory / files.CONFIG} is damaged: it lacks {', '.join(absent)}. "
                f"Make it again with `{function}` and `overwrite`."
            )
    # Former versions wrote none.
    if config.get("checksum", "") not in ("", files.checksum(config)):
        raise ValueError(
            f"{directory / files.CONFIG} is damaged: it is not what was written. "
            f"Make it again with `{function}` and `overwrite`."
        )
