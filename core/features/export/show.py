"""The exported files of a run, for `finetop show`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finetop.core.client.connection import Client
from finetop.core.commands import Section
from finetop.core.features.export import wording
from finetop.core.protocol.exports import ExportedFile
from finetop.core.protocol.runs import RunDetail
from finetop.core.text import clean_line
from finetop.core.wording.durations import ago


def read(client: Client, detail: RunDetail) -> Section:
    """Return what the run's detail says of its files."""
    return Section("check", list(lines(detail.exports)))


def lines(files: Sequence[ExportedFile]) -> Iterator[tuple[str, str]]:
    """Return a head, or nothing, and a text for each line of these files."""
    for file in files:
        yield "export", f"at step {file.step}: {clean_line(wording.line(file))}, {ago(file.at)} ago"
        yield "", clean_line(wording.beside(file), limit=1000)
        yield "", f"{clean_line(file.folder)}/{clean_line(file.name)}"
