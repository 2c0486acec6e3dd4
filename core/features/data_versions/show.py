"""The versions of a run's data, for `finetop show`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finetop.core.client.connection import Client
from finetop.core.commands import Section
from finetop.core.commands.shared.output import plain
from finetop.core.features.data_versions import wording
from finetop.core.features.data_versions.messages import DataOf, SourceFacts
from finetop.core.protocol.runs import RunDetail


def read(client: Client, detail: RunDetail) -> Section:
    """Ask for the versions of a run's data."""
    sources = client.ask(DataOf(detail.row.name)).sources if detail.sources else []
    return Section("data", list(lines(sources)), {"data": plain(sources)})


def lines(sources: Sequence[SourceFacts]) -> Iterator[tuple[str, str]]:
    """Return a head, or nothing, and a text for each line of these versions."""
    for source in sources:
        yield "version", wording.version_line(source)
        for line in wording.further_facts(source):
            yield "", line
