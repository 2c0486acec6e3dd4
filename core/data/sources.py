"""Reads a recipe's data sources into records, before anything heavy is loaded: a bad row fails at once."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.data import columns, files, formats, hub
from finetop.core.data.files import Place
from finetop.core.data.hub import is_local
from finetop.core.data.source_record import Seen, name_of
from finetop.core.errors import BadData, BadInput, EnvironmentTrouble, first_line
from finetop.core.runtime import home as home_folder
from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from finetop.core.data.formats import Conversation, Kind, Record
    from finetop.core.recipe.schema import Source
    from finetop.core.runtime.home import Home

MOST_NAMED = 12  # keys, or rows
COUNTED = 20_000  # rows that are read to count those with the same fault
CACHE = "datasets"  # folder in the home: data sets of the hub, as `datasets` keeps them
ELSEWHERE = "Save it where there is a network: datasets.load_dataset(…).to_json(FILE), and give path: FILE."
LOOKED_AT = 1000  # rows whose labels are listed if a source has no known shape


@dataclass(frozen=True, slots=True)
class Row:
    """A record and where it was written, `faq.jsonl:17`."""

    place: str
    record: Record
    unused: tuple[str, ...] = ()  # keys as written that are not read

    @property
    def conversation(self) -> Conversation:
        """The record, of a row that was read as a conversation."""
        assert isinstance(self.record, formats.Conversation)
        return self.record


def read(
    source: Source, home: Home | None, kinds: Sequence[Kind] = ("conversation",), seen: Seen | None = None
) -> list[Row]:
    """Read all rows (or the first `rows`) of a source as records of these kinds; `seen` records what is read.

    Raises BadInput for a row of unknown shape, or if there is none; EnvironmentTrouble if the hub can't be reached.
    """
    try:
        rows = list(stream(source, home, kinds, seen))
    except BadData as error:
        error.hint = f"{_alike(error, source, home, kinds)} {error.hint}".strip()
        raise
    if not rows:
        raise BadInput(f"{name_of(source)}: has no rows.", hint="Give a data set that has some.")
    return rows


def _alike(error: BadData, source: Source, home: Home | None, kinds: Sequence[Kind]) -> str:
    """Return how many rows have the fault of this one, and where, once the first of a file can be read."""
    lines, total, format_name = [], 0, "auto"
    for place, row in islice(entries(source, home), COUNTED):
        total += 1
        fault = row
        if not isinstance(row, BadData):
            try:
                format_name = formats.detect(row, "", kinds) if format_name == "auto" else format_name
                formats.read(row, str(place), format_name, kinds)
                continue
            except BadData as other:
                fault = other
        lines += [place.number] if _fault_of(fault) == _fault_of(error) else []
    if not 0 < len(lines) < total:
        return ""
    more = f" and {len(lines) - MOST_NAMED} more" if len(lines) > MOST_NAMED else ""
    first = f"the first {total:,}" if total == COUNTED else f"{total:,}"
    at = f"{', '.join(map(str, lines[:MOST_NAMED]))}{more}"
    counted = f"{len(lines):,} of {first} rows (at {at})."
    if source.path is None:
        return counted
    line = columns.recipe_line(source.columns, source.labels)
    words = ["finetop", "lint", name_of(source), *(["--columns", line] if line else []), "--fix", "FIXED"]
    return f"{counted} {shlex.join(words)} removes such rows."


def _fault_of(error: object) -> str:
    """Return an error without what differs between rows: its place, numbers and quoted values."""
    message = error.message.partition(": ")[2] if isinstance(error, BadData) else ""
    return re.sub(r"\d+|'[^']*'", "", message)


def stream(
    source: Source, home: Home | None, kinds: Sequence[Kind] = ("conversation",), seen: Seen | None = None
) -> Iterator[Row]:
    """Yield what `read` returns, row by row. Reading files needs no home."""
    format_name: str = source.format
    format: formats.Format | None = None
    for place, row in islice(rows(source, home, seen), source.rows):
        if format_name == "auto":
            format_name = format_of(source, home, row, place, kinds)
        if format is None:
            format = formats.load(format_name)
            require_read(source, format, place, kinds)
        try:
            record = formats.read(row, str(place), format_name, kinds)
        except BadData as error:
            named = _labels_to_paste(source, home, error)
            error.hint = " ".join((*columns.places(source.columns, error.message), error.hint, *named))
            raise
        yield Row(str(place), record, format.unused(row))


def _labels_to_paste(source: Source, home: Home | None, error: BadData) -> Iterator[str]:
    """Yield the `labels` of a source whose labels are a few words, none of which can be read as true or false."""
    if "label is " not in error.message or source.labels:
        return
    values = {columns.label_of(row["label"]) for row in first_rows(source, home) if "label" in row}
    if len(values) <= columns.MOST_RATINGS and not values & {"true", "false", "1", "0"}:
        line = columns.recipe_line(source.columns, columns.ratings(sorted(values)))
        yield f"Write beside path: {line}."


def require_read(source: Source, format: formats.Format, place: Place, kinds: Sequence[Kind]) -> None:
    """Refuse a key of `columns` that the rows' format does not read. Raises BadData."""
    for key in source.columns:
        if key in format.keys:
            continue
        others = [other for other in formats.of_kinds(kinds) if source.columns.keys() <= {*other.keys}]
        hint = (
            f"Remove it, or use the keys of {others[0].name}: {others[0].about}." if others else "Remove it."
        )
        if key == "system" and not others and "instruction" not in source.columns:
            hint = "Use instruction and output for the question and answer, which go with system."
        raise BadData(
            f"{place}: columns.{key} has no effect: rows of {format.name} have no {key}.", hint=hint
        )


def unused_sentence(name: str, rows: Iterable[Row]) -> str:
    """Return which keys of a source's rows are not read; empty if all are."""
    keys = sorted({key for row in rows for key in row.unused})
    named = ", ".join(keys[:MOST_NAMED]) + (
        f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
    )
    return f"{name}: not used: {plain(named)}" if keys else ""


def format_of(
    source: Source, home: Home | None, row: dict[str, Any], place: Place, kinds: Sequence[Kind]
) -> str:
    """Return the format of a source from its first row. Raises BadData with recipe lines that would give it one."""
    try:
        return formats.detect({**dict.fromkeys(source.columns), **row}, str(place), kinds)
    except BadData as error:
        if source.columns:
            error.hint = f"With columns, a row has only the listed keys. Write {formats.shapes(kinds)}."
            raise
        error.hint = formats.renaming(first_rows(source, home), kinds)
        raise


def first_rows(source: Source, home: Home | None) -> list[dict[str, Any]]:
    """Return the readable ones of a source's first rows."""
    return [row for _, row in islice(entries(source, home), LOOKED_AT) if isinstance(row, dict)]


def as_columns(source: Source, home: Home | None, kinds: Sequence[Kind]) -> str:
    """Return recipe lines that read a source's rows as others of these kinds; empty if none can be guessed."""
    return columns.guess(first_rows(source, home), kinds)


def rows(
    source: Source, home: Home | None, seen: Seen | None = None
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield each row of a source with its place and its shaped keys. Raises BadInput at the first fault."""
    for place, row in entries(source, home, seen):
        if isinstance(row, BadData):
            raise row
        yield place, row


def entries(
    source: Source, home: Home | None, seen: Seen | None = None
) -> Iterator[tuple[Place, dict[str, Any] | BadData]]:
    """Yield each row of a source, or its error alone; `seen` records rows as written. Raises BadInput."""
    is_first = True
    is_file = source.path is not None
    for place, row in files.entries(Path(str(source.path))) if is_file else _set_rows(source, home, seen):
        if isinstance(row, BadData):
            yield place, row
            continue
        if is_first:
            columns.require(row, source.columns, place)
            is_first = False
        # A missing column is None in a table; a format must not see that key.
        kept = files.filled(row, place) if is_file else files.without_nulls(row)
        if seen is not None:
            seen.contents.add(kept)
        try:
            yield place, columns.shaped(kept, source.columns, source.labels, place)
        except BadData as error:
            yield place, error


def _set_rows(source: Source, home: Home | None, seen: Seen | None) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield the rows of a `datasets` data set. Raises BadInput, EnvironmentTrouble."""
    assert home is not None  # only files can be read without one
    dataset = _dataset(source, home)
    if seen is not None:
        seen.look_at(dataset)
    name = name_of(source)
    for number, row in enumerate(dataset, start=1):
        yield Place(name, number), row


def _dataset(source: Source, home: Home) -> Any:
    """Open a `datasets` data set: from the hub, written by save_to_disk, or a folder of Parquet or JSON files."""
    import datasets

    data_id, split = str(source.id), source.split or "train"
    datasets.disable_progress_bars()
    try:
        if not is_local(data_id):
            require_reachable(source, home)
            _ask_hub(data_id)
        elif any((Path(data_id) / name).is_file() for name in ("state.json", "dataset_dict.json")):
            return _pick_split(datasets.load_from_disk(data_id), split, source)
        elif not Path(data_id).is_dir():
            raise BadInput(f"data: no folder {data_id}.", hint="Give a folder, or a hub id such as org/name.")
        home_folder.make(home)
        cache = str(home.root / CACHE)
        return datasets.load_dataset(data_id, source.subset, split=split, cache_dir=cache)
    except ConnectionError as error:
        why = f"data: {data_id} is not here, and the hub can't be reached ({first_line(error)})"
        raise EnvironmentTrouble(f"{why}.", hint=ELSEWHERE) from error
    except (ValueError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
        fault = f"data: can't read {data_id} (split {split}): {first_line(error)}"
        raise BadInput(fault, hint="Check the id, split and subset.") from error


def _pick_split(saved: Any, split: str, source: Source) -> Any:
    if not hasattr(saved, "keys"):  # one data set, not a dictionary of splits
        return saved
    if split not in saved:
        splits = ", ".join(saved.keys())
        raise BadInput(f"data: {source.id} has no split {split}.", hint=f"There is {splits}.")
    return saved[split]


def require_reachable(source: Source, home: Home) -> None:
    """Require a data set of the hub to be in the home, if HF_HUB_OFFLINE is set. Raises BadInput."""
    data_id = source.id
    if data_id is None or is_local(data_id) or not _is_offline():
        return
    wanted = re.sub(r"\W|_", "", data_id).lower()
    kept = (home.root / CACHE).glob("*___*")  # by datasets: org___name
    if not any(re.sub(r"\W|_", "", folder.name).lower() == wanted for folder in kept):
        why = f"data: {data_id} is not here, and HF_HUB_OFFLINE keeps the hub from being asked"
        raise BadInput(f"{why}.", hint=f"Unset it. Or: {ELSEWHERE}")


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def _ask_hub(data_id: str) -> None:
    """Fail in seconds, not minutes, if the hub can't be reached; with HF_HUB_OFFLINE the cache is used."""
    if _is_offline():
        return
    answer = hub.ask(data_id, None, kind="dataset")
    if isinstance(answer, BadInput | EnvironmentTrouble):
        raise answer
