"""Results to Markdown, a self-contained HTML page, CSV, LaTeX and figures.

    paths = write_report("outputs/report", results, per_example, examples)
    print(paths["html"])

`results` and `per_example` are what `evaluation.records.load_results` returns;
every number of a report is one of theirs or is counted from them. TensorFlow is not
imported here, so a report is redrawn in seconds on any machine.
"""

from tf_advdefense.reporting.latex import latex_tables
from tf_advdefense.reporting.report import check_place
from tf_advdefense.reporting.report import write_report
from tf_advdefense.reporting.terminal import render as render_tables

__all__ = ["check_place", "latex_tables", "render_tables", "write_report"]
