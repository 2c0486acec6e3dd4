"""What lint and who asked for it say to each other: what to look at, how far it is, and what was found."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from finetop.core.data.versions.lint_record import FOLDER, SHA256
from finetop.core.protocol.data_diff import Brief, Kept
from finetop.core.runtime.files import write_whole

Severity = Literal["error", "warning", "note"]
SourceRole = Literal["train", "replay", "eval", "test"]
PLACES = 1000  # of a finding that are named in a report; all are counted
EXAMPLES = 5


class Given(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows to look at: a file, or a data set of the hub or of a folder; `settings` are a recipe's, as it has them."""

    role: SourceRole
    settings: dict[str, Any]


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What lint is asked: rows, or a resolved recipe whose rows are meant; and which findings."""

    sources: tuple[Given, ...] = ()
    recipe: dict[str, Any] | None = None
    model: str | None = None  # whose tokenizer counts, where there is no recipe
    max_tokens: int | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    against: tuple[str, ...] = ()  # files of benchmarks, whose items no training row may contain
    options: tuple[str, ...] = ()  # of findings that look only where they are asked to
    sample: int = 2000  # rows at most that are scored by a model, where that is asked for
    fix: str | None = None  # the file to write
    workers: int = 2
    most_rows: int | None = None  # of a source are looked at


class Example(msgspec.Struct, frozen=True):
    """A row that shows a finding: `faq.jsonl:17`, and a part of it that is safe to show."""

    place: str
    text: str


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One kind of problem: how often, where, and what it means."""

    name: str
    about: str
    severity: Severity
    count: int  # rows
    of: int  # rows that could have it
    why: str
    do: str = ""  # what to do about it, said to a person
    fix: str = ""  # what --fix would do
    fixable: int = 0  # rows that it would change or remove
    kinds: dict[str, int] = {}  # the same rows by what exactly it is; a row may be of several
    places: tuple[str, ...] = ()  # the first PLACES
    examples: tuple[Example, ...] = ()


class SourceFacts(msgspec.Struct, frozen=True):
    """One source as it was read; bytes and sha256 of a file's whole content, format as it was read."""

    name: str
    role: SourceRole
    format: str
    rows: int
    bytes: int
    sha256: str


class Lengths(msgspec.Struct, frozen=True):
    """How long the rows to train on are. `how` says what was counted: a tokenizer's tokens, or characters."""

    how: str
    tokens: int
    learned: int  # tokens that a loss is taken of, before anything is cut
    kept: int  # of those, what is left after cutting or dropping
    shortest: int
    median: int
    p90: int
    p99: int
    longest: int
    max_tokens: int | None = None
    on_long: str | None = None
    over: int = 0  # rows of more than max_tokens
    histogram: tuple[tuple[int, int], ...] = ()  # rows of at most so many tokens: powers of two


class Fixed(msgspec.Struct, frozen=True):
    """What --fix wrote."""

    path: str
    manifest: str
    rows: int
    removed: int
    mended: int


class Trouble(msgspec.Struct, frozen=True):
    """Why there is no report: an error of ours, as the command line says it."""

    message: str
    hint: str
    exit_code: int


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that lint found, worst first."""

    sources: tuple[SourceFacts, ...]
    rows: int
    lengths: Lengths
    findings: tuple[Finding, ...]
    looked_for: tuple[str, ...]  # the findings that were asked
    seconds: float
    notes: tuple[str, ...] = ()  # what could not be looked at, and why
    fixed: Fixed | None = None
    unfixed: Trouble | None = None  # why --fix wrote nothing, where it was asked to

    @property
    def matters(self) -> bool:
        """Whether anything was found that is more than a note."""
        return any(finding.severity != "note" for finding in self.findings)


class Progress(msgspec.Struct, frozen=True):
    """How far it is."""

    phase: str
    done: float
    total: float
    unit: str = "rows"
    rows: int = 0


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the process that lints."""

    progress: Progress | None = None
    report: Report | None = None
    trouble: Trouble | None = None


def keep(report: Report, root: Path) -> None:
    """Keep what was found of the files that are trained on; what was kept of them before goes."""
    found = [Brief(one.name, one.about, one.severity, one.count, one.of) for one in report.findings]
    content = msgspec.json.encode(Kept(time.time(), [one.name for one in report.sources], found))
    for source in report.sources:
        if source.role in ("train", "replay") and SHA256.fullmatch(source.sha256) and root.is_dir():
            with suppress(OSError):  # a full disk, a home that is not ours: the report itself was told
                (root / FOLDER).mkdir(mode=0o700, exist_ok=True)
                write_whole(root / FOLDER / f"{source.sha256}.json", content)
