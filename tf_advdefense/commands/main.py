"""Attack image classifiers, train defended ones, and report honestly what was gained.

    advdefense train       train a classifier, defended or not
    advdefense make_adv    craft adversarial examples and keep them
    advdefense report      compare trained models, clean and under attack
    advdefense gate        fail a build when a model is less robust than another
    advdefense export      a trained model as a SavedModel
    advdefense bench       time the hot paths
    advdefense list        attacks, defences, models, transformations, data sets

`advdefense COMMAND --help` explains each.
"""

import importlib
import sys

from tf_advdefense import __version__
from tf_advdefense.commands.run import CommandLine
from tf_advdefense.commands.run import run as run_command
from tf_advdefense.registry import nearest

COMMANDS = ("train", "make_adv", "report", "gate", "export", "bench", "list")
INSTALLED = "advdefense "


def run(arguments: list[str], prefix: str = INSTALLED) -> int:
    """Runs a command in this process.

    Args:
      arguments: its name and flags: ["train", "--model=resnet50"].
      prefix: how commands are called, for what is printed and recorded.

    Returns:
      The exit code; see `commands.run.run`.
    """
    name, *given = arguments or ["--help"]
    if name in COMMANDS:
        command = importlib.import_module(f"tf_advdefense.commands.{name}")
        return run_command(command, CommandLine(prefix, name, given))
    if name in ("-h", "--help", "help"):
        print((__doc__ or "").strip())
        return 0
    if name == "--version":
        print(__version__)
        return 0
    print(
        f"advdefense: Unknown command {name!r}. {nearest(name, COMMANDS)}"
        f"Known: {', '.join(COMMANDS)}.",
        file=sys.stderr,
    )
    return 2


def main() -> None:
    """The console's entry point."""
    sys.exit(run(sys.argv[1:]))
