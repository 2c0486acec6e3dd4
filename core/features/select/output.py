"""Writes the selected rows: the source's lines unchanged, in their order, and a manifest beside them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.data import files, source_record
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.runtime.files import write_whole
from finetop.core.runtime.parts import own_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from finetop.core.features.select.pool import Losses, Pool
    from finetop.core.features.select.request import Wanted
    from finetop.core.features.select.selectors import Choice

FORMAT = 1
DIGITS = 6  # of a score


def manifest_of(file: Path) -> Path:
    """Return the path of a file's manifest: faq.jsonl has faq.manifest.json."""
    return file.with_name(f"{file.name.removesuffix('.jsonl')}.manifest.json")


def write(
    pool: Pool, wanted: Wanted, choice: Choice, places: Sequence[int], folder: Path, scorer: Losses | None
) -> tuple[Path, Path, str]:
    """Write the rows at these places and their manifest; return both paths and the sha256 of the rows.

    Without a name the file is one in `folder`, named after its content. Raises BadInput, EnvironmentTrouble.
    """
    lines = [pool.lines[place] for place in sorted(places)]
    target = Path(wanted.to) if wanted.to else None
    aside = (target or folder / "rows").with_name(f".selecting-{os.getpid()}.jsonl")
    try:
        aside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            sha256 = _copy(pool, lines, aside)
            target = target or folder / f"{wanted.by}-{len(lines)}-{sha256[:12]}.jsonl"
            facts = _facts(pool, wanted, choice, places, scorer, sha256)
            write_whole(manifest_of(target), msgspec.json.encode(facts) + b"\n")
            if wanted.to and os.path.lexists(target):
                raise BadInput(f"{target} already exists and is not overwritten.", hint="Give another file.")
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        fault = f"{target or folder}: can't be written: {error.strerror}."
        raise EnvironmentTrouble(fault, hint="Give another file.") from error
    return target, manifest_of(target), sha256


def _copy(pool: Pool, lines: Sequence[int], aside: Path) -> str:
    """Copy rows to a file, JSON lines byte for byte; return their sha256. Raises BadInput if the source changed."""
    digest = hashlib.sha256()
    wanted = iter(lines)
    following = next(wanted, 0)
    with aside.open("xb") as file:
        for number, line in _lines(pool.path):
            if number == following:
                digest.update(line)
                file.write(line)
                following = next(wanted, 0)
        file.flush()
        os.fsync(file.fileno())
    if source_record.sha256_of(pool.path) != pool.sha256:
        raise BadInput(f"{pool.path.name}: was changed while rows were chosen.", hint="Select again.")
    return digest.hexdigest()


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield a file's rows as JSON lines with their numbers."""
    if not files.is_plain(path):
        for place, row in files.stream_rows(path):
            yield place.number, msgspec.json.encode(row) + b"\n"
        return
    with path.open("rb") as source:
        yield from enumerate(source, start=1)


def _facts(
    pool: Pool, wanted: Wanted, choice: Choice, places: Sequence[int], scorer: Losses | None, sha256: str
) -> dict[str, Any]:
    """Return where the rows come from, and how they were chosen."""
    chosen = sorted(places)
    model = None if scorer is None else {"id": scorer.base.id, **scorer.facts}
    scores: list[float | None] | None = None
    if choice.scores is not None:
        found = [choice.scores[place] for place in chosen]
        scores = [None if score is None else round(score, DIGITS) for score in found]
    return {
        "format": FORMAT,
        "made_by": f"finetop {own_version()} select",
        "source": {"path": str(pool.path), "sha256": pool.sha256, "rows": len(pool)},
        "by": wanted.by,
        "settings": wanted.settings,
        "seed": wanted.seed,
        "model": model,
        "rows": len(chosen),
        "sha256": sha256,
        "score": choice.score,
        "lines": [pool.lines[place] for place in chosen],
        "scores": scores,
    }
