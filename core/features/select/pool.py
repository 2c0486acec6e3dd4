"""The rows that a selector chooses among: a file, read as often as needed and never held in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from finetop.core.data import files, formats, source_record, sources
from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.data.formats import Kind, Record
    from finetop.core.models.resolved import ResolvedModel
    from finetop.core.recipe.schema import Source

KINDS: tuple[Kind, ...] = ("conversation", "text", "preference", "labelled", "prompt")
SAID_EVERY = 2000  # rows
Report = Callable[[str, int, int], None]  # what is done, rows done, rows in total


class Losses(Protocol):
    """A model that scores answers."""

    base: ResolvedModel

    @property
    def facts(self) -> dict[str, str]:
        """Return what its scores depend on."""

    def losses(self, pool: Pool, *, with_prompt: bool) -> list[float | None]:
        """Return the loss on each answer, nats per token; None if it lies beyond what is read at once."""


@dataclass
class Pool:
    """The rows of one file. Places count from 0, lines of the file from 1."""

    source: Source
    sha256: str
    lines: tuple[int, ...]  # of the rows
    report: Report
    most: int = 0  # the most rows that will be requested
    scorer: Losses | None = None
    _losses: dict[bool, list[float | None]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return Path(str(self.source.path))

    def __len__(self) -> int:
        return len(self.lines)

    def records(self, doing: str) -> Iterator[Record]:
        """Read every row again, reporting progress as `doing`. Raises BadInput."""
        for number, row in enumerate(sources.stream(self.source, None, KINDS), start=1):
            yield row.record
            if number % SAID_EVERY == 0:
                self.report(doing, number, len(self))

    def losses(self, *, with_prompt: bool = True) -> list[float | None]:
        """Return the model's loss on each answer, in nats per token; None if it lies beyond what is read at once."""
        if self.scorer is None:
            raise AssertionError("a selector that needs a model was given none")
        if with_prompt not in self._losses:
            self._losses[with_prompt] = self.scorer.losses(self, with_prompt=with_prompt)
        return self._losses[with_prompt]


def open_pool(source: Source, report: Report) -> Pool:
    """Read a file once, validating each row. Raises BadInput at the first invalid one."""
    path, lines, format_name = Path(str(source.path)), [], source.format
    if files.listed(path) != [path]:
        hint = "Name one of them."
        raise BadInput(f"{path}: rows are selected from one file; these are several.", hint=hint)
    for place, row in sources.rows(source, None):
        if format_name == "auto":
            format_name = sources.format_of(source, None, row, place, KINDS)
        formats.read(row, str(place), format_name, KINDS)
        lines.append(place.number)
        if len(lines) % SAID_EVERY == 0:
            report("reading", len(lines), 0)
    source = replace(source, format=format_name)
    return Pool(source, source_record.sha256_of(path), tuple(lines), report)


def answer_of(record: Record) -> str:
    """Return the text of a row that is learned: the last answer, the better one, or the whole plain text."""
    match record:
        case formats.Conversation(answer=answer) | formats.Labelled(answer=answer):
            return answer
        case formats.Preference(chosen=chosen):
            return chosen
        case formats.Text(text):
            return text
        case formats.Prompt(answer=answer):
            return answer or ""
