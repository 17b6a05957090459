"""How numbers are written, and what is imported."""

import math
import pathlib
import subprocess
import sys

import pytest

from tf_advdefense.reporting import formats


@pytest.mark.parametrize(
    "function, value, text",
    [
        (formats.percent, 0.53906, "53.9"),
        (formats.percent, None, "–"),
        (formats.percent, math.nan, "–"),
        (formats.interval, (0.496, 0.5824), "49.6–58.2"),
        (formats.points, 0.1234, "+12.3"),
        (formats.points, -0.02, "−2.0"),
        (formats.points, -0.0001, "0.0"),
        (formats.p_value, 0.0004, "p < 0.001"),
        (formats.p_value, 0.0215, "p = 0.021"),
        (formats.count, 23608202, "23,608,202"),
        (formats.distance, 0.20831, "0.208"),
        (formats.distance, 3072.0, "3072"),
        (formats.distance, 32.0, "32.0"),
        (formats.distance, 128.0, "128"),
        (formats.seconds, 12.34, "12.3 s"),
        (formats.seconds, 90, "1.5 min"),
        (formats.seconds, 7200, "2.0 h"),
        (formats.params, {"b": 2, "a": 1}, "a=1, b=2"),
        (formats.listing, ["a", "b", "c"], "a, b and c"),
        (formats.listing, ["a"], "a"),
    ],
)
def test_formats(function, value, text):
    assert function(value) == text


def test_reporting_imports_no_tensorflow():
    program = (
        "import sys, tf_advdefense.reporting\n"
        "print([m for m in sys.modules if m.split('.')[0] in"
        " ('tensorflow', 'keras') or m == 'matplotlib.pyplot'])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        text=True,
        capture_output=True,
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert ran.stdout.strip() == "[]", ran.stderr
