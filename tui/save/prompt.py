"""Asks for a file name and writes what a screen shows, on this machine, in the folder where finetop was started."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetop.core.errors import BadInput
from finetop.core.features.report.formats.markdown import block_text
from finetop.core.features.report.page import Block, Chart, Table
from finetop.core.features.report.svg import standalone
from finetop.core.runtime.files import given_path, write_whole
from finetop.core.text import clean_line, listed, spreadsheet_cell
from finetop.tui.app_interface import Host, host_of, show_refusals
from finetop.tui.paths import completed
from finetop.tui.save import Sheet
from finetop.tui.text import cut_middle
from finetop.tui.widgets.app_screen import AppScreen
from finetop.tui.widgets.frame import Answer, Bottom

_FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)  # the file must load no font from the network


async def ask_of(screen: AppScreen[Any], picture: str) -> None:
    """Ask where to write what a screen shows: its own tables and charts, else a picture of it."""
    host = host_of(screen)
    with show_refusals(host):
        shown = await screen.to_save()
        if screen.is_free:
            ask(screen.bottom, host, shown, picture)


def ask(bottom: Bottom, host: Host, shown: Sheet, screen: str) -> None:
    """Ask for the name above the footer, then write the file; nothing is overwritten without asking."""

    def done(text: str, is_kept: bool) -> None:
        if not is_kept:
            return
        target = _target(host, text)
        if not (target.exists() or target.is_symlink()):
            _write(host, target, shown, screen)
            return
        words = f" {cut_middle(clean_line(target.name), 40)} already exists."
        over = Answer("y", "overwrite", lambda: _write(host, target, shown, screen))
        bottom.ask(((words, "bold"),), [over], leave="cancel")

    bottom.ask_text(
        "save as",
        f"{clean_line(shown.name)}{endings(shown)[0]}",
        done=done,
        keep="save; the extension sets the format" if len(endings(shown)) > 1 else "save",
        leave="cancel",
        fault=lambda text: _fault(host, text, shown),
        complete=lambda text: completed(text, host.folder),
    )


def _target(host: Host, text: str) -> Path:
    return host.folder / given_path(text.strip())


def _fault(host: Host, text: str, shown: Sheet) -> str:
    forms = endings(shown)
    if not text.strip():
        return f"type a name that ends in {' or '.join(forms)}"
    try:
        target = _target(host, text)
    except BadInput as error:
        return error.message
    if target.suffix.lower() not in forms:
        return f"the extension must be {listed(forms, ' or ')}"
    if not target.parent.is_dir():
        return f"no such folder: {cut_middle(clean_line(str(target.parent)), 30)}"
    return "that is a folder" if target.is_dir() else ""


def _write(host: Host, target: Path, shown: Sheet, screen: str) -> None:
    try:
        write_whole(target, written(shown, target.suffix.lower(), screen))
    except OSError as error:
        host.say(f"not saved: {error.strerror or error}.", "red")
    else:
        host.say(f"saved: {target}")


def endings(shown: Sheet) -> tuple[str, ...]:
    """Return the available formats, the usual one first."""
    if shown.charts:
        return (".svg", ".png", ".csv", ".md")
    return (".csv", ".md", ".png", ".svg") if shown.tables else (".svg",)


def written(shown: Sheet, ending: str, screen: str) -> bytes:
    """Return the file's bytes. `screen` is the picture of the screen, used if there is no chart."""
    if ending == ".png":
        from finetop.core.features.report.png import png  # pillow takes 20 ms to import

        return png(shown.charts, shown.tables)
    return _text(shown, ending, screen).encode("utf-8", "replace")


def _text(shown: Sheet, ending: str, screen: str) -> str:
    match ending:
        case ".csv":
            tables = (_points(shown.charts), *shown.tables) if shown.charts else shown.tables
            return "\r\n".join(_csv(table) for table in tables)
        case ".md":
            blocks: tuple[Block, ...] = (*shown.charts, *shown.tables)
            return "\n\n".join(block_text(block) for block in blocks) + "\n"
        case _:
            return standalone(shown.charts) if shown.charts else _FONT.sub("", screen)


def _points(charts: Sequence[Chart]) -> Table:
    """Return the points of the charts' curves as a table: one row each, as drawn."""
    rows = []
    for chart in charts:
        for line in chart.lines:
            low, high = line.low or line.mean, line.high or line.mean
            for step, mean, least, most in zip(line.steps, line.mean, low, high, strict=True):
                rows.append((line.name, f"{step:.9g}", f"{mean:.9g}", f"{least:.9g}", f"{most:.9g}"))
    return Table(("curve", charts[0].x, "mean", "lowest", "highest"), tuple(rows))


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([spreadsheet_cell(cell) for cell in table.head])
    writer.writerows([spreadsheet_cell(cell) for cell in row] for row in table.rows)
    return text.getvalue()
