"""A report as one HTML page that needs nothing else: no script, no network, pictures inside."""

from __future__ import annotations

from base64 import b64encode
from functools import singledispatch
from html import escape

from genesis3d.workflows.anomaly_report_page import NOTICE, Facts, Page, Picture, Points, Section, Table

__all__ = ["html_of"]

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; margin: 1rem 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #8888; padding-bottom: .2rem; }
.notice { background: #b00020; color: #fff; font-weight: 700; padding: .5rem .8rem; border-radius: .3rem; }
.large { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; padding: 0; }
.large div { border: 1px solid #8888; border-radius: .4rem; padding: .5rem .8rem; min-width: 7rem; }
.large dt { font-size: .8rem; opacity: .8; }
.large dd { margin: 0; font-size: 1.35rem; font-weight: 600; }
.facts { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .15rem 1rem; }
.facts dt { opacity: .8; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.warning { border-left: .3rem solid #b26a00; padding: .2rem 0 .2rem 1.6rem; }
.note, figcaption { font-size: .85rem; opacity: .85; }
figure { margin: 1rem 0; }
img { max-width: 100%; background: #fff; }
@media print { .notice { border: 2px solid #b00020; color: #b00020; background: none; }
  figure, table, .large { break-inside: avoid; } }
""".strip()


def html_of(page: Page) -> str:
    """Return ``page`` as one self-contained HTML document."""
    notice = f'<p class="notice">{escape(NOTICE)}</p>'
    sections = "\n".join(_section(section) for section in page.sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(page.title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        f"{notice}\n<h1>{escape(page.title)}</h1>\n<p>{escape(page.about)}</p>\n{sections}\n{notice}\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    head = f"<h2>{escape(section.title)}</h2>\n" if section.title else ""
    return f"<section>\n{head}" + "\n".join(_item(item) for item in section.items) + "\n</section>"


@singledispatch
def _item(item: object) -> str:
    raise TypeError(f"expected a part of a report, got {type(item).__name__}")


@_item.register
def _table(item: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in item.header)
    rows = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in item.rows)
    note = f'\n<p class="note">{escape(item.note)}</p>' if item.note else ""
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>{note}'


@_item.register
def _facts(item: Facts) -> str:
    pairs = ((escape(name), escape(value)) for name, value in item.pairs)
    if item.large:
        return '<dl class="large">' + "".join(f"<div><dt>{n}</dt><dd>{v}</dd></div>" for n, v in pairs) + "</dl>"
    return '<dl class="facts">' + "".join(f"<dt>{n}</dt><dd>{v}</dd>" for n, v in pairs) + "</dl>"


@_item.register
def _points(item: Points) -> str:
    kind = ' class="warning"' if item.warning else ""
    return f"<ul{kind}>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in item.sentences) + "</ul>"


@_item.register
def _picture(item: Picture) -> str:
    data, caption = b64encode(item.png).decode("ascii"), escape(item.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )
