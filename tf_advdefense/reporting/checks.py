"""A gate's outcome for machines: JUnit's XML, and annotations of GitHub's workflows.

    files.write_bytes("gate.xml", junit(result.criteria, result.line), is_junit)
    print("\\n".join(github(result)))

`result` is a `GateResult` and its criteria have a name, `passed` and a detail.
"""

from collections.abc import Sequence
import pathlib
import re
from typing import Any
from xml.etree import ElementTree

_SUITE = "advdefense gate"
# What XML 1.0 cannot hold, not even escaped (its section 2.2).
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# The escapes of GitHub's runner: packages/core/src/command.ts of actions/toolkit.
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def junit(criteria: Sequence[Any], line: str) -> bytes:
    """One testsuite with a testcase per criterion, as continuous integration reads it.

    Args:
      criteria: of a gate.
      line: its verdict, which becomes the suite's output.

    Returns:
      XML in UTF-8, which depends on nothing but the arguments.
    """
    failed = sum(not each.passed for each in criteria)
    counts = {"tests": str(len(criteria)), "failures": str(failed), "errors": "0"}
    suite = ElementTree.Element("testsuite", name=_SUITE, **counts)
    for each in criteria:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_SUITE, name=_text(each.name)
        )
        detail = _text(each.detail)
        if each.passed:
            ElementTree.SubElement(case, "system-out").text = detail
        else:
            ElementTree.SubElement(case, "failure", message=detail).text = detail
    ElementTree.SubElement(suite, "system-out").text = _text(line)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, "utf-8", xml_declaration=True) + b"\n"


def is_junit(path: pathlib.Path) -> bool:
    """Whether a file is what `junit` makes."""
    return path.is_file() and f'name="{_SUITE}"'.encode() in path.read_bytes()[:400]


def github(result: Any) -> list[str]:
    """Workflow commands: the verdict as an error or a notice, red flags as warnings."""
    kind = "notice" if result.passed else "error"
    return [
        _annotation(kind, "Robustness gate", result.line),
        *(
            _annotation("warning", f"Red flag: {f['flag']}, {f['where']}", f["detail"])
            for f in result.flags
        ),
    ]


def _annotation(kind: str, title: str, text: str) -> str:
    return f"::{kind} title={_escaped(title, _PROPERTY)}::{_escaped(text, _DATA)}"


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return text.translate(str.maketrans(escapes))


def _text(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
