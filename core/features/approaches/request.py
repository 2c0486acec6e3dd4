"""The request that queues a comparison on a recipe: the same from the command line and the app."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from finetop.core.data import sources, target_rows
from finetop.core.data.fingerprint import fingerprint
from finetop.core.features.approaches import approaches
from finetop.core.features.approaches.approaches import PlannedRun
from finetop.core.features.approaches.messages import ApproachRun, SubmitApproaches
from finetop.core.plugins import OBJECTIVES
from finetop.core.protocol.messages.limits import PRIORITIES, Priority
from finetop.core.recipe.find import by_name
from finetop.core.recipe.load import Loaded
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.home import Home


def _require_readable(recipe: Recipe, planned: Sequence[PlannedRun], home: Home) -> None:
    """Read the first row of each file, and one document, so that an unreadable one is reported before queueing."""
    update = recipe.approaches.update
    trained = [*recipe.data.train, *(update.train if update is not None else ())]
    reads_rows = any(approaches.load(run.approach).trains or run.recipe["ask"]["shots"] for run in planned)
    kinds = OBJECTIVES.load(recipe.objective.name).rows
    for source in trained if reads_rows else ():
        if source.path is not None:
            next(sources.stream(source, home, kinds))
    if (wanted := recipe.check.target) is not None:
        for path in (wanted.path, *((update.test,) if update is not None else ())):
            target = replace(wanted, path=path)
            target_rows.read(target, replace(target.source, rows=1), home)
    if any(run.recipe["ask"]["documents"] for run in planned):
        from finetop.core.data.retrieval import documents

        documents.require_some(recipe.ask.documents)


def request(
    loaded: Loaded,
    home: Home,
    *,
    source: str,
    only: Sequence[str] = (),
    seeds: int | None = None,
    held: bool = False,
    priority: Priority = PRIORITIES["normal"],
) -> SubmitApproaches:
    """Build the request for a comparison. Reads the recipe's files, to know whether each run was measured before.

    Raises BadInput for a recipe that can't be compared or whose files can't be read, NotFound for an unknown
    approach.
    """
    recipe = loaded.recipe
    planned, left_out = approaches.planned_runs(recipe, only, seeds)
    if home.link is None:
        _require_readable(recipe, planned, home)
    runs = [
        ApproachRun(
            planned_run.name,
            planned_run.approach,
            planned_run.seed,
            planned_run.recipe if home.link is None else by_name(planned_run.recipe),
            fingerprint(planned_run.recipe, home),
            planned_run.learns_news,
        )
        for planned_run in planned
    ]
    return SubmitApproaches(
        name=recipe.name,
        subject=fingerprint(approaches.subject(recipe), home),
        metric=approaches.metric_of(recipe),
        runs=runs,
        left_out={skipped.approach: skipped.why for skipped in left_out},
        source=source,
        held=held,
        priority=priority,
    )
