"""What becomes of GGUF files by their verdicts: which are written, which refused, and how that is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from finetop.core.errors import FinetopError
from finetop.core.features.export import wording as exports
from finetop.core.features.export.export import ExportRequest
from finetop.core.features.export.gguf_writer.convert import Converted
from finetop.core.protocol.exports import ExportedFile, ExportVerdict, Standing
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

Ask: TypeAlias = Callable[[Mapping[str, Path]], Sequence[ExportVerdict]]  # files by number format -> verdicts
# Prepares to ask files, and does all that needs a GPU: core/features/export/judge.py
Judge: TypeAlias = Callable[[ExportRequest, Home, EventLog], Ask]


@dataclass(frozen=True)
class Judged:
    """The files of an export with their verdicts."""

    files: list[ExportedFile]

    @property
    def refused(self) -> list[ExportedFile]:
        """Return the files that lost too much."""
        return [file for file in self.files if file.standing == "refused"]

    @property
    def points(self) -> dict[str, str]:
        """Return the verdict of each number format, for the table."""
        return {file.quant: exports.verdict_words(file) for file in self.files}

    @property
    def lines(self) -> list[str]:
        """Return a line for each file, and what it leaves out below; the reason once if none was asked."""
        if all(file.verdict is None for file in self.files):
            return [f"not asked the items of a check: {self.files[0].unasked}"] if self.files else []
        return [words for file in self.files for words in (exports.line(file), f"  {exports.beside(file)}")]


def prepared(request: ExportRequest, home: Home, events: EventLog, judge: Judge | None) -> Ask | None:
    """Prepare to ask the files the items of the check; None if they aren't to be asked. Raises FinetopError."""
    if request.general is None or judge is None:
        return None
    with asking():
        return judge(request, home, events)


def verdicts_of(converted: Converted, aside: Path, ask: Ask | None) -> Sequence[ExportVerdict | None]:
    """Judge the files in `aside`; None for each if they aren't to be asked. Raises FinetopError if they can't be."""
    if ask is None:
        return [None for _ in converted.files]
    with asking():
        return ask({file.quant: aside / file.name for file in converted.files})


@contextmanager
def asking() -> Iterator[None]:
    """Name what could not be done in the block's FinetopError, and how to do without."""
    try:
        yield
    except FinetopError as error:
        hint = f"{error.hint} To export without: --no-check.".strip()
        message = f"the files can't be asked the items of the check: {error.message}"
        raise FinetopError(message, hint=hint) from error


def judged(
    request: ExportRequest,
    converted: Converted,
    aside: Path,
    trained_bytes: int,
    verdicts: Sequence[ExportVerdict | None],
) -> Judged:
    """Describe files with their verdicts. One that is REGRESSED is renamed in `aside`, and loses its Modelfile."""
    files = []
    for file, verdict in zip(converted.files, verdicts, strict=True):
        name = file.name
        standing: Standing = "written"
        if verdict is not None and verdict.verdict == "regressed":
            standing = "anyway" if request.anyway else "refused"
        if standing == "refused":
            name += exports.UNPROVEN
            (aside / file.name).rename(aside / name)
            (aside / converted.modelfile_of(file)).unlink(missing_ok=True)
        exported = ExportedFile(
            step=request.step,
            remedy="" if request.remedy is None else request.remedy.candidate.name,
            folder=str(request.to),
            name=name,
            quant=file.quant,
            bytes=file.bytes,
            trained_bytes=trained_bytes,
            nats=file.measured.nats,
            trained_nats=file.measured.reference_nats,
            tokens_per_s=file.tokens_per_s,
            verdict=verdict,
            unasked=request.unasked if verdict is None else "",
            standing=standing,
        )
        files.append(exported)
    return Judged(files)


def require_kept(request: ExportRequest, judged: Judged) -> None:
    """Raise FinetopError if a file was refused; it is kept for inspection."""
    if judged.refused:
        names = ", ".join(str(request.to / file.name) for file in judged.refused)
        raise FinetopError(
            exports.refusal(judged.refused),
            hint=f"Kept for inspection: {names}. Export with more bits, or write it with --anyway.",
        )
