"""A report's sections as one self-contained HTML page: no script, nothing to fetch.

    render("Title", sections)   # text; figures are inlined as data URIs

Readable on a phone (tables scroll beside a fixed first column), in print (wide tables
on landscape pages), and in light and dark by the reader's own setting.
"""

import base64
from html import escape

from tf_advdefense.reporting import document
from tf_advdefense.reporting.document import Section
from tf_advdefense.reporting.stylesheet import STYLESHEET

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{lead}
<nav aria-label="Contents">
<ol>
{contents}
</ol>
</nav>
{sections}
</main>
</body>
</html>
"""


def render(title: str, sections: list[Section]) -> str:
    """The page; the first section's blocks stand above the contents, as the lead."""
    lead, *others = sections
    return _PAGE.format(
        title=escape(title),
        style=STYLESHEET,
        lead=f'<section class="lead">\n{_blocks(lead)}\n</section>',
        contents="\n".join(
            f'<li><a href="#{s.anchor}">{inline(s.title)}</a></li>' for s in others
        ),
        sections="\n".join(map(_section, others)),
    )


def inline(text: str) -> str:
    """Escapes a text; names in `backticks` become <code>."""
    pieces = _unbroken(escape(str(text))).split("`")
    if len(pieces) % 2 == 0:
        return "'".join(pieces)
    return "".join(
        f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces)
    )


def _unbroken(text):
    """Keeps "p < 0.001", "n = 512" and "53.9 %" on one line."""
    for sign in (" = ", " &lt; ", " %"):
        text = text.replace(sign, sign.replace(" ", "&nbsp;"))
    return text


def _section(section):
    return (
        f'<section id="{section.anchor}">\n<h2>{inline(section.title)}</h2>\n'
        f"{_blocks(section)}\n</section>"
    )


def _blocks(section):
    return "\n".join(_RENDERERS[type(block)](block) for block in section.blocks)


def _table(table):
    head = "".join(_cell(cell, "th", ' scope="col"') for cell in table.header)
    rows = "\n".join(f"<tr>{_row(row)}</tr>" for row in table.rows)
    return (
        f'<figure class="table"><figcaption>{inline(table.caption)}</figcaption>\n'
        f'<div class="scroll {table.layout}" tabindex="0"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
        "</table></div></figure>"
    )


def _row(row):
    first, *others = row
    return _cell(first, "th", ' scope="row"') + "".join(
        _cell(cell, "td") for cell in others
    )


def _cell(cell, tag, attributes=""):
    if cell.shade is not None:
        attributes += f' style="--share:{100 * cell.shade:.0f}%"'
    mark = f'<span class="mark">{inline(cell.mark)}</span>' if cell.mark else ""
    detail = "".join(
        f"<small>{inline(line)}</small>" for line in cell.detail.splitlines()
    )
    return f"<{tag}{attributes}><b>{inline(cell.text)}</b>{mark}{detail}</{tag}>"


def _figure(figure):
    data = base64.b64encode(figure.png).decode()
    kind = "plot narrow" if figure.narrow else "plot"
    alt = escape(figure.caption.replace("`", ""))
    return (
        f'<figure class="{kind}">'
        f'<img alt="{alt}" src="data:image/png;base64,{data}">'
        f"<figcaption>{inline(figure.caption)}</figcaption></figure>"
    )


def _bullets(bullets):
    items = "\n".join(f"<li>{inline(item)}</li>" for item in bullets.items)
    return f"<ul>\n{items}\n</ul>"


_RENDERERS = {
    document.Prose: lambda block: f"<p>{inline(block.text)}</p>",
    document.Bullets: _bullets,
    document.Table: _table,
    document.Figure: _figure,
    document.Code: lambda block: f"<pre>{escape(chr(10).join(block.lines))}</pre>",
}
