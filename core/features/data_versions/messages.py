"""Data versions: which were seen, how a run's differ from earlier ones, and how two runs' data differ."""

from __future__ import annotations

import msgspec

from finetop.core.protocol.data_diff import Difference, Now, Origin, SourceRow
from finetop.core.protocol.messages.limits import Whole
from finetop.core.protocol.request import Question


class DataVersion(msgspec.Struct, frozen=True):
    """The content of a source at one time."""

    path: str  # of the file, or the data set's id
    part: str
    limit: int | None  # most rows to read, if requested
    number: int
    content: str
    rows: int
    first_seen: float
    newest: int  # of the source's versions
    runs: int  # number of runs that read it
    names: list[str]  # of the newest of these runs
    last_read: float
    origin: Origin | None = None  # what its file was made of
    origin_number: int = 0  # the version of that; 0: no run has read it


class DataVersionsAnswer(msgspec.Struct, frozen=True):
    versions: list[DataVersion]
    total: int


class DataVersions(Question[DataVersionsAnswer], tag="data-versions", frozen=True):
    """List the data versions seen, last read first; only of paths that contain `path`."""

    path: str = ""
    limit: Whole = 50


class SourceFacts(msgspec.Struct, frozen=True):
    row: SourceRow
    before: int = 0  # number of the version before; 0: none
    before_run: str = ""  # a run that read that version
    difference: Difference | None = None  # from that version
    now: Now | None = None  # None: it is not a file
    now_number: int = 0  # version in the file now, if it changed to one that was read before


class DataOfAnswer(msgspec.Struct, frozen=True):
    run: str
    sources: list[SourceFacts]


class DataOf(Question[DataOfAnswer], tag="data-of", frozen=True):
    """What a run read: how it differs from the version before, and what the file contains now."""

    run: str


class SourcePair(msgspec.Struct, frozen=True):
    """A source of one run and its counterpart in the other; either may be missing."""

    first: SourceRow | None = msgspec.field(name="one")
    other: SourceRow | None
    difference: Difference | None = None  # if both exist


class DataDifferAnswer(msgspec.Struct, frozen=True):
    run: str
    other: str
    pairs: list[SourcePair]
    whole: Difference | None = None  # of all training rows; None if a single pair covers it
    unknown: list[str] = []  # of the two runs, those that reported no data


class DataDiffer(Question[DataDifferAnswer], tag="data-differ", frozen=True):
    """How the data of two runs differ, source by source, with a few examples of each kind of difference."""

    run: str
    other: str
    examples: Whole = 2
