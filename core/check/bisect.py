"""Since which checkpoint a run has regressed: which one to check next, and what the checks show together.

Bisection between the last OK and the first REGRESSED after it. The base is OK by definition, so there is always
an OK below the oldest checkpoint. Damage need not be monotone: an unchecked checkpoint may differ, so the answer
is an estimate, and is worded as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from finetop.core.check.checked_weights import WEIGHTS_NOW
from finetop.core.protocol.check_result import read
from finetop.core.recipe.schema import General
from finetop.core.text import listed
from finetop.core.wording.verdicts import change, interval, word

# missing: the checkpoint is gone, or can't be checked
Seen = Literal["ok", "regressed", "no_verdict", "missing"]
SETTINGS = ("suite", "margin", "alpha", "seed")  # results under other settings are not comparable
TABLE_HEAD = ("step", "verdict", "change", "interval", "items", "claim")


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks of a run's checkpoints show together.

    `since` is the first REGRESSED after the last OK, `after` that last OK (None: the base); `unseen` were not
    checked, `open` are the unseen ones and those without a verdict between `after` and `since`.
    """

    newest: int
    newest_verdict: Literal["ok", "regressed", "no_verdict"]
    since: int | None
    after: int | None
    unseen: tuple[int, ...]
    open: tuple[int, ...]
    no_verdict: tuple[int, ...]
    missing: tuple[int, ...]
    recovered: tuple[int, ...]  # REGRESSED steps before the last OK
    text: str = ""


def next_step(steps: Sequence[int], seen: Mapping[int, Seen]) -> int | None:
    """Return the checkpoint to check next, None if enough is known: the newest, the oldest, then between.

    `steps` are the run's checkpoints, ascending. One without a verdict is skipped, but if neither end has a
    verdict the search ends: then the base can't be judged either.
    """
    there = [step for step in steps if seen.get(step) != "missing"]
    if not there:
        return None
    if there[-1] not in seen:
        return there[-1]
    if seen[there[-1]] == "ok":
        return None
    if there[0] not in seen:
        return there[0]
    if not any(seen.get(step) in ("ok", "regressed") for step in there):
        return None
    after, since = _limits(steps, seen)
    between = [step for step in there if step not in seen and after < step < since]
    if not between:
        return None
    return between[-1] if since == float("inf") else between[len(between) // 2]


def most_looks(steps: Sequence[int], seen: Mapping[int, Seen]) -> int:
    """Count the checks needed at most until `next_step` returns None, if each reaches a verdict.

    In the worst case the oldest is OK and all others are REGRESSED: what remains is the lower half, the larger one.
    """
    known, looks = dict(seen), 0
    there = [step for step in steps if known.get(step) != "missing"]
    while (step := next_step(steps, known)) is not None:
        known[step] = "ok" if step == there[0] != there[-1] else "regressed"
        looks += 1
    return looks


def _limits(steps: Sequence[int], seen: Mapping[int, Seen]) -> tuple[float, float]:
    """Return the last OK (-inf if there is none) and the first REGRESSED after it (inf if there is none)."""
    last_ok = max((step for step in steps if seen.get(step) == "ok"), default=float("-inf"))
    bad = (step for step in steps if seen.get(step) == "regressed" and step > last_ok)
    since = min(bad, default=float("inf"))
    return last_ok, since


def wanted_settings(recipe: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that decide whether two checks of a run can be compared."""
    own = (recipe.get("check") or {}).get("general") or {}
    return {**msgspec.to_builtins(General()), **own, **given}


def comparable(
    results: Sequence[dict[str, Any]], wanted: Mapping[str, Any], *, of_any_weights: bool = False
) -> dict[int, dict[str, Any]]:
    """Return the newest result of each step made under the wanted settings; `results` are newest first.

    Those of other weights than there are now are left out, if the results tell.
    """
    alike = [result for result in results if result["step"] is not None and _is_alike(result, wanted)]
    if not of_any_weights:
        alike = [result for result in alike if result.get(WEIGHTS_NOW) != "changed"]
    return {result["step"]: result for result in reversed(alike)}


def _is_alike(result: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Compare settings; results from before they were recorded have only suite and margin."""
    kept = result.get("general") or {"suite": result.get("suite"), "margin": 100 * result.get("margin", 0.0)}
    pairs = [(kept[key], wanted[key]) for key in SETTINGS if key in kept]
    return all(abs(own - other) < 1e-9 if isinstance(own, float) else own == other for own, other in pairs)


def conclude(steps: Sequence[int], seen: Mapping[int, Seen]) -> Curve:
    """Return what the checks show together, in numbers and one sentence. `seen` must hold the newest checkpoint."""
    after, since = _limits(steps, seen)
    there = [step for step in steps if seen.get(step) != "missing"]
    newest = there[-1] if there else steps[-1]
    verdict = seen.get(newest)
    unseen = tuple(step for step in steps if step not in seen)
    in_vain = tuple(step for step in steps if seen.get(step) == "no_verdict")
    gone = tuple(step for step in steps if seen.get(step) == "missing")
    curve = Curve(
        newest=newest,
        newest_verdict=verdict if verdict == "ok" or verdict == "regressed" else "no_verdict",
        since=None if since == float("inf") else int(since),
        after=None if after == float("-inf") else int(after),
        unseen=unseen,
        open=tuple(step for step in (*unseen, *in_vain, *gone) if after < step < since),
        no_verdict=in_vain,
        missing=gone,
        recovered=tuple(step for step in steps if seen.get(step) == "regressed" and step < after),
    )
    return msgspec.structs.replace(curve, text=_sentence(curve))


def _sentence(curve: Curve) -> str:
    beside = _aside(curve)
    if curve.since is not None:
        least = "" if curve.newest_verdict == "regressed" else f"; step {curve.newest} itself has no verdict"
        return f"regressed since step {curve.since}{least} ({beside})."
    if curve.newest_verdict == "ok":
        return f"not regressed at step {curve.newest}, the newest checkpoint ({beside})."
    if curve.after is not None:
        place = f"step {curve.newest}, the newest checkpoint"
        return f"no verdict at {place}; OK at step {curve.after} ({beside})."
    return f"no verdict at any of the checkpoints checked ({beside})."


def _aside(curve: Curve) -> str:
    """Return how sure the answer is: steps not checked, without a verdict, or regressed before."""
    parts = []
    if curve.unseen:
        how = "estimate by bisection: " if curve.since is not None else ""
        parts.append(f"{how}{_steps(curve.unseen)} {'was' if len(curve.unseen) == 1 else 'were'} not checked")
    else:
        parts.append("all checkpoints were checked")
    if curve.no_verdict:
        parts.append(f"no verdict at {_steps(curve.no_verdict)}")
    if curve.missing:
        parts.append(f"{_steps(curve.missing)} can't be checked any more")
    if curve.recovered:
        parts.append(f"{_steps(curve.recovered)} regressed too, and was OK again after it")
    if curve.unseen:
        parts.append("damage need not be monotone")
    return "; ".join(parts)


def _steps(steps: Sequence[int]) -> str:
    """Return steps as words: 'step 40', 'steps 40, 80 and 160'."""
    return f"step{'s' * (len(steps) > 1)} {listed([str(step) for step in steps])}"


def table_rows(
    steps: Sequence[int], results: Mapping[int, Mapping[str, Any]], seen: Mapping[int, Seen]
) -> list[tuple[str, ...]]:
    """Return the checkpoints as table rows, oldest first, under TABLE_HEAD."""
    return [
        _row(step, results[step])
        if step in results
        else (str(step), "gone" if seen.get(step) == "missing" else "not checked", "", "", "", "")
        for step in steps
    ]


def _row(step: int, result: Mapping[str, Any]) -> tuple[str, ...]:
    outcome = read(result)
    claim = "watch" if outcome.watch else str(outcome.claim or "the only one")
    items = f"{outcome.items_used:,} of {outcome.items_total:,}"
    between = interval(outcome.deciding_interval, outcome.margin)
    return (str(step), word(outcome), change(outcome.drop, outcome.margin), between, items, claim)
