"""A report as GitHub-flavoured Markdown.

render(report)   # text; figures are linked as figures/NAME.svg
"""

import re

from tf_advdefense.reporting import document
from tf_advdefense.reporting.document import Flags
from tf_advdefense.reporting.document import Report
from tf_advdefense.reporting.document import Section

# Underscores inside a word are left alone by GitHub's Markdown, and by us.
_SPECIAL = re.compile(r"[\\*\[\]|]|<(?=\S)|&(?=[#\w])|(?<!\w)_|_(?!\w)")


def render(report: Report) -> str:
    """The verdict, the red flags, and the sections in the report's order."""
    kicker = " · ".join(map(escape, report.kicker))
    number = f"**{report.number}**" if report.number else ""
    parts = [
        f"# {escape(report.title)}",
        f"*{kicker}*",
        _escaped(report.before) + number + _escaped(report.after),
        " ".join(map(escape, report.support)),
        *map(_flags, report.flags),
        *map(_section, report.sections),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _section(section: Section) -> str:
    blocks = [_RENDERERS[type(block)](block) for block in section.blocks]
    return "\n\n".join([f"## {escape(section.title)}", *blocks])


def _flags(flags: Flags) -> str:
    lines = [f"**Red flag: {escape(flags.kind)}**", ""]
    for where, detail, remedy in flags.entries:
        lines.append(f"- {escape(': '.join(filter(None, (where, detail))))}")
        lines += [f"  {escape(remedy)}"] if remedy else []
    return "\n".join(lines)


def escape(text: str) -> str:
    """Escapes all but names in `backticks`, and joins lines."""
    return _escaped(" ".join(str(text).split()))


def _escaped(text):
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return _plain("'".join(pieces))
    return "".join(
        f"`{piece}`" if i % 2 else _plain(piece) for i, piece in enumerate(pieces)
    )


def _plain(text):
    return _SPECIAL.sub(r"\\\g<0>", text)


def _cell(cell):
    parts = [
        escape(cell.text),
        f"*{escape(cell.mark)}*" if cell.mark else "",
        *map(escape, cell.detail.splitlines()),
    ]
    # Inside a table even a code span ends at a bare pipe.
    return re.sub(r"(?<!\\)\|", r"\\|", "<br>".join(filter(None, parts)))


def _table(table):
    header, *rows = [[_cell(cell) for cell in row] for row in table.written]
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(
        [
            f"**{escape(table.caption)}.** {escape(table.note)}".rstrip(),
            "",
            *(f"| {' | '.join(row)} |" for row in [header, rule, *rows]),
        ]
    )


def _figure(figure):
    alt = escape(figure.alt).replace("`", "")
    caption = escape(figure.caption)
    return f"![{alt}](figures/{figure.name}.svg)\n\n*{caption}*"


def _code(code):
    ticks = re.findall("`+", "".join(code.lines))
    fence = "`" * max([3, *(len(run) + 1 for run in ticks)])
    return "\n".join([fence, *code.lines, fence])


_RENDERERS = {
    document.Prose: lambda block: escape(block.text),
    document.Bullets: lambda block: "\n".join(f"- {escape(i)}" for i in block.items),
    document.Table: _table,
    document.Figures: lambda block: "\n\n".join(map(_figure, block.items)),
    document.Code: _code,
}
