"""Reads the sample logs of lm-evaluation-harness (0.4.3 and later): scores by task, filter, document and prompt.

A log is a samples_*.jsonl file or a folder of them. Rows differ between versions: up to 0.4.5 they name
neither filter nor metrics (metrics are then the keys that no version uses for anything else), `target` is raw
in 0.4.3 and text since, and numpy's booleans and 32-bit floats were written as text up to 0.4.9.
Files are streamed and texts stay in them: only a row's scores and position are kept, about 0.6 kB, and
`read_row` reads a row again. Faults in a file are counted, with the first place, and never fatal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import BadInput
from finetop.core.features.diff.sample_files import Results, SampleFile, find_files, read_results
from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

DocKey = tuple[str, str]  # the document's hash, the prompt's hash

MAX_LINE_BYTES = 64 * 2**20  # four choices behind a prompt of a million tokens is about 20 MB
NOT_METRICS = frozenset(("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter"))
NOT_METRICS |= {"metrics", "doc_hash", "prompt_hash", "target_hash"}
BROKEN = "lines that are not a JSON object"
NO_HASHES = "rows without hashes"
REPEATS = "repeated documents, counted once"
CONTRADICTIONS = "repeated documents with other scores, the first counts"
BROKEN_RESULTS = "results files that could not be read"


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One document's scores; nan where a metric's value is not a finite number.

    `scores` are in the order of TaskLog.metrics, and may be fewer. `choices` is 0 if the item is not multiple
    choice, `target` is the hash of the right answer ("" if the log has none).
    """

    doc_id: str
    target: str
    choices: int
    scores: tuple[float, ...]
    line: int
    offset: int

    def score(self, place: int) -> float:
        """Return the score of the metric at this position; nan if there is none."""
        return self.scores[place] if place < len(self.scores) else nan


class Fault(msgspec.Struct, frozen=True):
    """A kind of fault: its count, and file:line of the first."""

    kind: str
    count: int
    first: str


@dataclass(frozen=True)
class TaskLog:
    """One task's samples, by filter in the log's order."""

    task: str
    file: SampleFile
    metrics: tuple[str, ...]
    filters: Mapping[str, Mapping[DocKey, Sample]]
    same_choices: bool  # all documents have the same, distinct choices (yes and no)
    faults: tuple[Fault, ...] = ()
    results: Results | None = None


@dataclass(frozen=True)
class SampleLog:
    """Everything read at one path; `notes` record what was chosen."""

    path: Path
    tasks: Mapping[str, TaskLog]
    notes: tuple[str, ...] = ()


class _Argument(msgspec.Struct):
    arg_0: Any = None
    arg_1: Any = None


class _Continuation(msgspec.Struct):
    arg_1: Any = None


_ROW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAMES = msgspec.json.Decoder(list[str])
_TEXT = msgspec.json.Decoder(str)
# Skips the prompt in front of every choice: decoding it takes a third of the time on 5-shot logs.
_CONTINUATIONS = msgspec.json.Decoder(dict[str, _Continuation] | list[Any])
_ARGUMENTS = msgspec.json.Decoder(dict[str, _Argument] | list[Any])


def read_log(path: Path) -> SampleLog:
    """Read a samples_*.jsonl file or a folder of them. Raises NotFound or BadInput if there is no such log."""
    files, notes = find_files(path)
    known: dict[tuple[Path, str], Results | None] = {}
    tasks: dict[str, TaskLog] = {}
    for file in files:
        place = (file.path.parent, file.date)
        broken = False
        if place not in known:
            try:
                known[place] = read_results(file)
            except (OSError, ValueError, RecursionError):
                known[place], broken = None, True
        tasks[file.task] = read_task(file, known[place], broken_results=broken)
    return SampleLog(path, tasks, notes)


def read_task(file: SampleFile, results: Results | None, *, broken_results: bool = False) -> TaskLog:
    """Read one task's file. Raises BadInput if it can't be read, or has no row with hashes."""
    reading = _Reading(file, results.filters(file.task) if results else ())
    if broken_results:
        reading.fault(BROKEN_RESULTS, 0)
    try:
        with file.path.open("rb") as handle:
            for number, offset, line in _lines(handle):
                reading.add(number, offset, line)
    except OSError as error:
        raise BadInput(f"{plain(str(file.path))}: cannot be read: {error.strerror or error}.") from error
    reading.finish()
    if not reading.filters:
        hint = "Samples have doc_hash and prompt_hash since lm-evaluation-harness 0.4.3."
        faults = ", ".join(f"{fault.count} {fault.kind}" for fault in reading.faults.values())
        why = f" ({faults})" if faults else ""
        raise BadInput(f"{plain(str(file.path))}: has no sample in it{why}.", hint=hint)
    return TaskLog(
        task=file.task,
        file=file,
        metrics=tuple(reading.metrics),
        filters=reading.filters,
        same_choices=reading.same_choices,
        faults=tuple(reading.faults.values()),
        results=results,
    )


def read_row(log: TaskLog, sample: Sample) -> dict[str, Any]:
    """Read a sample's whole row again."""
    with log.file.path.open("rb") as handle:
        handle.seek(sample.offset)
        row = json.loads(handle.readline(MAX_LINE_BYTES + 1).decode("utf-8", "replace"))
    return row if isinstance(row, dict) else {}


def _lines(handle: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield each non-blank line with its number, from 1, and its offset in the file."""
    number = offset = 0
    while line := handle.readline(MAX_LINE_BYTES + 1):
        number += 1
        start = offset
        offset += len(line)
        if len(line) > MAX_LINE_BYTES:
            while not line.endswith(b"\n") and (line := handle.readline(MAX_LINE_BYTES)):
                offset += len(line)
            yield number, start, b"too long"
        elif not line.isspace():
            yield number, start, line


@dataclass
class _Reading:
    """A file while it is being read."""

    file: SampleFile
    filter_names: tuple[str, ...]
    metrics: dict[str, int] = field(default_factory=dict)
    filters: dict[str, dict[DocKey, Sample]] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    passes: dict[tuple[str, DocKey], int] = field(default_factory=dict)  # only of rows that name no filter
    answers: dict[int, dict[DocKey, tuple[int, int]]] = field(default_factory=dict)
    first_choices: tuple[str, ...] | None = None
    same_choices: bool = True
    names_of: dict[bytes, tuple[str, ...]] = field(default_factory=dict)
    texts: dict[bytes, str] = field(default_factory=dict)

    def fault(self, kind: str, line: int, count: int = 1) -> None:
        before = self.faults.get(kind)
        place = f"{self.file.path.name}:{line}" if line else self.file.path.name
        if before is None:
            before = Fault(kind, 0, place)
        self.faults[kind] = Fault(kind, before.count + count, before.first)

    def add(self, number: int, offset: int, line: bytes) -> None:
        row = _decode(line)
        if row is None:
            self.fault(BROKEN, number)
            return
        doc, prompt = self._text(row.get("doc_hash")), self._text(row.get("prompt_hash"))
        if not doc or not prompt:
            self.fault(NO_HASHES, number)
            return
        key = (doc, prompt)
        sample = Sample(
            doc_id=_plain_text(row.get("doc_id")),
            target=self._shared_text(row.get("target_hash")),
            choices=self._choices(row),
            scores=self._scores(row),
            line=number,
            offset=offset,
        )
        samples = self.filters.setdefault(self._filter(row, key, sample.doc_id), {})
        if (first := samples.get(key)) is None:
            samples[key] = sample
        else:
            self._repeat(first, sample)

    def finish(self) -> None:
        """Resolve repeated passes over the documents in rows that name no filter: other filters, or repeats."""
        self.same_choices = self.same_choices and self.first_choices is not None
        first = self.filters.get("")
        for place in sorted(place for place in self.answers if place):
            samples = self.filters[_pass_name(place)]
            if first is None or place < len(self.filter_names) or self._is_filter(place):
                continue
            for key, sample in samples.items():
                if key in first:
                    self._repeat(first[key], sample)
                else:
                    first[key] = sample
            del self.filters[_pass_name(place)]
        names = {_pass_name(place): name for place, name in enumerate(self.filter_names)}
        if len(self.filters) == 1 and first is not None and not names:
            return  # one filter without a name
        self.filters = {names.get(name, name or "#1"): samples for name, samples in self.filters.items()}

    def _is_filter(self, place: int) -> bool:
        """Return whether a later pass comes from another filter.

        Another filter goes over all documents once more and extracts other answers from the same responses;
        a log that was written twice has the same answers, and another run has other responses.
        """
        first, later = self.answers[0], self.answers[place]
        if first.keys() != later.keys() or any(first[key][0] != later[key][0] for key in first):
            return False
        return any(first[key][1] != later[key][1] for key in first)

    def _filter(self, row: Mapping[str, msgspec.Raw], key: DocKey, doc_id: str) -> str:
        if name := self._shared_text(row.get("filter")):
            return name
        place = self.passes.get((doc_id, key), -1) + 1
        self.passes[doc_id, key] = place
        response, filtered = (hash(bytes(row.get(name, b""))) for name in ("resps", "filtered_resps"))
        self.answers.setdefault(place, {}).setdefault(key, (response, filtered))
        return _pass_name(place)

    def _repeat(self, first: Sample, again: Sample) -> None:
        same = len(first.scores) == len(again.scores) and all(
            before == after or (before != before and after != after)
            for before, after in zip(first.scores, again.scores, strict=True)
        )
        self.fault(REPEATS if same else CONTRADICTIONS, again.line)

    def _scores(self, row: Mapping[str, msgspec.Raw]) -> tuple[float, ...]:
        scores = [nan] * len(self.metrics)
        for name in self._metric_names(row):
            value = _number(row[name]) if name in row else nan
            place = self.metrics.setdefault(name, len(self.metrics))
            if place == len(scores):
                scores.append(value)
            else:
                scores[place] = value
        return tuple(scores)

    def _metric_names(self, row: Mapping[str, msgspec.Raw]) -> tuple[str, ...]:
        data = bytes(row.get("metrics", b""))
        if data not in self.names_of:
            try:
                self.names_of[data] = tuple(_NAMES.decode(data)) if data else ()
            except msgspec.MsgspecError:
                self.names_of[data] = ()
        return self.names_of[data] or tuple(name for name in row if name not in NOT_METRICS)

    def _choices(self, row: Mapping[str, msgspec.Raw]) -> int:
        """Count the choices of a multiple-choice item, and track whether they are the same texts everywhere."""
        texts = _continuations(row)
        if len(texts) < 2:
            self.same_choices = False
            return 0
        if self.first_choices is None:
            self.first_choices = texts
            self.same_choices = self.same_choices and len(set(texts)) == len(texts)
        elif texts != self.first_choices:
            self.same_choices = False
        return len(texts)

    def _text(self, raw: msgspec.Raw | None) -> str:
        try:
            return _TEXT.decode(raw) if raw is not None else ""
        except msgspec.MsgspecError:
            return ""

    def _shared_text(self, raw: msgspec.Raw | None) -> str:
        """Return a text, sharing one object between equal texts: there are few targets and filters."""
        if raw is None:
            return ""
        data = bytes(raw)
        if data not in self.texts:
            self.texts[data] = self._text(raw)
        return self.texts[data]


def _decode(line: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        return _ROW.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:  # Python writes NaN and Infinity, which are not JSON
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in row.items()}


def _continuations(row: Mapping[str, msgspec.Raw]) -> tuple[str, ...]:
    """Return the texts scored after a prompt; empty where answers were written or there is only one text."""
    if "arguments" not in row:
        return ()
    unconditional = "acc_mutual_info" in row
    try:
        decoder = _ARGUMENTS if unconditional else _CONTINUATIONS
        arguments = decoder.decode(row["arguments"])
    except msgspec.MsgspecError:
        return ()
    if isinstance(arguments, dict):
        pairs = [(getattr(argument, "arg_0", None), argument.arg_1) for argument in arguments.values()]
    else:
        pairs = [(item[0], item[1]) for item in arguments if isinstance(item, list) and len(item) > 1]
    # For mutual information every choice is scored a second time, without a context.
    kept = [text for prompt, text in pairs if not (unconditional and prompt == "")]
    texts = tuple(text for text in kept if isinstance(text, str))
    return texts if len(texts) == len(pairs) or unconditional else ()


def _number(raw: msgspec.Raw) -> float:
    """Read a score: a number, a boolean, or either as text (numpy's, up to 0.4.9); nan for anything else."""
    text = bytes(raw).strip(b'"')
    if (known := _SCORES.get(text)) is not None:
        return known
    try:
        value = float(text)
    except ValueError:
        return nan
    return value if isfinite(value) else nan


_SCORES = {
    b"1.0": 1.0, b"0.0": 0.0, b"1": 1.0, b"0": 0.0,
    b"true": 1.0, b"false": 0.0, b"True": 1.0, b"False": 0.0,
}  # fmt: skip


def _plain_text(raw: msgspec.Raw | None) -> str:
    return bytes(raw).strip(b'"').decode("utf-8", "replace")[:100] if raw is not None else ""


def _pass_name(place: int) -> str:
    return f"#{place + 1}" if place else ""
