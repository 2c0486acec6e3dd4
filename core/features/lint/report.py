"""Messages between lint and its client: what to check, progress, and what was found."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Literal

import msgspec

from finetop.core.errors import EnvironmentTrouble
from finetop.core.features.data_versions.lint_record import FOLDER, SHA256
from finetop.core.protocol.data_diff import Brief, Kept
from finetop.core.runtime import home as home_folder
from finetop.core.runtime.files import write_whole
from finetop.core.runtime.home import Home

Severity = Literal["error", "warning", "note"]
SourceRole = Literal["train", "replay", "eval", "test"]
PLACES = 1000  # places of a finding that a report names; all are counted
EXAMPLES = 5
LEARNED: tuple[SourceRole, ...] = ("train", "replay")


class Given(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows to check: a file, or a data set of the hub or a folder; `settings` are a recipe's source settings."""

    role: SourceRole
    settings: dict[str, Any]


class LintRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A lint request: rows, or a resolved recipe whose rows are meant; and which findings."""

    sources: tuple[Given, ...] = ()
    recipe: dict[str, Any] | None = None
    model: str | None = None  # its tokenizer counts tokens, if there is no recipe
    max_tokens: int | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    against: tuple[str, ...] = ()  # benchmark files, whose items no training row may contain
    options: tuple[str, ...] = ()  # of findings that only run on request
    sample: int = 2000  # at most this many rows are scored by a model, if requested
    fix: str | None = None  # the file to write
    workers: int = 2
    most_rows: int | None = None  # of a source are checked


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
    do: str = ""  # what a person should do about it
    fix: str = ""  # what --fix would do
    fixable: int = 0  # rows that it would change or remove
    kinds: dict[str, int] = {}  # the same rows by exact kind; a row may have several
    places: tuple[str, ...] = ()  # the first PLACES
    examples: tuple[Example, ...] = ()


class SourceFacts(msgspec.Struct, frozen=True):
    """One source as read: bytes and sha256 of the file's whole content, and the format used."""

    name: str
    role: SourceRole
    format: str
    rows: int
    bytes: int
    sha256: str


class Lengths(msgspec.Struct, frozen=True):
    """How long the rows to train on are. `how` is what was counted: a tokenizer's tokens, or characters."""

    how: str
    tokens: int
    learned: int  # tokens with a loss, before anything is cut
    kept: int  # those left after cutting or dropping
    shortest: int
    median: int
    p90: int
    p99: int
    longest: int
    max_tokens: int | None = None
    on_long: str | None = None
    over: int = 0  # rows of more than max_tokens
    histogram: tuple[tuple[int, int], ...] = ()  # rows of at most this many tokens: powers of two


class Fixed(msgspec.Struct, frozen=True):
    """What --fix wrote."""

    path: str
    manifest: str
    rows: int
    removed: int
    fixed: int


class Trouble(msgspec.Struct, frozen=True):
    """Why there is no report: one of our errors, as the command line prints it."""

    message: str
    hint: str
    exit_code: int


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that lint found, worst first."""

    sources: tuple[SourceFacts, ...]
    rows: int
    lengths: Lengths
    findings: tuple[Finding, ...]
    looked_for: tuple[str, ...]  # the findings that were run
    seconds: float
    notes: tuple[str, ...] = ()  # what could not be checked, and why
    fixed: Fixed | None = None
    unfixed: Trouble | None = None  # why a requested --fix wrote nothing

    @property
    def matters(self) -> bool:
        """Return whether anything was found that is more than a note."""
        return any(finding.severity != "note" for finding in self.findings)


class Progress(msgspec.Struct, frozen=True):
    """Progress of a lint."""

    phase: str
    done: float
    total: float


class LintMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of output of the process that lints."""

    progress: Progress | None = None
    report: Report | None = None
    trouble: Trouble | None = None


def keep(report: Report, home: Home) -> None:
    """Save what was found in the files that are trained on, replacing earlier results."""
    briefs = [Brief(rule.name, rule.about, rule.severity, rule.count, rule.of) for rule in report.findings]
    content = msgspec.json.encode(Kept(time.time(), [entry.name for entry in report.sources], briefs))
    for source in report.sources:
        if source.role in LEARNED and SHA256.fullmatch(source.sha256) and home.root.is_dir():
            # a full disk, or a home that is not ours: the report was delivered
            with suppress(OSError, EnvironmentTrouble):
                home_folder.make(
                    home
                )  # before anything of ours is in an empty folder, which would be no home then
                home_folder.require_home(home.root)
                (home.root / FOLDER).mkdir(mode=0o700, exist_ok=True)
                write_whole(home.root / FOLDER / f"{source.sha256}.json", content)
