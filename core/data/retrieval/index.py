"""An index over documents: built once per content and settings, kept in HOME/retrieval/KEY, and searched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
import numpy as np

from finetop.core.data import weight_files
from finetop.core.data.retrieval import bm25, chunks, dense, documents
from finetop.core.data.retrieval.chunks import Chunk
from finetop.core.errors import BadInput
from finetop.core.runtime import files

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.runtime.home import Home

FORMAT = 1  # of the saved files, and of how documents are read and cut
Search = Literal["bm25", "dense"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What to search, and how. Paths of files or folders; words are separated by spaces."""

    documents: tuple[str, ...]
    chunk_words: int = 150
    overlap_words: int = 20
    search: Search = "bm25"
    model: str | None = None  # for search: dense; a folder or a hub id


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found, and its score: higher is better, 0 is no match."""

    chunk: Chunk
    score: float


class _Searcher(Protocol):
    def scores(self, query: str) -> np.ndarray[Any, np.dtype[np.float32]]: ...


class _Facts(msgspec.Struct, frozen=True):
    documents: int
    passed_over: tuple[str, ...]
    seconds: float
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """Searchable chunks."""

    key: str  # the same for the same documents and settings
    chunks: tuple[Chunk, ...]
    documents: int
    passed_over: tuple[str, ...]  # why documents could not be used, one line each
    seconds: float  # that building it took
    was_kept: bool  # it was loaded, not built
    searcher: _Searcher

    def search(self, query: str, k: int) -> list[Hit]:
        """Return the `k` best chunks for a query, or fewer if fewer match at all; ties keep their order."""
        scores = self.searcher.scores(query)
        best = np.argsort(-scores, kind="stable")[:k]
        return [Hit(self.chunks[at], float(scores[at])) for at in best if scores[at] > 0]


def build(settings: Settings, home: Home) -> Index:
    """Index documents, or load the existing index of the same ones.

    Raises BadInput for nothing to search, or an unusable dense model; EnvironmentTrouble if the hub can't be reached.
    """
    _refuse_odd(settings)
    model = dense.find(settings.model or "") if settings.search == "dense" else None
    listing = documents.find(settings.documents)
    key = _key(settings, listing, None if model is None else weight_files.weights_hash(model, home))
    folder = home.root / "retrieval" / key
    kept = _load(folder, model)
    was_kept = kept is not None
    if kept is None:
        _make(settings, listing, model, folder)
        kept = _load(folder, model)
        assert kept is not None  # it was just built
    facts, searcher = kept
    skipped = (*listing.passed_over, *facts.passed_over)
    return Index(key, facts.chunks, facts.documents, skipped, facts.seconds, was_kept, searcher)


def _refuse_odd(settings: Settings) -> None:
    if not settings.documents:
        raise BadInput("documents: no file or folder is named.", hint="Name a file or a folder.")
    if not 0 <= settings.overlap_words < settings.chunk_words:
        words = f"overlap_words is {settings.overlap_words}, and a chunk has {settings.chunk_words} words"
        raise BadInput(f"{words}.", hint="It must be less.")
    if settings.search == "dense" and not settings.model:
        raise BadInput("search: dense needs a model.", hint="Give a static model's folder or hub id.")


def _key(settings: Settings, listing: documents.Listing, weights: str | None) -> str:
    files = [(file.name, file.sha256) for file in listing.files]
    own = asdict(settings) | {"documents": None, "model": weights}
    facts = {"format": FORMAT, "settings": own, "files": files}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _make(settings: Settings, listing: documents.Listing, model: Path | None, folder: Path) -> None:
    began = time.perf_counter()
    passed_over: list[str] = []
    chunk_of: dict[str, Chunk] = {}  # by text: duplicates are kept once
    count = 0
    for file in listing.files:
        for document in documents.read(file, passed_over):
            count += 1
            for chunk in chunks.cut(document, settings.chunk_words, settings.overlap_words):
                chunk_of.setdefault(chunk.text, chunk)
    if not chunk_of:
        raise documents.nothing_in(settings.documents, [*listing.passed_over, *passed_over])
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700, parents=True)
    try:
        if model is None:
            bm25.build(list(chunk_of), aside)
        else:
            dense.build(list(chunk_of), aside, model)
        facts = _Facts(count, tuple(passed_over), time.perf_counter() - began, tuple(chunk_of.values()))
        (aside / "index.json").write_bytes(msgspec.json.encode(facts))
        if _load(folder, model) is None:  # else another process built it meanwhile
            shutil.rmtree(folder, ignore_errors=True)
            files.publish(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _load(folder: Path, model: Path | None) -> tuple[_Facts, _Searcher] | None:
    """Load an index; None if there is none, or it is damaged."""
    try:
        facts = msgspec.json.decode((folder / "index.json").read_bytes(), type=_Facts)
        searcher: _Searcher = bm25.load(folder) if model is None else dense.load(folder, model)
    except (OSError, ValueError, KeyError, EOFError):  # a MsgspecError is a ValueError
        return None
    return facts, searcher
