"""The parts a report is made of, written once and rendered as Markdown and HTML.

    Section("Models", [Table(caption="...", header=[Cell("Model")], rows=[...])])

Texts are plain, except that `backticks` set a name in a monospaced font; renderers
escape everything else.
"""

from dataclasses import dataclass
from dataclasses import replace
import re


@dataclass(frozen=True)
class Dots:
    """A row of the leaderboard's plot, all fractions; None where it is unknown.

    `low` and `high` are the ends of the 95 % interval of `worst`, or of `clean`
    where there is no worst case; `text` says the same in words.
    """

    clean: float | None
    worst: float | None
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Cell:
    """`text`, smaller lines of `detail` under it, and a `mark` like "white-box".

    A cell with `dots` is a picture, which only the page shows.
    """

    text: str
    detail: str = ""
    mark: str = ""
    shade: float | None = None  # 0 to 1: strength of the background
    dots: Dots | None = None


@dataclass(frozen=True)
class Table:
    """`caption` says what it is in a line, `note` whatever it takes to read it.

    `layout`: "numbers"; "heat" has one shaded number a cell; "board" is the
    leaderboard; "wide" has many columns and small type; "listing" is wide, with prose
    in its second column.
    """

    caption: str
    header: list
    rows: list
    layout: str = "numbers"
    note: str = ""

    @property
    def plotted(self) -> int | None:
        """The column of pictures, if there is one."""
        drawn = {i for row in self.rows for i, cell in enumerate(row) if cell.dots}
        return min(drawn, default=None)

    @property
    def written(self) -> list[list[Cell]]:
        """The header and the rows, without pictures."""
        return [
            [cell for i, cell in enumerate(row) if i != self.plotted]
            for row in [self.header, *self.rows]
        ]


@dataclass(frozen=True)
class Figure:
    """`svg` is the file's bytes, `name` its stem under figures/.

    `alt` says what the picture shows, in numbers, to those who do not see it.
    """

    name: str
    caption: str
    alt: str
    svg: bytes


@dataclass(frozen=True)
class Figures:
    """Figures that stand beside each other where there is room."""

    items: list


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: list


@dataclass(frozen=True)
class Code:
    """Lines as they were typed."""

    lines: list


@dataclass(frozen=True)
class Section:
    """A heading and the blocks under it; a `folded` one opens on demand."""

    title: str
    blocks: list
    folded: bool = False

    @property
    def anchor(self) -> str:
        return slug(self.title)


@dataclass(frozen=True)
class Flags:
    """Red flags of one kind: [(where, detail, remedy)]; the remedy may be empty."""

    kind: str
    entries: list

    @property
    def remedies(self) -> list[str]:
        """Each of them once."""
        return list(dict.fromkeys(remedy for *_, remedy in self.entries if remedy))


@dataclass(frozen=True)
class Report:
    """A whole report.

    Its verdict is `before`, the `number` that counts, and `after`; `kicker` says of
    what it is, and `support` are sentences below it.
    """

    title: str
    kicker: list
    before: str
    number: str
    after: str
    support: list
    flags: list
    sections: list

    @property
    def verdict(self) -> str:
        return self.before + self.number + self.after

    @property
    def number_of_flags(self) -> int:
        return sum(len(kind.entries) for kind in self.flags)

    @property
    def figures(self) -> list[Figure]:
        return [
            figure
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Figures)
            for figure in block.items
        ]


def slug(text: str) -> str:
    """`text` as a file name or link target: lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def with_unique_names(sections: list[Section]) -> list[Section]:
    """The sections with no two figures of one name, since each becomes a file."""
    taken: set[str] = set()

    def renamed(block):
        if not isinstance(block, Figures):
            return block
        return Figures([_renamed(figure, taken) for figure in block.items])

    return [replace(s, blocks=[renamed(b) for b in s.blocks]) for s in sections]


def _renamed(figure, taken):
    stem = figure.name or "figure"
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return replace(figure, name=name)
