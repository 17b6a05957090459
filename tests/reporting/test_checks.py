"""A gate's outcome as JUnit's XML and as annotations of GitHub's workflows."""

from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from tf_advdefense.evaluation.gate import Criterion
from tf_advdefense.reporting import checks

pytestmark = pytest.mark.quick
CRITERIA = [
    Criterion("drop at most 2 points", False, "43.1 % -> 36.0 % <&> \x1b[1m"),
    Criterion("robust accuracy at least 40 %", False, "below"),
    Criterion("drop of clean accuracy", True, "87.1 % -> 87.0 %"),
]


def test_junit_has_a_case_for_each_criterion():
    suite = ElementTree.fromstring(checks.junit(CRITERIA, "fail: L∞"))
    assert suite.tag == "testsuite"
    assert suite.attrib["tests"] == "3" and suite.attrib["errors"] == "0"
    assert (
        suite.attrib["failures"] == str(len(suite.findall("testcase/failure"))) == "2"
    )
    cases = suite.findall("testcase")
    assert [case.attrib["name"] for case in cases] == [c.name for c in CRITERIA]
    failure = cases[0].find("failure")
    assert failure.attrib["message"] == "43.1 % -> 36.0 % <&> \ufffd[1m"
    assert cases[2].find("failure") is None
    assert cases[2].find("system-out").text == CRITERIA[2].detail
    assert suite.find("system-out").text == "fail: L∞"


def result(passed, flags=()):
    return SimpleNamespace(passed=passed, line="43 % -> 36 %,\r\na: b", flags=flags)


def test_annotations_are_escaped_as_githubs_runner_reads_them():
    (line,) = checks.github(result(False))
    assert line == "::error title=Robustness gate::43 %25 -> 36 %25,%0D%0Aa: b"
    flag = {"flag": "a: b, c", "where": "100 %", "detail": "x\ny"}
    first, second = checks.github(result(True, [flag]))
    assert first.startswith("::notice title=Robustness gate::")
    assert second == "::warning title=Red flag%3A a%3A b%2C c%2C 100 %25::x%0Ay"
