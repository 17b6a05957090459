"""Errors in the words of the command line.

    told(error)           # one line, or None for what must be a bug of ours
    in_flags("`eps` must be in [0, 1]. Received: eps=8", {"eps"}, "bin/")
    # "--eps must be in [0, 1]. Received: --eps=8"

The library speaks of parameters and of its functions; who runs a command typed flags.
`make_set(split='train')` becomes bin/make_adv --split=train.
"""

from collections.abc import Container
import errno
import re
import tempfile
import traceback

from absl import flags

# Functions of the library, and the commands that do the same.
_COMMANDS = {"train_run": "train", "make_set": "make_adv", "compare": "report"}
# Flags that a remedy names although they may be another command's.
_REMEDIES = ("overwrite", "resume")
# What to do where the machine refuses.
_REMEDIES_OF = {
    errno.ENOSPC: "Free some space, and repeat the command: it goes on with `resume`.",
    errno.EDQUOT: "Free some space, and repeat the command: it goes on with `resume`.",
    errno.EFBIG: "Raise the limit on the size of files, and repeat the command.",
    errno.EACCES: "Choose another directory, or change its permissions.",
    errno.EROFS: "Choose another directory, or change its permissions.",
    errno.EPERM: "Choose another directory, or change its permissions.",
    errno.ENAMETOOLONG: "Choose a shorter `name`.",
    errno.ENOTDIR: "Choose another directory, or move the file away.",
}
# Those of TensorFlow's own errors that tell of files or of memory, by their codes.
_OF_TENSORFLOW = {
    5: "A file is missing",
    7: "Permission denied",
    8: "The disk or the memory is full",
    15: "A file is damaged",
}
_FULL = re.compile("No space left|File too large|quota exceeded")


def told(error: Exception) -> str | None:
    """What is said of an error that a user can mend; None: it is no such error."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        about = f": {error.filename}" if error.filename else ""
        remedy = _REMEDIES_OF.get(error.errno, "Look at that path.")
        return f"{error.strerror}{about}. {remedy}"
    if isinstance(error, (ValueError, OSError, flags.Error)):
        return str(error)
    if type(error).__module__.startswith("tensorflow"):
        said = (str(getattr(error, "message", "")).strip().splitlines() or [""])[0]
        code = 8 if _FULL.search(said) else getattr(error, "error_code", None)
        if code in _OF_TENSORFLOW:
            return f"{_OF_TENSORFLOW[code]}: {said}"
    return None


def reported(error: Exception) -> str:
    """A line on a bug of ours, whose traceback it leaves in a file."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="advdefense-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
        where = f"The traceback is in {file.name}"
    except OSError:
        where = "--verbosity=1 shows the traceback"
    kind, said = type(error).__name__, (str(error).strip().splitlines() or [""])[0]
    return f"This is a bug of ours: {kind}: {said[:200]}. {where}."


def in_flags(text: str, flags: Container[str], prefix: str) -> str:
    """One line that speaks of flags and commands where there are such.

    Args:
      text: of an error, with parameters and functions in backticks and, from
        "Received:" on, as name=value.
      flags: the names of the command's flags; other parameters stay as they are.
      prefix: of how commands are called, "bin/" or "advdefense ".
    """

    def called(found: re.Match) -> str:
        name, arguments = found[1], found[2] or ""
        if name not in _COMMANDS:
            return found[0]
        given = re.findall(r"(\w+)='?([^',]*)", arguments)
        typed = (f" --{key}={value}" for key, value in given)
        return prefix + _COMMANDS[name] + "".join(typed)

    def quoted(found: re.Match) -> str:
        name, value = found[1], found[2] or ""
        known = name in flags or name in _REMEDIES
        return f"--{name}{value}" if known else found[0]

    def named(found: re.Match) -> str:
        return f"--{found[1]}=" if found[1] in flags else found[0]

    line = re.sub(r"`(\w+)(?:\(([^`]*)\))?`", called, " ".join(text.split()))
    line = re.sub(r"`(\w+)(=[^`]*)?`", quoted, line)
    rule, received, rest = line.partition("Received: ")
    return rule + received + re.sub(r"(?<![\w=,-])(\w+)=", named, rest)
