"""Whether a report's command would find nothing new; TensorFlow is not loaded."""

import os
import pathlib
from typing import Any

from absl.flags import FlagValues

from tf_advdefense import reporting
from tf_advdefense.artifacts import finished
from tf_advdefense.artifacts import manifest
from tf_advdefense.evaluation.records import load_results

# Flags that change nothing in a report.
_SILENT = ("verbosity", "help", "workers", "runner", "runner_args")


def directory_of(flags: FlagValues) -> pathlib.Path:
    """Where the report is written."""
    return pathlib.Path(flags.report_dir or pathlib.Path(flags.output_dir, "report"))


def request_of(flags: FlagValues) -> dict[str, Any]:
    """All that decides what is compared, but the contents of files."""
    values = flags.flag_values_dict()
    return {
        "flags": {k: repr(v) for k, v in values.items() if k not in _SILENT},
        "data": os.environ.get("TFDS_DATA_DIR"),
        "directory": os.getcwd(),
        "finished": {
            kind: finished.names(pathlib.Path(flags.output_dir, kind))
            for kind in ("runs", "adv")
        },
    }


def shown(flags: FlagValues) -> bool:
    """Shows the report that is there, if nothing it was made from has changed."""
    directory = directory_of(flags)
    if not manifest.is_current(directory, request_of(flags)):
        return False
    tables = reporting.render_tables(*load_results(directory))
    print("Everything is measured already. Nothing has changed since.")
    print(f"\n{tables}\n\nReport: {directory / 'report.html'}", flush=True)
    return True
