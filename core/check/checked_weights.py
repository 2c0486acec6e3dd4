"""Whether a verdict is of the weights that its checkpoint and its base have now, by the hashes that it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.data import hub
from finetop.core.data.weight_files import bytes_of, is_adapter, known_hash, model_hash
from finetop.core.errors import FinetopError
from finetop.core.models.checkpoint import MERGED, checkpoint_of
from finetop.core.models.save import FACTS
from finetop.core.protocol.runs import Now
from finetop.core.recipe.references import is_reference
from finetop.core.runtime.files import given_path, read_own
from finetop.core.runtime.home import Home

WEIGHTS_NOW = "weights_now"  # key of a result that was compared
MOST_HASHED = 4 << 30  # bytes, a few seconds: a check job hashes larger ones itself


def hash_in(facts: Mapping[str, Any] | None) -> str | None:
    """Return the hash of a model's own weights, or of its adapter, among what its scores depend on."""
    found = (facts or {}).get("adapter") or (facts or {}).get("weights")
    return None if found is None else str(found)


def tuned_hash(result: Mapping[str, Any]) -> str | None:
    """Return the hash of a result's tuned model; None if an earlier finetop checked it in memory, in training."""
    return hash_in((result.get("models") or {}).get("tuned"))


def compared(
    results: Sequence[dict[str, Any]],
    checkpoints: Mapping[int, Path],
    recipe: Mapping[str, Any],
    home: Home,
    *,
    hashes: bool,
) -> list[dict[str, Any]]:
    """Return the results of a run, each with what became of its weights.

    With `hashes` files that may have changed are read; if too large, or unreadable, they count as changed.
    """
    return [
        {
            **result,
            WEIGHTS_NOW: weights_now(result, checkpoints.get(result["step"]), recipe, home, hashes=hashes),
        }
        for result in results
    ]


def weights_now(
    result: Mapping[str, Any], checkpoint: Path | None, recipe: Mapping[str, Any], home: Home, *, hashes: bool
) -> Now:
    """Compare the hashes in a result with the weights on disk. Weights that are gone have not changed."""
    held = [] if checkpoint is None else [(tuned_hash(result), checkpoint)]
    if (base := base_folder(recipe, home)) is not None:
        digest = hash_in((result.get("models") or {}).get("base"))
        held.append((_merged_from(digest, home) if is_adapter(base) else digest, base))
    of_each: set[Now] = {
        _now(digest, folder, home, hashes=hashes) for digest, folder in held if digest is not None
    }
    return "changed" if "changed" in of_each else "unread" if "unread" in of_each else "same"


def base_folder(recipe: Mapping[str, Any], home: Home) -> Path | None:
    """Return where a job would find a recipe's base on this machine, or the adapter of a run that it merges into one.

    None if it is not here.
    """
    model = recipe.get("model") or {}
    name, revision = str(model.get("id", "")), model.get("revision")
    if hub.is_local(name):
        return given_path(name)
    if is_reference(name):
        try:
            return checkpoint_of(name, home)
        except FinetopError:
            return None
    own_copy = home.models / hub.ALIAS
    if name == hub.ALIAS and revision is None and own_copy.is_dir():
        return own_copy
    return hub.snapshot_of(hub.id_of(name), revision)


def _merged_from(digest: str | None, home: Home) -> str | None:
    """Return the hash of the adapter that the base with this hash was merged from; None if that was not kept."""
    merged = home.models / MERGED
    for folder in merged.iterdir() if digest is not None and merged.is_dir() else ():
        if known_hash(folder, home) == digest:
            try:
                facts = msgspec.json.decode(read_own(folder / FACTS))
                return str(facts["adapter_hash"])
            except (OSError, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
                return None
    return None


def _now(digest: str, folder: Path, home: Home, *, hashes: bool) -> Now:
    try:
        if not folder.is_dir():
            return "same"
        known = known_hash(folder, home)
        if known is None and hashes and bytes_of(folder) <= MOST_HASHED:
            known = model_hash(folder, home)
    except (OSError, FinetopError):
        known = None  # a check of it tells why
    if known is None:
        return "changed" if hashes else "unread"
    return "same" if known == digest else "changed"
