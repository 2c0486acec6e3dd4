"""Sweeps: many runs queued at once, all or none, linked by a tag; and their results."""

from __future__ import annotations

from typing import Any

import msgspec

from finetop.core.errors import BadInput, NotFound, did_you_mean
from finetop.core.protocol import tags as protocol_tags
from finetop.core.protocol.messages.runs import SweepBrief, Sweeps, SweepsAnswer, SweptRun
from finetop.core.protocol.messages.submit import SubmitAnswer, SubmitSweep, SubmitSweepAnswer
from finetop.core.protocol.tags import SWEEP, require_tag
from finetop.core.recipe.dotted import flat_settings
from finetop.core.recipe.names import check_name
from finetop.core.recipe.sweeps import SEED
from finetop.core.store import jobs, notes, runs
from finetop.core.supervisor.gpus.require_usable import require_usable_gpus
from finetop.core.supervisor.queue import ready
from finetop.core.supervisor.requests import parent_runs, submit as orders
from finetop.core.supervisor.state import Supervisor
from finetop.core.text import number_words


async def submit(supervisor: Supervisor, ask: SubmitSweep) -> SubmitSweepAnswer:
    """Queue the runs of a sweep, all or none. Raises as `submit.submit`, and BadInput for one without runs."""
    connection = supervisor.connection
    if not ask.runs:
        raise BadInput("the sweep has no runs.", hint="Give a setting more than one value.")
    check_name(ask.name, "name")
    for run in ask.runs:
        orders.require_run(
            supervisor, orders.Order(run.name, run.recipe, ask.source, verb=orders.trains(run.recipe))
        )
        for tag in run.tags:
            require_tag(tag)
    await require_usable_gpus(supervisor, [run.recipe for run in ask.runs])
    orders.require_launchers(supervisor, [run.recipe for run in ask.runs])
    gone = await parent_runs.gone_of(supervisor, [run.recipe for run in ask.runs])
    sweep = runs.first_free(ask.name, _members(supervisor).__contains__)
    queued: list[tuple[int, str]] = []
    with orders.all_or_nothing(supervisor) as folders:
        for run in ask.runs:
            verb = orders.trains(run.recipe)
            order = orders.Order(run.name, run.recipe, ask.source, ask.priority, ask.held, verb)
            run_id, name = orders.make_run(supervisor, folders, order, gone)
            notes.set_tags(connection, run_id, [SWEEP + sweep, *run.tags])
            queued.append((run_id, name))
    supervisor.touch()
    places, _ = jobs.places(connection)
    rows = [SubmitAnswer(run_id, name, places[run_id].place, ask.held) for run_id, name in queued]
    return SubmitSweepAnswer(sweep, rows)


def listing(supervisor: Supervisor, ask: Sweeps) -> SweepsAnswer:
    """List the sweeps; for a named one also its runs, with the settings that differ among them. Raises NotFound."""
    members = _members(supervisor)
    newest_first = sorted(members, key=lambda name: -max(members[name]))
    briefs = [_brief(supervisor, name, members[name]) for name in newest_first]
    if not ask.sweep:
        return SweepsAnswer(briefs, [], [])
    name = ask.sweep.removeprefix(SWEEP)
    if name not in members:
        hint = "Queue one: finetop run RECIPE --sweep KEY=V,V."
        hint = did_you_mean(name[:80], members) if members else hint
        raise NotFound(f"there is no sweep {name[:80]!r}.", hint=hint)
    reasons = ready.why(supervisor)
    recipes = {number: _texts(runs.recipe(supervisor.connection, number)) for number in members[name]}
    chosen = _chosen(supervisor, members[name])
    for number, values in chosen.items():
        recipes[number].update(values)
    keys = [protocol_tags.BY, protocol_tags.ROWS] if chosen else _differing(list(recipes.values()))
    rows = []
    for number in members[name]:
        settings = {key: recipes[number].get(key, "") for key in (*keys, SEED)}
        rows.append(SweptRun(runs.row(supervisor.connection, number, reasons), settings))
    return SweepsAnswer(briefs, rows, keys)


def _chosen(supervisor: Supervisor, numbers: list[int]) -> dict[int, dict[str, str]]:
    """Read from tags how each run's rows were selected, and how many; empty unless all runs have both tags."""
    selections: dict[int, dict[str, str]] = {}
    for number in numbers:
        tags = [tag.partition("/") for tag in notes.tags_of(supervisor.connection, number)]
        bys = [value for key, _, value in tags if key == protocol_tags.BY]
        rows = [value for key, _, value in tags if key == protocol_tags.ROWS and value.isdigit()]
        if not bys or len(rows) != 1:
            return {}
        selections[number] = {protocol_tags.BY: ",".join(bys), protocol_tags.ROWS: rows[0]}
    return selections


def _members(supervisor: Supervisor) -> dict[str, list[int]]:
    """Map the names of sweeps to their run ids, in queue order."""
    members: dict[str, list[int]] = {}
    for number, tags in notes.tagged(supervisor.connection, SWEEP):
        for tag in tags:
            if tag.startswith(SWEEP):
                members.setdefault(tag.removeprefix(SWEEP), []).append(number)
    return members


def _brief(supervisor: Supervisor, name: str, numbers: list[int]) -> SweepBrief:
    states = runs.words_of(supervisor.connection, numbers)
    under_way = states.count("queued") + states.count("running")
    return SweepBrief(name, len(numbers), states.count("finished"), under_way)


def _texts(recipe: dict[str, Any]) -> dict[str, str]:
    """Return a recipe's settings as texts, by dotted key."""
    settings = flat_settings(recipe, of_item=None)
    return {key: _text(value) for key, value in settings if value != {}}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return number_words(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _differing(recipes: list[dict[str, str]]) -> list[str]:
    """Return the settings in which recipes differ, except seed and name, in their order."""
    every = dict.fromkeys(key for recipe in recipes for key in recipe)
    return [key for key in every if key not in ("name", SEED) and len({r.get(key) for r in recipes}) > 1]


ANSWERS = {SubmitSweep: submit, Sweeps: listing}
