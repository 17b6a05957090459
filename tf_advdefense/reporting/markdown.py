"""A report's sections as GitHub-flavoured Markdown.

render("Title", sections)   # text; figures are linked as figures/NAME.png
"""

import re

from tf_advdefense.reporting import document
from tf_advdefense.reporting.document import Section

# Underscores inside a word are left alone by GitHub's Markdown, and by us.
_SPECIAL = re.compile(r"[\\*\[\]|]|<(?=\S)|&(?=[#\w])|(?<!\w)_|_(?!\w)")


def render(title: str, sections: list[Section]) -> str:
    parts = [f"# {escape(title)}"]
    for section in sections:
        parts.append(f"## {escape(section.title)}")
        parts += [_RENDERERS[type(block)](block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Escapes all but names in `backticks`, and joins lines."""
    pieces = " ".join(str(text).split()).split("`")
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
    lines = [[_cell(cell) for cell in row] for row in [table.header, *table.rows]]
    rule = ["---"] + ["---:"] * (len(table.header) - 1)
    rows = [lines[0], rule, *lines[1:]]
    return "\n".join(
        [escape(table.caption), "", *(f"| {' | '.join(row)} |" for row in rows)]
    )


def _figure(figure):
    return (
        f"![{escape(figure.caption).replace('`', '')}](figures/{figure.name}.png)"
        f"\n\n*{escape(figure.caption)}*"
    )


def _code(code):
    ticks = re.findall("`+", "".join(code.lines))
    fence = "`" * max([3, *(len(run) + 1 for run in ticks)])
    return "\n".join([fence, *code.lines, fence])


_RENDERERS = {
    document.Prose: lambda block: escape(block.text),
    document.Bullets: lambda block: "\n".join(f"- {escape(i)}" for i in block.items),
    document.Table: _table,
    document.Figure: _figure,
    document.Code: _code,
}
