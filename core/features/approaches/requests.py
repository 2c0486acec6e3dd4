"""Comparisons of approaches: queueing their runs, all or none, and their results as rows and advice."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import BadInput, NotFound, did_you_mean
from finetop.core.features.approaches import (
    advice as _advice,
    approaches,
    endings,
    messages,
    sql as store,
    table as _table,
)
from finetop.core.protocol import runs as data
from finetop.core.protocol.check_result import LOWER_IS_BETTER
from finetop.core.recipe.names import check_name
from finetop.core.store import jobs, notes, runs
from finetop.core.supervisor.gpus.require_usable import require_usable_gpus
from finetop.core.supervisor.requests import parent_runs, submit as orders
from finetop.core.supervisor.state import Supervisor


async def submit(supervisor: Supervisor, ask: messages.SubmitApproaches) -> messages.SubmitApproachesAnswer:
    """Queue the runs of a comparison, all or none. Raises as `submit.submit`, and BadInput for one without runs."""
    connection = supervisor.connection
    if not ask.runs:
        raise BadInput("the comparison has no runs.", hint="See finetop approaches --help.")
    check_name(ask.name, "name")
    for run in ask.runs:
        orders.require_run(supervisor, _order(ask, run))
    await require_usable_gpus(supervisor, [run.recipe for run in ask.runs])
    gone = await parent_runs.gone_of(supervisor, [run.recipe for run in ask.runs])
    name = _free_name(connection, ask)
    queued: list[messages.QueuedApproach] = []
    with orders.all_or_nothing(supervisor) as folders:
        existing_runs = {run.digest: store.with_digest(connection, run.digest) for run in ask.runs}
        made_again = {run.approach for run in ask.runs}
        _forget(connection, name, made_again | set(ask.left_out))
        for run in ask.runs:
            queued.append(_add_run(supervisor, folders, ask, name, run, existing_runs[run.digest], gone))
        stored = {comparison.name: comparison.left_out for comparison in store.comparisons(connection)}
        earlier = {key: reason for key, reason in stored.get(name, {}).items() if key not in made_again}
        left_out = {**earlier, **ask.left_out}
        comparison = store.Comparison(name, time.time(), ask.subject, ask.metric, left_out)
        store.store_comparison(connection, comparison)
    supervisor.touch()
    return messages.SubmitApproachesAnswer(name, queued, dict(ask.left_out))


def _free_name(connection: Connection, ask: messages.SubmitApproaches) -> str:
    """Return the requested name, with a number added if a comparison of that name has another subject."""
    subjects = {comparison.name: comparison.subject for comparison in store.comparisons(connection)}
    return runs.first_free(ask.name, lambda name: subjects.get(name, ask.subject) != ask.subject)


def _forget(connection: Connection, comparison: str, again: set[str]) -> None:
    """Remove the runs of these approaches from a comparison, because new ones are requested. The runs stay."""
    for member in store.members(connection, comparison):
        if member.approach in again:
            store.drop_member(connection, comparison, member.run_id)
            _tag(connection, member.run_id, comparison, on=False)


def _add_run(
    supervisor: Supervisor,
    folders: list[Path],
    ask: messages.SubmitApproaches,
    comparison: str,
    wanted: messages.ApproachRun,
    run_id: int | None,
    gone: parent_runs.Gone,
) -> messages.QueuedApproach:
    """Add a run to a comparison: an existing one with the same digest, else a new one."""
    connection = supervisor.connection
    was_there = run_id is not None
    if run_id is None:
        run_id, _ = orders.make_run(supervisor, folders, _order(ask, wanted), gone)
    member = store.Member(run_id, wanted.approach, wanted.seed, wanted.learns_news)
    store.add_member(connection, comparison, member, wanted.digest)
    _tag(connection, run_id, comparison, on=True)
    row = runs.row(connection, run_id)
    if was_there and isinstance(row.state, data.Finished):
        _measure(connection, run_id)
    return messages.QueuedApproach(run_id, row.name, wanted.approach, was_there)


def _order(ask: messages.SubmitApproaches, one: messages.ApproachRun) -> orders.Order:
    order = orders.Order(one.name, one.recipe, ask.source, ask.priority, ask.held)
    if approaches.load(one.approach).trains:
        return order
    return replace(order, verb="approach", args={"approach": one.approach, "learns_news": False})


def _measure(connection: Connection, run_id: int) -> None:
    """Queue the measurement of a finished run if there is none and none is under way, because the last one failed."""
    own = jobs.of_run(connection, run_id, "measure", "approach")
    if store.measured(connection, [run_id]) or any(job.is_under_way for job in own):
        return
    endings.after_run(connection, run_id)


def _tag(connection: Connection, run_id: int, comparison: str, *, on: bool) -> None:
    tag = approaches.TAG + comparison
    other_tags = [text for text in notes.tags_of(connection, run_id) if text != tag]
    notes.set_tags(connection, run_id, [*other_tags, tag] if on else other_tags)


def listing(supervisor: Supervisor, ask: messages.Approaches) -> messages.ApproachesAnswer:
    """List the comparisons, with rows and advice for a named one. Raises NotFound."""
    connection = supervisor.connection
    stored = store.comparisons(connection)
    briefs = [_brief(connection, comparison) for comparison in stored]
    if not ask.comparison:
        return messages.ApproachesAnswer(briefs)
    name = ask.comparison.removeprefix(approaches.TAG)
    named = next((comparison for comparison in stored if comparison.name == name), None)
    if named is None:
        names = [comparison.name for comparison in stored]
        hint = did_you_mean(name[:80], names) if names else "Queue one: finetop approaches RECIPE."
        raise NotFound(f"there is no comparison {name[:80]!r}.", hint=hint)
    members = _load_members(connection, name)
    rows = _table.rows(members, named.metric, named.left_out)
    target: dict[str, object] = next((comparison.recipe["check"]["target"] for comparison in members), {})
    return messages.ApproachesAnswer(
        comparisons=briefs,
        name=name,
        metric=named.metric,
        lower_is_better=named.metric in LOWER_IS_BETTER,
        model=next((comparison.row.model for comparison in members), ""),
        target=Path(str(target.get("path", ""))).name,
        rows=rows,
        advice=_advice.advice(rows, named.metric),
    )


def _load_members(connection: Connection, comparison: str) -> list[_table.Member]:
    """Load the members of a comparison in a few queries for all of them: 17 runs take 40 ms."""
    members = store.members(connection, comparison)
    numbers = [member.run_id for member in members]
    rows = {row.id: row for row in runs.rows(connection, numbers, *jobs.places(connection))}
    recipes, measured = runs.recipes(connection, numbers), store.measured(connection, numbers)
    watts, learned = store.power(connection, numbers), store.trained(connection, numbers)
    loaded = []
    for member in members:
        own, of = jobs.of_run(connection, member.run_id), member.run_id
        # its own kinds by name, of jobs that are read anyway: the table needs all of them
        states = [job.state for job in own if job.verb in ("measure", "approach")]
        about = (member.approach, member.seed, member.learns_news, rows[of], recipes[of], own)
        measuring = states[-1] if states else None
        loaded.append(
            _table.Member(*about, measured.get(of), measuring, watts=watts.get(of), trained=learned.get(of))
        )
    return loaded


def _brief(connection: Connection, comparison: store.Comparison) -> messages.ComparisonBrief:
    members = store.members(connection, comparison.name)
    numbers = [member.run_id for member in members]
    measured = store.count_measured(connection, numbers)
    given_up = sum(word in ("failed", "lost", "stopped") for word in runs.words_of(connection, numbers))
    names, to_come = {member.approach for member in members}, max(0, len(members) - measured - given_up)
    about = (comparison.name, comparison.created, comparison.metric)
    return messages.ComparisonBrief(*about, len(names), len(members), measured, to_come)


ANSWERS = {messages.SubmitApproaches: submit, messages.Approaches: listing}
