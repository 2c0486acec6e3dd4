"""A report as one HTML page: no script, no external file, light or dark like the reader's system."""

from __future__ import annotations

import html

from finetop.core.features.report.formats import ReportFormat
from finetop.core.features.report.page import Bars, Block, Chart, Facts, Page, Points, Source, Table
from finetop.core.features.report.svg import COLOURS_CSS, PICTURE_CSS, bars, chart, escape
from finetop.core.text import clean

# Nothing may be loaded or run, whatever a text on the page contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_PAGE_CSS = (
    "body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;margin:0 auto;"
    "max-width:62rem;padding:2rem 1.25rem 4rem}"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .5rem;border-bottom:1px solid var(--rule)}"
    "p.about,footer,.more,figcaption,dt{color:var(--dim)}p.about{margin:.2rem 0 1.2rem}"
    ".verdict{border-left:5px solid var(--open);padding:.3rem 0 .3rem 1rem}.verdict.bad{border-color:var(--bad)}"
    ".verdict.good{border-color:var(--good)}.verdict strong{font-size:1.25rem}.verdict p{margin:.2rem 0}"
    "strong.bad{color:var(--bad)}strong.good{color:var(--good)}strong.open{color:var(--open)}"
    "ul{margin:.4rem 0;padding-left:1.2rem}figure{margin:1rem 0}svg{display:block;width:100%;height:auto}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;margin:.6rem 0}"
    "th,td{text-align:left;vertical-align:top;padding:.25rem .9rem .25rem 0;border-bottom:1px solid var(--rule)}"
    "th{color:var(--dim);font-weight:normal;white-space:nowrap}td.n,th.n{text-align:right;white-space:nowrap;"
    "font-variant-numeric:tabular-nums}td.t{white-space:pre-wrap;min-width:9rem;overflow-wrap:anywhere}"
    "td{overflow-wrap:break-word}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.2rem;margin:.5rem 0}"
    "dd{margin:0;overflow-wrap:anywhere}details{margin:.6rem 0}summary{cursor:pointer}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;background:color-mix(in srgb,var(--rule) 45%,transparent);"
    "padding:.8rem;font-size:.82rem}footer{margin-top:3rem;font-size:.85rem}"
    "@media print{details>*{display:block}}"
)


class Html(ReportFormat):
    ending = ".html"

    def written(self, page: Page) -> str:
        title = escape(page.title)
        sections = []
        for section in page.sections:
            sections += [f"<h2>{escape(section.title)}</h2>", *map(_block, section.blocks)]
        sure = f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in page.sure)}</ul>" if page.sure else ""
        return "\n".join(
            [
                '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{title}</title><style>{COLOURS_CSS}{PICTURE_CSS}{_PAGE_CSS}</style></head><body>",
                f'<h1>{title}</h1><p class="about">{escape(page.about)}</p>',
                f'<div class="verdict {page.tone}"><p><strong class="{page.tone}">{escape(page.word)}</strong>',
                f"{escape(page.sentence)}</p>{sure}</div>",
                *sections,
                f"<footer>{escape(page.footer)}</footer></body></html>",
                "",
            ]
        )


def _block(block: Block) -> str:
    match block:
        case Facts(rows):
            return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in rows)}</dl>"
        case Points(lines):
            return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
        case Chart(title):
            return f"<figure><figcaption>{escape(title)}</figcaption>{chart(block)}</figure>"
        case Bars(title):
            return f"<figure><figcaption>{escape(title)}</figcaption>{bars(block)}</figure>"
        case Source(title, text):
            # `clean` keeps the lines, and <pre> shows them as written
            shown = html.escape(clean(text))
            return f"<details><summary>{escape(title)}</summary><pre>{shown}</pre></details>"
        case Table():
            return _table(block)


def _table(table: Table) -> str:
    classes = {**dict.fromkeys(table.long, ' class="t"'), **dict.fromkeys(table.right, ' class="n"')}

    def cells(row: tuple[str, ...], tag: str) -> str:
        texts = [html.escape(clean(text), quote=True) for text in row]
        return "".join(f"<{tag}{classes.get(at, '')}>{text}</{tag}>" for at, text in enumerate(texts))

    head = f"<thead><tr>{cells(table.head, 'th')}</tr></thead>"
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    more = f'<p class="more">{escape(table.more)}</p>' if table.more else ""
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>{more}'


PLUGIN = Html()
