"""Cached item scores: HOME/scores/KEY.jsonl, one file per model, task and everything else that can change a score.

The first line is the whole key, so that a file can be identified without its name; each further line is one item's
score with the hash of its rendered prompt. Append-only, one write per call; a torn line is scored again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.models import collectives
from finetop.core.protocol.events import ItemScore

FORMAT = 1


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item's score under the file's key, with the hash of its prompt."""

    prompt: str
    score: ItemScore


class _Header(msgspec.Struct, frozen=True):
    key: dict[str, Any]


@dataclass(frozen=True)
class ScoreKey:
    """What a score depends on, besides item and prompt. `facts` is plain data."""

    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return the file's name: sha256 over the canonical JSON of all facts, in 32 hex digits."""
        return hashlib.sha256(_canonical(self.facts)).hexdigest()[:32]


def score_key(model: Mapping[str, Any], task: Mapping[str, Any]) -> ScoreKey:
    """Combine what identifies a model and how it is run with what identifies a task and its batches."""
    return ScoreKey({"format": FORMAT, "model": dict(model), "task": dict(task)})


def read(folder: Path, key: ScoreKey, prompts: Mapping[str, str]) -> dict[str, ItemScore]:
    """Read the scores of items whose prompt (item -> hash) is unchanged, on the first rank, which also writes."""
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
    scores: dict[str, ItemScore] = {}
    for text in lines[1:]:
        try:
            line = msgspec.json.decode(text, type=Line)
        except msgspec.DecodeError:
            continue  # torn by a crash, or the empty piece after the last newline
        if prompts.get(line.score.item) == line.prompt:
            scores[line.score.item] = line.score
    return scores


def read_or_score(
    folder: Path, key: ScoreKey | None, prompts: Mapping[str, str], score: Callable[[], list[ItemScore]]
) -> dict[str, ItemScore]:
    """Return items' scores (item -> prompt's hash) if all are cached, else score and cache all; no key, no cache."""
    kept = read(folder, key, prompts) if key else {}
    if len(kept) < len(prompts):
        scores = score()
        if key:
            append(folder, key, scores, prompts)
        kept = {score.item: score for score in scores}
    return kept


def append(folder: Path, key: ScoreKey, scores: Iterable[ItemScore], prompts: Mapping[str, str]) -> None:
    """Append scores to the key's file, on the first rank alone; a new or cut short file gets its header."""
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
