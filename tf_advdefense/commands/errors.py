"""Errors of the library in the words of the command line.

    in_flags("`eps` must be in [0, 1]. Received: eps=8", {"eps"}, "bin/")
    # "--eps must be in [0, 1]. Received: --eps=8"

The library speaks of parameters and of its functions; who runs a command typed flags.
"""

from collections.abc import Container
import re

# Functions of the library, and the commands that do the same.
_COMMANDS = {"train_run": "train", "make_set": "make_adv", "compare": "report"}
# Flags that a remedy names although they may be another command's.
_REMEDIES = ("overwrite", "resume")


def in_flags(text: str, flags: Container[str], prefix: str) -> str:
    """One line that speaks of flags and commands where there are such.

    Args:
      text: of an error, with parameters and functions in backticks and, from
        "Received:" on, as name=value.
      flags: the names of the command's flags; other parameters stay as they are.
      prefix: of how commands are called, "bin/" or "advdefense ".
    """

    def quoted(found: re.Match) -> str:
        name, value = found[1], found[2] or ""
        if name in _COMMANDS:
            return prefix + _COMMANDS[name]
        known = name in flags or name in _REMEDIES
        return f"--{name}{value}" if known else found[0]

    def named(found: re.Match) -> str:
        return f"--{found[1]}=" if found[1] in flags else found[0]

    line = re.sub(r"`(\w+)(=[^`]*)?`", quoted, " ".join(text.split()))
    rule, received, rest = line.partition("Received: ")
    return rule + received + re.sub(r"(?<![\w=,-])(\w+)=", named, rest)
