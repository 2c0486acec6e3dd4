"""Reads a recipe's data sources into conversations, before anything heavy is loaded: a bad row fails at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.data import formats, hub
from finetop.core.data.hub import is_local
from finetop.core.data.jsonl import stream_rows
from finetop.core.data.source_record import Seen, name_of
from finetop.core.errors import BadInput, EnvironmentTrouble, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from finetop.core.data.formats import Conversation, Kind, Record
    from finetop.core.recipe.schema import Source
    from finetop.core.runtime.home import Home


@dataclass(frozen=True, slots=True)
class Row:
    """A record and where it was written, `faq.jsonl:17`."""

    place: str
    record: Record

    @property
    def conversation(self) -> Conversation:
        """The record, of rows that were read as conversations."""
        assert isinstance(self.record, formats.Conversation)
        return self.record


def read(
    source: Source, home: Home, kinds: Sequence[Kind] = ("conversation",), seen: Seen | None = None
) -> list[Row]:
    """Read all rows of one source (or the first `rows`) as records of these kinds; `seen` is told what is read.

    Raises BadInput at the first row that has no known shape, if there is no such data, or it is empty;
    EnvironmentTrouble if the hub is out of reach.
    """
    rows: list[Row] = []
    format_name: str = source.format
    for place, row in _placed(source, home, seen):
        if seen is not None:
            seen.contents.add(row)
        if format_name == "auto":
            format_name = formats.detect(row, place, kinds)
        rows.append(Row(place, formats.read(row, place, format_name, kinds)))
        if source.rows is not None and len(rows) >= source.rows:
            break
    if not rows:
        raise BadInput(f"{name_of(source)}: has no rows.", hint="Give a data set that has some.")
    return rows


def _placed(source: Source, home: Home, seen: Seen | None) -> Iterator[tuple[str, dict[str, Any]]]:
    if source.path is not None:
        path = Path(source.path)
        for line, row in stream_rows(path):
            yield f"{path.name}:{line}", row
        return
    name = name_of(source)
    for number, row in enumerate(rows_of(source, home, seen), start=1):
        yield f"{name}:{number}", row


def rows_of(source: Source, home: Home, seen: Seen | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a `datasets` data set. Raises BadInput, EnvironmentTrouble."""
    found = _dataset(source, home)
    if seen is not None:
        seen.look_at(found)
    for row in found:
        # A column that a row does not have is None in a table; to a format it is not there.
        yield {key: value for key, value in row.items() if value is not None}


def _dataset(source: Source, home: Home) -> Any:
    """Open a `datasets` data set: of the hub, saved by save_to_disk, or a folder of parquet or JSON files."""
    import datasets

    data_id, split = str(source.id), source.split or "train"
    datasets.disable_progress_bars()
    try:
        if not is_local(data_id):
            _ask_hub(data_id)
        elif _is_saved(Path(data_id)):
            return _pick_split(datasets.load_from_disk(data_id), split, source)
        elif not Path(data_id).is_dir():
            raise BadInput(
                f"data: there is no folder {data_id}.", hint="Give a folder, or a hub id such as org/name."
            )
        return datasets.load_dataset(
            data_id, source.subset, split=split, cache_dir=str(home.root / "datasets")
        )
    except (ValueError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
        hint = "Check the id, split and subset."
        raise BadInput(
            f"data: can't read {data_id} (split {split}): {first_line(error)}", hint=hint
        ) from error


def _is_saved(folder: Path) -> bool:
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def _pick_split(saved: Any, split: str, source: Source) -> Any:
    if not hasattr(saved, "keys"):  # one data set, not a dictionary of splits
        return saved
    if split not in saved:
        there = ", ".join(saved.keys())
        raise BadInput(f"data: {source.id} has no split {split}.", hint=f"There is {there}.")
    return saved[split]


def _ask_hub(data_id: str) -> None:
    """Fail in seconds, not minutes, where the hub is out of reach; with HF_HUB_OFFLINE the cache is used."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return
    answer = hub.ask(data_id, None, kind="dataset")
    if isinstance(answer, BadInput | EnvironmentTrouble):
        raise answer
