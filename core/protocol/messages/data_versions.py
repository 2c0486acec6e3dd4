"""Versions of data: which were seen, how a run's differ from before, and how two runs' data differ."""

from __future__ import annotations

import msgspec

from finetop.core.protocol.data_diff import Difference, Now, Origin, SourceRow
from finetop.core.protocol.messages.limits import Whole
from finetop.core.protocol.request import Question


class DataVersion(msgspec.Struct, frozen=True):
    """What a source held at one time."""

    path: str  # of the file, or the data set's id
    part: str
    limit: int | None  # so many rows were wanted
    number: int
    content: str
    rows: int
    first_seen: float
    newest: int  # of the source's versions
    runs: int  # how many read it
    names: list[str]  # of the newest of them
    last_read: float
    origin: Origin | None = None  # what its file was made of
    origin_number: int = 0  # the version of that; 0: no run has read it


class DataVersionsAnswer(msgspec.Struct, frozen=True):
    versions: list[DataVersion]
    total: int


class DataVersions(Question[DataVersionsAnswer], tag="data-versions", frozen=True):
    """List the versions of data that were seen, those that were read last first; of paths with this in them."""

    path: str = ""
    limit: Whole = 50


class SourceFacts(msgspec.Struct, frozen=True):
    row: SourceRow
    before: int = 0  # the number of the version before; 0: there is none
    before_run: str = ""  # a run that read that
    difference: Difference | None = None  # against it
    now: Now | None = None  # None: it is no file
    now_number: int = 0  # of the version that the file holds now, where it was changed to one that was read


class DataOfAnswer(msgspec.Struct, frozen=True):
    run: str
    sources: list[SourceFacts]


class DataOf(Question[DataOfAnswer], tag="data-of", frozen=True):
    """What a run read: how it differs from the version before, and what lies there now."""

    run: str


class SourcePair(msgspec.Struct, frozen=True):
    """A source of one run and the one of the other that stands for it; one of the two may lack."""

    one: SourceRow | None
    other: SourceRow | None
    difference: Difference | None = None  # where there are both


class DataDifferAnswer(msgspec.Struct, frozen=True):
    run: str
    other: str
    pairs: list[SourcePair]
    whole: Difference | None = None  # of all rows that are trained on; None where one pair says it
    unknown: list[str] = []  # of the two, those that told nothing of their data


class DataDiffer(Question[DataDifferAnswer], tag="data-differ", frozen=True):
    """How the data of two runs differ, source by source, with a few examples of each kind of difference."""

    run: str
    other: str
    examples: Whole = 2
