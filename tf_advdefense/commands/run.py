"""Runs a command: parses its flags, and ends any wrong input with a line and a code.

code = run(train, CommandLine("bin/", "train", ["--model=resnet50"]))
"""

import contextlib
import logging
import re
import shlex
import sys
from types import ModuleType
from typing import NamedTuple

from absl import logging as absl_logging
from absl.flags import FlagValues

from tf_advdefense.commands import machine
from tf_advdefense.commands.errors import in_flags
from tf_advdefense.commands.errors import reported
from tf_advdefense.commands.errors import told
from tf_advdefense.commands.group import Group
from tf_advdefense.commands.manual import manual

_HELP = {"-h", "-help", "--help"}
_BUG, _WRONG = 1, 2
# Flags that the command that goes on must not have, or not twice, however spelt.
_REPEATED = re.compile(r"--?(no)?(overwrite|resume)(=.*)?")


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
        kept = [flag for flag in self.given if not _REPEATED.fullmatch(flag)]
        return str(self._replace(given=kept + ["--resume"] * resumable))


def run(command: ModuleType, line: CommandLine) -> int:
    """Runs a command of this package.

    Args:
      command: a module with a manual, `define(flags)` and `main(flags, command)`, which
        may return an exit code.
      line: what was typed.

    Returns:
      The exit code: 0, 1 of a gate that fails or of a bug of ours, 2 for wrong input,
      which one line on standard error explains, or for Ctrl-C 130, for SIGTERM 143 and
      for SIGHUP 129, after which a line says how to continue.

    Raises:
      Exception: of wrong input, or of a bug, with --verbosity=1.
    """
    values = FlagValues()
    command.define(values)
    _define_messages(values)
    machine.open_streams()
    signals = machine.Signals()
    try:
        with signals.as_interruptions():
            return _answered(command, line, values)
    except KeyboardInterrupt:
        return _interrupted(line, values, signals)
    except BrokenPipeError:  # What reads the output, such as `head`, has seen enough.
        machine.close_output()
        return 0
    except Exception as error:
        if signals.came:
            return _interrupted(line, values, signals)
        if values.is_parsed() and values.verbosity >= 1:
            raise
        said = told(error)
        if said is None:
            _say(f"{line.name}: {reported(error)}")
            return _BUG
        _say(f"{line.name}: {in_flags(said, values, line.prefix)}")
        return _WRONG


def _answered(command: ModuleType, line: CommandLine, values: FlagValues) -> int:
    if _HELP & set(line.given):
        print(manual(command.__doc__ or "", values).replace("bin/", line.prefix))
        code = 0
    else:
        _parse(values, line)
        code = command.main(values, str(line)) or 0
    sys.stdout.flush()
    return code


def _interrupted(
    line: CommandLine, values: FlagValues, signals: machine.Signals
) -> int:
    _say(f"Interrupted. Continue with: {line.continued('resume' in values)}")
    return signals.code


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
    with contextlib.suppress(OSError):  # Nobody listens, and there is no other way.
        print(line, file=sys.stderr, flush=True)
