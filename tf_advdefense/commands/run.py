"""Runs a command: parses its flags, and ends any wrong input with a line and a code.

code = run(train, CommandLine("bin/", "train", ["--model=resnet50"]))
"""

import logging
import os
import shlex
import sys
from types import ModuleType
from typing import NamedTuple

from absl import flags
from absl import logging as absl_logging
from absl.flags import FlagValues

from tf_advdefense.commands.errors import in_flags
from tf_advdefense.commands.flags import Group
from tf_advdefense.commands.manual import manual

_HELP = {"-h", "-help", "--help"}
_WRONG, _INTERRUPTED = 2, 130


class CommandLine(NamedTuple):
    """What was typed."""

    prefix: str  # "bin/" in a checkout, "advdefense " where the package is installed
    name: str
    given: list[str]

    def __str__(self) -> str:
        """The command, as it would be repeated."""
        return f"{self.prefix}{self.name} {shlex.join(self.given)}".strip()

    def continued(self, resumable: bool) -> str:
        """The command that goes on where this one was interrupted."""
        kept = [f for f in self.given if f not in ("--overwrite", "--resume")]
        return str(self._replace(given=kept + ["--resume"] * resumable))


def run(command: ModuleType, line: CommandLine) -> int:
    """Runs a command of this package.

    Args:
      command: a module with a manual, `define(flags)` and `main(flags, command)`, which
        may return an exit code.
      line: what was typed.

    Returns:
      The exit code: 0, 1 of a gate that fails, 2 for wrong input, which one line on
      standard error explains, or 130 for Ctrl-C, after which a line says how to
      continue.

    Raises:
      Exception: of wrong input, with --verbosity=1; or one that is no user's fault.
    """
    values = FlagValues()
    command.define(values)
    _define_messages(values)
    if _HELP & set(line.given):
        print(manual(command.__doc__ or "", values).replace("bin/", line.prefix))
        return 0
    try:
        _parse(values, line)
        code = command.main(values, str(line)) or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        _say(f"Interrupted. Continue with: {line.continued('resume' in values)}")
        return _INTERRUPTED
    except BrokenPipeError:  # What reads the output, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, flags.Error) as error:
        if values.is_parsed() and values.verbosity >= 1:
            raise
        _say(f"{line.name}: {in_flags(str(error), values, line.prefix)}")
        return _WRONG
    return code


def _define_messages(values: FlagValues) -> None:
    messages = Group(values, "Messages")
    messages.whole("verbosity", 0, "1 shows where an error happened.", at_least=-3)
    messages.switch("help", False, "This text.")


def _parse(values: FlagValues, line: CommandLine) -> None:
    extra = values([line.name, *line.given])[1:]
    if extra:
        raise ValueError(f"Flags begin with --. Received: {extra[0]}. See --help.")
    # TFDS warns of its own deprecations at every start, and TensorFlow of tracing a
    # function for every model.
    if values.verbosity < 1:
        absl_logging.set_verbosity(absl_logging.ERROR)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
