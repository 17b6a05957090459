"""A report as one self-contained HTML page: nothing to fetch, no script needed.

    render(report)   # text; figures are inlined as data URIs

The page is made by the templates beside this module. It is read on a phone (wide
tables scroll beside a fixed first column), in print, and in light and dark by the
reader's own setting.
"""

import base64
import functools

import jinja2
from markupsafe import Markup
from markupsafe import escape

from tf_advdefense.reporting import ink
from tf_advdefense.reporting.document import Report


def render(report: Report) -> str:
    """The page of a report."""
    page = _environment().get_template("page.html")
    return page.render(report=report, theme=Markup(ink.theme()))


def inline(text: str) -> Markup:
    """Escapes a text; names in `backticks` become <code>."""
    pieces = _unbroken(str(escape(str(text)))).split("`")
    if len(pieces) % 2 == 0:
        return Markup("'".join(pieces))
    pieces[1::2] = [f"<code>{piece}</code>" for piece in pieces[1::2]]
    return Markup("".join(pieces))


def _unbroken(text):
    """Keeps "p < 0.001", "n = 512" and "53.9 %" on one line."""
    for sign in (" = ", " &lt; ", " %"):
        text = text.replace(sign, sign.replace(" ", "&nbsp;"))
    return text


def data_uri(svg: bytes) -> str:
    """A picture as an address, in which its ids cannot meet another's."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def kind(block: object) -> str:
    """The name of the macro that renders a block."""
    return type(block).__name__.lower()


@functools.cache
def _environment():
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tf_advdefense.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "inline": inline,
        "data_uri": data_uri,
        "kind": kind,
    }
    return environment
