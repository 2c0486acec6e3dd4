"""The columns of data versions: all that runs have read, and what one run has read, with lint's findings."""

from __future__ import annotations

from finetop.core.features.data_versions import wording
from finetop.core.features.data_versions.messages import DataVersion, SourceFacts
from finetop.core.protocol.data_diff import Brief
from finetop.core.wording.columns import NOT_KNOWN, Column
from finetop.core.wording.durations import day

RUNS_SHOWN = 3


def _version(row: DataVersion) -> str:
    of = "" if row.number == row.newest else f" of {row.newest}"
    return f"v{row.number}{of}  #{row.content[:6]}"


def _readers(row: DataVersion) -> str:
    """Return the newest runs that read a version: 'tone, faq and 3 more'."""
    more = row.runs - min(len(row.names), RUNS_SHOWN)
    return ", ".join(row.names[:RUNS_SHOWN]) + (f" and {more} more" if more > 0 else "") or NOT_KNOWN


def _use(facts: SourceFacts) -> str:
    row = facts.row
    return row.use if row.share is None else f"{row.use}, {100 * row.share:g} % of all rows"


VERSIONS: list[Column[DataVersion]] = [
    Column("source", wording.source_words, is_right=False),
    Column("version", _version, is_right=False),
    Column("rows", lambda row: f"{row.rows:,}"),
    Column("first read", lambda row: day(row.first_seen), is_right=False),
    Column("runs", lambda row: str(row.runs)),
    Column("read by, newest first", _readers, is_right=False),
]
READ_BY_RUN: list[Column[SourceFacts]] = [
    Column("version", lambda facts: f"{wording.source_words(facts.row)} v{facts.row.number}", is_right=False),
    Column("sha256 of its rows", lambda facts: facts.row.content[:16], is_right=False),
    Column("used as", _use, is_right=False),
    Column("rows", lambda facts: f"{facts.row.rows:,}"),
    Column(
        "change since the previous version",
        lambda facts: wording.since(facts) or "first version read",
        is_right=False,
    ),
    Column("notes", lambda facts: "; ".join(wording.further_facts(facts)), is_right=False),
]
FOUND_BY_LINT: list[Column[tuple[SourceFacts, Brief]]] = [
    Column("finetop lint found", lambda found: found[1].about, is_right=False),
    Column("in", lambda found: wording.source_words(found[0].row), is_right=False),
    Column("severity", lambda found: found[1].severity, is_right=False),
    Column("rows", lambda found: f"{found[1].count:,}"),
    Column("of", lambda found: f"{found[1].of:,}"),
]
