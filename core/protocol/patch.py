"""What changed between two answers, so that a slow link carries that alone.

Answers are JSON as Python has it: objects, arrays, texts, numbers. A patch is one of

    {"=": value}                                     another value in its place
    {"o": {key: patch, …}, "x": [key, …]}            an object: keys that changed or came, keys that went
    {"a": {index: patch, …}, "n": length, "+": […]}  an array: places that changed, its length, what came behind
"""

from __future__ import annotations

from typing import Any

Patch = dict[str, Any]


class DoesNotFit(ValueError):
    """A patch that is not of this old answer."""


def difference(old: Any, new: Any) -> Patch | None:
    """Return the patch that makes the old the new one; None where they are the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        return _of_objects(old, new)
    if isinstance(old, list) and isinstance(new, list):
        return _of_arrays(old, new)
    same = type(old) is type(new) and old == new  # 1, 1.0 and true are not
    return None if same else {"=": new}


def _of_objects(old: dict[str, Any], new: dict[str, Any]) -> Patch | None:
    changed = {
        key: patch
        for key, value in new.items()
        if (patch := difference(old[key], value) if key in old else {"=": value}) is not None
    }
    gone = [key for key in old if key not in new]
    if not changed and not gone:
        return None
    return {"o": changed, "x": gone} if gone else {"o": changed}


def _of_arrays(old: list[Any], new: list[Any]) -> Patch | None:
    changed = {
        str(place): patch
        for place, (before, now) in enumerate(zip(old, new, strict=False))
        if (patch := difference(before, now)) is not None
    }
    if not changed and len(old) == len(new):
        return None
    made: Patch = {"a": changed}
    if len(old) != len(new):
        made["n"] = len(new)
    if len(new) > len(old):
        made["+"] = new[len(old) :]
    return made


def patched(old: Any, patch: Patch | None) -> Any:
    """Make the new answer of the old one, which stays as it is. Raises DoesNotFit."""
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
        made = {key: value for key, value in old.items() if key not in set(patch.get("x", ()))}
        for key, inner in patch["o"].items():
            made[key] = inner["="] if "=" in inner else _patched(old[key], inner)
        return made
    rows = list(old[: patch.get("n", len(old))])
    for place, inner in patch["a"].items():
        rows[int(place)] = _patched(rows[int(place)], inner)
    rows += patch.get("+", [])
    if len(rows) != patch.get("n", len(old)):
        raise ValueError("its length")
    return rows
