"""What `--help` prints: a command's manual, then its flags group by group."""

import textwrap
from typing import Any

from absl.flags import Flag
from absl.flags import FlagValues

_COLUMN, _WIDTH = 28, 88  # Where explanations begin and end.


def manual(text: str, values: FlagValues) -> str:
    """The help of a command: its docstring, and its flags in the order defined."""
    groups = (
        "\n".join([f"{heading}:", *map(_described, defined)])
        for heading, defined in values.flags_by_module_dict().items()
    )
    return "\n\n".join([text.strip(), *groups])


def _described(flag: Flag) -> str:
    """`  --name=default   what it does`, in as many lines as that takes."""
    margin = " " * _COLUMN
    start = f"  {_typed(flag)}"
    body = textwrap.fill(
        flag.help,
        _WIDTH,
        initial_indent=margin,
        subsequent_indent=margin,
        break_on_hyphens=False,
        break_long_words=False,
    )
    if len(start) + 2 > _COLUMN:
        return f"{start}\n{body}"
    return start + body[len(start) :]


def _typed(flag: Flag) -> str:
    if flag.boolean:
        return f"--[no]{flag.name}" if flag.default is not False else f"--{flag.name}"
    return f"--{flag.name}={_text(flag.default)}"


def _text(default: Any) -> str:
    if isinstance(default, list):
        return ",".join(default)
    return str(default) if default or default == 0 else ""
