"""Runs a command of this checkout, in its `.venv` where there is one."""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"


def run(name: str) -> None:
    """Ends the process with the exit code of the command."""
    python = VENV / "bin" / "python"
    if os.access(python, os.X_OK) and pathlib.Path(sys.prefix) != VENV:
        os.execv(python, [str(python), *sys.argv])
    sys.path.insert(0, str(ROOT))
    try:
        from tf_advdefense.commands import main
    except ModuleNotFoundError as error:
        sys.exit(
            f"The package {error.name} is missing. Run bin/test once, which sets up "
            ".venv, or pip install -r requirements.txt."
        )
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(main.run([name, *sys.argv[1:]], prefix="bin/"))
