"""Items whose score changed between base and tuned model: listed, counted, traced over checkpoints and other runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import NotFound
from finetop.core.features.export import sql as exports
from finetop.core.features.triage import messages as ask_for, sql as triage
from finetop.core.features.triage.messages import ItemKind, LostItems
from finetop.core.protocol.check_result import CheckResult, Flip, worst_first
from finetop.core.store import checks
from finetop.core.text import clean_line

Key = tuple[str, str]  # task, item
PAGE_LIMIT = 1000  # items
MOST_FIRST = 100  # items returned with a cell
OTHER_RUNS = 1000  # of the same base, the newest, that are searched
NAMED = 12  # other runs that are named

_FIELDS = (*checks.SCORED, "base_margin", "tuned_margin")
# For an item that was scored again (out of memory, a second attempt) the last score counts. Answers are read only of
# changed items: carried along, those of 50,000 items do not fit into the store's memory.
_CHANGED = (
    "WITH newest AS (SELECT max(rowid) AS place FROM item_scores WHERE job_id = $1 AND (step IS NULL OR step = $2)"
    " AND ($3 = '' OR task = $3) GROUP BY model, task, item),"
    " scored AS (SELECT place, model, task, item, score FROM newest JOIN item_scores s ON s.rowid = place"
    " WHERE job_id = $1),"
    " changed AS (SELECT t.place AS of_tuned, b.place AS of_base FROM scored t"
    " JOIN scored b ON b.task = t.task AND b.item = t.item AND b.model = 'base'"
    " WHERE t.model = 'tuned' AND t.score <> b.score)"
    " SELECT t.task, t.item, b.score, t.score, b.answer, t.answer, b.answer_log_prob, t.answer_log_prob,"
    " b.gold_log_prob - b.best_other_log_prob, t.gold_log_prob - t.best_other_log_prob"
    " FROM changed JOIN item_scores t ON t.rowid = of_tuned JOIN item_scores b ON b.rowid = of_base"
    " WHERE t.job_id = $1 AND b.job_id = $1"
    " ORDER BY t.score - b.score, coalesce(t.gold_log_prob - t.best_other_log_prob, 0), t.task, t.item"
)
_AT_STEPS = (
    "SELECT s.task, s.item, c.step, arg_max(s.score, s.rowid) FILTER (s.model = 'tuned')"
    " < arg_max(s.score, s.rowid) FILTER (s.model = 'base') AS lost"
    " FROM item_scores s JOIN checks c ON c.job_id = s.job_id AND (s.step IS NULL OR s.step = c.step)"
    " WHERE c.run_id = ? AND NOT c.superseded AND c.step IS NOT NULL AND (? = '' OR s.task = ?)"
    " AND s.item IN (SELECT unnest(?::VARCHAR[])) GROUP BY s.task, s.item, c.id, c.step ORDER BY c.step, c.id"
)
_ELSEWHERE = (
    "WITH others AS (SELECT r.id, r.name, r.method, c.job_id, c.step FROM runs r JOIN checks c ON c.run_id = r.id"
    f" AND c.id = {triage.CHECK_ID} WHERE r.id <> ? AND r.model ="
    f" (SELECT model FROM runs WHERE id = ?) ORDER BY r.id DESC LIMIT {OTHER_RUNS})"
    " SELECT s.task, s.item, o.name, o.method, arg_max(s.score, s.rowid) FILTER (s.model = 'tuned')"
    " < arg_max(s.score, s.rowid) FILTER (s.model = 'base') AS lost"
    " FROM item_scores s JOIN others o ON s.job_id = o.job_id AND (s.step IS NULL OR s.step = o.step)"
    " WHERE (? = '' OR s.task = ?) AND s.item IN (SELECT unnest(?::VARCHAR[]))"
    " GROUP BY s.task, s.item, o.id, o.name, o.method"
)

_COUNTED = f"SELECT task, item, count(*) FROM ({_ELSEWHERE}) WHERE lost GROUP BY task, item"


def cell(connection: Connection, ask: ask_for.LookAtCell) -> ask_for.CellAnswer:
    """Read the details of one task of a run's check, or of the whole. Raises NotFound."""
    task, items = ask.task, max(0, min(ask.items, MOST_FIRST))
    known = triage.known_check(connection, ask.run)
    run_id, outcome = known.run_id, known.outcome
    facts = triage.facts_of(outcome, task)
    lost = [item for item in _changed(connection, known, task) if not item.won][:items]
    floor = outcome.noise_floor
    return ask_for.CellAnswer(
        facts=facts,
        kinds=kinds_of(outcome, task),
        curve=triage.curve_of(connection, run_id, task),
        floor_items=floor.items if floor is not None else 0,
        floor_flips=floor.flips if floor is not None else 0,
        first=_with_history(connection, run_id, task, lost),
        not_looked_at=triage.unchecked_steps(connection, run_id),
        exports=exports.with_verdict(connection, run_id, known.step),
    )


def kinds_of(outcome: CheckResult, task: str) -> list[ItemKind]:
    """Count items per category of a task, largest loss rate first; without a task, per task."""
    if not task:
        measured = [entry for entry in worst_first(outcome) if entry.drop is not None]
        return [ItemKind(entry.task, entry.n, entry.lost, entry.won) for entry in measured]
    own = [kind for kind in outcome.categories if kind.task == task and kind.category]
    kinds = [ItemKind(kind.category, kind.n, kind.lost, kind.won, task) for kind in own]
    return sorted(kinds, key=lambda kind: (-kind.lost / max(1, kind.n), kind.kind))


def list_lost(connection: Connection, ask: LostItems) -> ask_for.LostItemsAnswer:
    """List a page of the items that flipped. Raises NotFound."""
    known = triage.known_check(connection, ask.run)
    run_id, outcome = known.run_id, known.outcome
    triage.facts_of(outcome, ask.task)
    changed = _changed(connection, known, ask.task)
    matching = [item for item in changed if _is_wanted(item, ask)]
    if ask.runs > 1:
        also = _elsewhere(connection, run_id, ask.task, matching)
        matching = [item for item in matching if 1 + also[item.task, item.item] >= ask.runs and not item.won]
    won, start = sum(item.won for item in changed), max(0, ask.offset)
    page = matching[start : start + max(1, min(ask.limit, PAGE_LIMIT))]
    return ask_for.LostItemsAnswer(
        check_id=known.id,
        items=_with_history(connection, run_id, ask.task, page),
        matching=len(matching),
        lost=len(changed) - won,
        won=won,
        kinds=kinds_of(outcome, ask.task),
    )


def item_detail(connection: Connection, ask: ask_for.LookAtItem) -> ask_for.ItemAnswer:
    """Read one item's details. Raises NotFound if it did not change."""
    task, item = ask.task, ask.item
    known = triage.known_check(connection, ask.run)
    run_id, outcome = known.run_id, known.outcome
    triage.facts_of(outcome, task)
    changed = [flip for flip in _changed(connection, known, task) if flip.item == item]
    if not changed:
        message = f"item {clean_line(item, limit=80)!r} of {task} did not change in {known.run}."
        raise NotFound(message, hint=f"See `finetop flips {known.run} --task {task}`.")
    choices = next((flip.choices for flip in outcome.flips if (flip.task, flip.item) == (task, item)), ())
    elsewhere = connection.execute(_ELSEWHERE, [run_id, run_id, task, task, [item]]).fetchall()
    asked_by_method, lost = Counter[str](), Counter[str]()
    also = []
    for _, _, run_name, method, is_lost in elsewhere:
        asked_by_method[method] += is_lost is not None
        lost[method] += bool(is_lost)
        if is_lost:
            also.append(run_name)
    kinds = [kind for kind in kinds_of(outcome, task) if kind.kind == changed[0].category]
    (whole,) = _with_history(connection, run_id, task, changed)
    at_steps = _at_steps(connection, run_id, task, changed)
    return ask_for.ItemAnswer(
        item=whole,
        choices=list(choices),
        steps=[(None, whole.won), *at_steps.get((task, item), {}).items()],
        also=sorted(also)[:NAMED],
        methods=[(method, lost[method], asked_by_method[method]) for method in sorted(asked_by_method)],
        of_kind=kinds[0] if kinds else ItemKind("", 0, 0, 0, task),
    )


def _is_wanted(item: Flip, ask: LostItems) -> bool:
    if (ask.kind and item.category != ask.kind) or (ask.only and item.won != (ask.only == "won")):
        return False
    if ask.margin and (item.tuned_margin is None or abs(item.tuned_margin) < ask.margin):
        return False
    texts = (item.question, item.gold, item.base_answer, item.tuned_answer, item.item)
    return any(ask.text.lower() in text.lower() for text in texts)


def _changed(connection: Connection, check: triage.Known, task: str) -> list[Flip]:
    """Read the items that flipped in one check, surest losses first, with their texts from the result."""
    kept: Mapping[Key, Flip] = {(flip.task, flip.item): flip for flip in check.outcome.flips}
    items = []
    for row in connection.execute(_CHANGED, [check.job_id, check.step, task]).fetchall():
        values = dict(zip(_FIELDS, row, strict=True))
        flip = kept.get((values["task"], values["item"]), Flip("", "", "", "", "", 0.0, 0.0, "", ""))
        items.append(msgspec.structs.replace(flip, choices=(), **values))
    return items


def _with_history(connection: Connection, run_id: int, task: str, items: Sequence[Flip]) -> list[Flip]:
    """Add to items the step since which they are lost, and the number of other runs that lost them."""
    if not items:
        return []
    steps = _at_steps(connection, run_id, task, items)
    also = _elsewhere(connection, run_id, task, items)
    whole = []
    for item in items:
        key = (item.task, item.item)
        since = None if item.won else _since(steps.get(key, {}))
        whole.append(msgspec.structs.replace(item, since=since, also=also[key]))
    return whole


def _since(steps: Mapping[int, bool]) -> int | None:
    """Return the first step from which an item is lost in every later check."""
    since: int | None = None
    for step, is_lost in steps.items():
        since = (step if since is None else since) if is_lost else None
    return since


def _at_steps(
    connection: Connection, run_id: int, task: str, items: Iterable[Flip]
) -> dict[Key, dict[int, bool]]:
    """Return for each item the checked steps at which it was scored, ascending, and whether it was lost there."""
    steps: dict[Key, dict[int, bool]] = {}
    names = [item.item for item in items]
    for its_task, item, step, lost in connection.execute(_AT_STEPS, [run_id, task, task, names]).fetchall():
        if lost is not None:
            steps.setdefault((its_task, item), {})[step] = lost
    return steps


def _elsewhere(connection: Connection, run_id: int, task: str, items: Iterable[Flip]) -> Counter[Key]:
    """Count in how many other runs of the same base each item is lost too."""
    names = [item.item for item in items]
    rows = connection.execute(_COUNTED, [run_id, run_id, task, task, names]).fetchall()
    return Counter({(its_task, item): number for its_task, item, number in rows})
