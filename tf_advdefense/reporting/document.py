"""The parts a report is made of, written once and rendered as Markdown and HTML.

    Section("Models", [Table(caption="...", header=[Cell("Model")], rows=[...])])

Texts are plain, except that `backticks` set a name in a monospaced font; renderers
escape everything else.
"""

from dataclasses import dataclass
import re


@dataclass(frozen=True)
class Cell:
    """`text`, smaller lines of `detail` under it, and a `mark` like "white-box"."""

    text: str
    detail: str = ""
    mark: str = ""
    shade: float | None = None  # 0 to 1: strength of the background


@dataclass(frozen=True)
class Table:
    """`layout`: "numbers"; "wide" has many columns and small type; "text" is prose.

    "wide listing" is wide, with prose in its second column.
    """

    caption: str
    header: list
    rows: list
    layout: str = "numbers"


@dataclass(frozen=True)
class Figure:
    """`png` is the file's bytes; `name` its stem under figures/."""

    name: str
    caption: str
    png: bytes
    narrow: bool = False


@dataclass(frozen=True)
class Prose:
    text: str


@dataclass(frozen=True)
class Bullets:
    items: list


@dataclass(frozen=True)
class Code:
    lines: list


@dataclass(frozen=True)
class Section:
    """A heading and the blocks under it."""

    title: str
    blocks: list

    @property
    def anchor(self) -> str:
        return slug(self.title)


def slug(text: str) -> str:
    """`text` as a file name or link target: lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
