"""Compares two result files that flags name; TensorFlow is not loaded."""

import pathlib

from absl.flags import FlagValues

from tf_advdefense.evaluation.baselines import results_directory
from tf_advdefense.evaluation.changes import changes
from tf_advdefense.evaluation.records import load_results
from tf_advdefense.reporting import comparison


def compare(flags: FlagValues) -> None:
    """Prints the changes, and writes them to --report_dir."""
    if len(flags.compare) != 2:
        raise ValueError(
            "`compare` takes two result files, OLD/results.json,NEW/results.json. "
            f"Received: compare={','.join(flags.compare)}."
        )
    old, new = flags.compare
    found = changes(*(load_results(results_directory(path)) for path in (old, new)))
    directory = flags.report_dir or pathlib.Path(flags.output_dir, "report")
    page = comparison.write(directory, found, old, new)
    print(f"{comparison.table(found)}\n\n{found.note}\n\nComparison: {page}")
