"""Differences between two answers, so that a slow link carries only what changed.

Answers are JSON as Python objects: dicts, lists, texts, numbers. A patch is one of

    {"=": value}                                     another value
    {"o": {key: patch, …}, "x": [key, …]}            an object: changed or new keys, removed keys
    {"a": {index: patch, …}, "n": length, "+": […]}  an array: changed places, its length, what was appended
"""

from __future__ import annotations

from typing import Any

Patch = dict[str, Any]


class DoesNotFit(ValueError):
    """A patch that does not apply to this old answer."""


def difference(old: Any, new: Any) -> Patch | None:
    """Return the patch from the old to the new answer; None if they are equal."""
    if isinstance(old, dict) and isinstance(new, dict):
        return _of_objects(old, new)
    if isinstance(old, list) and isinstance(new, list):
        return _of_arrays(old, new)
    same = type(old) is type(new) and old == new  # 1, 1.0 and true differ
    return None if same else {"=": new}


def _of_objects(old: dict[str, Any], new: dict[str, Any]) -> Patch | None:
    changed = {
        key: patch
        for key, value in new.items()
        if (patch := difference(old[key], value) if key in old else {"=": value}) is not None
    }
    removed_keys = [key for key in old if key not in new]
    if not changed and not removed_keys:
        return None
    return {"o": changed, "x": removed_keys} if removed_keys else {"o": changed}


def _of_arrays(old: list[Any], new: list[Any]) -> Patch | None:
    patches = map(difference, old, new)
    changed = {str(place): patch for place, patch in enumerate(patches) if patch is not None}
    if not changed and len(old) == len(new):
        return None
    patch_of_array: Patch = {"a": changed}
    if len(old) != len(new):
        patch_of_array["n"] = len(new)
    if len(new) > len(old):
        patch_of_array["+"] = new[len(old) :]
    return patch_of_array


def patched(old: Any, patch: Patch | None) -> Any:
    """Apply a patch; the old answer is not modified. Raises DoesNotFit."""
    if patch is None:
        return old
    try:
        return _patched(old, patch)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DoesNotFit(repr(error)) from error


def _patched(old: Any, patch: Patch) -> Any:
    if "=" in patch:
        return patch["="]
    if "o" in patch:
        gone, inner = set(patch.get("x", ())), patch["o"]
        result = {key: value for key, value in old.items() if key not in gone}
        return result | {key: _patched(old.get(key), change) for key, change in inner.items()}
    rows = list(old[: patch.get("n", len(old))])
    for place, inner in patch["a"].items():
        rows[int(place)] = _patched(rows[int(place)], inner)
    rows += patch.get("+", [])
    if len(rows) != patch.get("n", len(old)):
        raise ValueError("its length")
    return rows
