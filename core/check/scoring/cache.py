"""Item scores that are kept: HOME/scores/KEY.jsonl, a file for each model and task and all that can move a score.

The first line is the whole key, so that a file can be told without its name; each further line is one item's
score with the hash of its rendered prompt. Appended only, a line in one write; a torn line is scored again.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.models import collectives
from finetop.core.protocol.events import ItemScore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

FORMAT = 1


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item's score under the file's key, and the hash of the prompt it was given."""

    prompt: str
    score: ItemScore


class _Header(msgspec.Struct, frozen=True):
    key: dict[str, Any]


@dataclass(frozen=True)
class ScoreKey:
    """What a score depends on, item and prompt aside. `facts` is plain data."""

    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name the file: sha256 over the canonical JSON of all facts, in 32 hex digits."""
        return hashlib.sha256(_canonical(self.facts)).hexdigest()[:32]


def score_key(model: Mapping[str, Any], task: Mapping[str, Any]) -> ScoreKey:
    """Join what is known of a model and of how it is run with what is known of a task and its batches."""
    return ScoreKey({"format": FORMAT, "model": dict(model), "task": dict(task)})


def read(folder: Path, key: ScoreKey, prompts: Mapping[str, str]) -> dict[str, ItemScore]:
    """Read the scores of items whose prompt (item -> hash) is still the same.

    Nothing where there is no file, or another key's. The first rank reads for all: it writes meanwhile.
    """
    return collectives.from_first(lambda: _read(folder, key, prompts))


def _read(folder: Path, key: ScoreKey, prompts: Mapping[str, str]) -> dict[str, ItemScore]:
    try:
        lines = (folder / f"{key.name}.jsonl").read_bytes().split(b"\n")
    except OSError:
        return {}
    try:
        header = msgspec.json.decode(lines[0], type=_Header)
    except msgspec.DecodeError:
        return {}
    if _canonical(header.key) != _canonical(key.facts):
        return {}
    found: dict[str, ItemScore] = {}
    for text in lines[1:]:
        try:
            line = msgspec.json.decode(text, type=Line)
        except msgspec.DecodeError:
            continue  # torn by a crash, or the empty piece after the last newline
        if prompts.get(line.score.item) == line.prompt:
            found[line.score.item] = line.score
    return found


def read_or_score(
    folder: Path, key: ScoreKey | None, prompts: Mapping[str, str], score: Callable[[], list[ItemScore]]
) -> dict[str, ItemScore]:
    """Return the scores of items (item -> prompt's hash) if all are kept, else score them and keep that.

    Without a key nothing is kept.
    """
    kept = read(folder, key, prompts) if key else {}
    if len(kept) < len(prompts):
        scores = score()
        if key:
            append(folder, key, scores, prompts)
        kept = {score.item: score for score in scores}
    return kept


def append(folder: Path, key: ScoreKey, scores: Iterable[ItemScore], prompts: Mapping[str, str]) -> None:
    """Add scores to the key's file, which is made with its header if it is new or was cut short in its first line.

    Of several ranks the first does.
    """
    lines = [Line(prompts[score.item], score) for score in scores]
    if not lines or collectives.rank():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(folder / f"{key.name}.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(file).st_size
        begins = os.pread(file, 1 << 20, 0).split(b"\n", 1)[0]
        if size and not _is_header(begins):
            os.ftruncate(file, 0)
            size = 0
        data = b"" if size else msgspec.json.encode(_Header(dict(key.facts))) + b"\n"
        if size and os.pread(file, 1, size - 1) != b"\n":
            data = b"\n"
        os.write(file, data + b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    finally:
        os.close(file)


def _is_header(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=_Header)
    except msgspec.DecodeError:
        return False
    return True


def _canonical(facts: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(dict(facts), order="deterministic")
