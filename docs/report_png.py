"""Draws docs/report.png anew: the upper part of the page of docs/results/defences.

.venv/bin/python docs/report_png.py chromium      # or another Chromium browser
"""

import pathlib
import subprocess
import sys
import tempfile

from tf_advdefense import reporting
from tf_advdefense.evaluation import records

DOCS = pathlib.Path(__file__).resolve().parent
WINDOW = 1200, 1250  # Pixels: the verdict, the flags and the leaderboard.


def main() -> None:
    """Writes the page to a temporary directory and has the browser look at it."""
    browser = sys.argv[1] if len(sys.argv) > 1 else "chromium"
    results, per_example = records.load_results(DOCS / "results" / "defences")
    with tempfile.TemporaryDirectory() as directory:
        page = reporting.write_report(directory, results, per_example)["html"]
        subprocess.run(
            [
                browser,
                *("--headless=new", "--no-sandbox", "--disable-gpu"),
                "--hide-scrollbars",
                "--window-size={},{}".format(*WINDOW),
                f"--screenshot={DOCS / 'report.png'}",
                page.resolve().as_uri(),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )


if __name__ == "__main__":
    main()
