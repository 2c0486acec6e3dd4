"""Request what a report needs to know of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from finetop.core.errors import FinetopError
from finetop.core.features.approaches.approaches import TAG
from finetop.core.features.approaches.messages import Approaches, ApproachesAnswer
from finetop.core.features.data_versions.messages import DataOf, DataOfAnswer, SourceFacts
from finetop.core.protocol.check_result import CheckResult, Flip, read
from finetop.core.protocol.messages.checks import Checks, ChecksAnswer, Flips, FlipsAnswer
from finetop.core.protocol.messages.runs import Curve, Curves, CurvesAnswer, GetRun
from finetop.core.protocol.runs import RunDetail
from finetop.core.recipe.load import load_recipe

COLUMNS = 240  # bins of a chart: more would be finer than its pixels

Ask = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The facts of a run; `outcome` is the check that its verdict comes from."""

    detail: RunDetail
    outcome: CheckResult | None
    flips: tuple[Flip, ...]
    curves: dict[str, Curve]
    last: int  # the step at which the charts end
    base_name: str  # the built-in recipe that it is compared with
    base: dict[str, Any] | None
    read: tuple[SourceFacts, ...] = ()  # the versions of its data
    comparison: ApproachesAnswer | None = None  # that it belongs to


def load_facts(ask: Ask, run: str) -> RunFacts:
    """Request all that a report of a run needs. Raises FinetopError."""
    detail: RunDetail = ask(GetRun(run))
    outcome: CheckResult | None = None
    flips: list[Flip] = []
    if detail.row.check is not None:
        number = detail.row.check.check_id
        checks: ChecksAnswer = ask(Checks(run))
        result = next((check for check in checks.checks if check["check_id"] == number), None)
        outcome = None if result is None else read(result)
        answer_flips: FlipsAnswer = ask(Flips(run, number))
        flips = answer_flips.flips
    last = max(detail.row.steps, detail.row.step, 1)
    keys = sorted(detail.row.metrics)
    answer: CurvesAnswer = ask(Curves(run, keys, COLUMNS, last))
    name, base = _base_of(detail.recipe)
    versions: DataOfAnswer | None = ask(DataOf(run)) if detail.sources else None
    compared = next((tag for tag in detail.row.tags if tag.startswith(TAG)), None)
    return RunFacts(
        detail=detail,
        outcome=outcome,
        flips=tuple(flips),
        curves={check.key: check for check in answer.curves},
        last=last,
        base_name=name,
        base=base,
        read=() if versions is None else tuple(versions.sources),
        comparison=None if compared is None else ask(Approaches(compared.removeprefix(TAG))),
    )


def _base_of(recipe: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """Return the nearest built-in recipe: the one that a run's recipe extends, else its method's."""
    for name in (recipe.get("extends"), (recipe.get("method") or {}).get("name")):
        if not isinstance(name, str) or "/" in name or name.endswith((".yaml", ".yml")):
            continue
        try:
            return name, load_recipe(name).resolved
        except FinetopError:
            continue
    return "", None
