"""The rows of a comparison, from the facts of its runs: pure functions on plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.features.approaches import approaches, statistics
from finetop.core.features.approaches.messages import ApproachRow, Gap, News, Price, Retained, RunBrief, State
from finetop.core.protocol.runs import (
    Failed,
    Finished,
    JobRow,
    Lost,
    RunRow,
    State as RunState,
    Stopped,
    ran_s,
    word,
)

if TYPE_CHECKING:
    from finetop.core.protocol.events import ApproachMeasured, RowScore

NOT_FOR = {
    "prompt": "it has only its weights and retrieves nothing",
    "from-scratch": "not retrained: shown for scale",
}


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run learned from, and its loss before and after: the evaluation loss if it was measured twice."""

    rows: int  # distinct training rows; if the run did not record it, all rows that were kept
    losses: tuple[float, float] | None
    midway: float | None = None  # the same loss halfway
    epochs_a_step: float | None = None  # None: not recorded


@dataclass(frozen=True, slots=True)
class Member:
    """The facts of one run of a comparison."""

    approach: str
    seed: int
    learns_news: bool
    row: RunRow
    recipe: Mapping[str, Any]
    jobs: Sequence[JobRow]
    measured: ApproachMeasured | None
    measuring: RunState | None  # state of its measuring job; None: not queued yet
    watts: float | None  # mean power of one of its GPUs in training, or its share
    trained: Trained | None = None  # its rows and losses


def rows(members: Sequence[Member], metric: str, left_out: Mapping[str, str]) -> list[ApproachRow]:
    """Return a row per approach: measured ones best first, then the others, then those left out."""
    named = dict.fromkeys(member.approach for member in members)
    members_of = {name: [entry for entry in members if entry.approach == name] for name in named}
    rows_by_name = {name: _row(name, entries, metric) for name, entries in members_of.items()}
    prices = _prices(members)
    measured = [row for row in rows_by_name.values() if row.target is not None]
    done = [msgspec.structs.replace(row, query=prices.get(row.name)) for row in measured]
    done.sort(key=lambda row: (_sort_key(row, metric), row.name))
    if done:
        best = done[0].name
        own = {name: _items_of(members, name, metric) for name in named}
        done = [_beside(row, best, statistics.gap(own[row.name], own[best])) for row in done]
        for other in dict.fromkeys(key for row in done for key in row.others):
            done = _beside_by(members, done, other)
    waiting = [row for row in rows_by_name.values() if row.target is None]
    unused = {name: why for name, why in sorted(left_out.items()) if name not in named}
    absent = []
    for name, why in unused.items():
        kind = approaches.load(name)
        absent.append(
            ApproachRow(name=name, about=kind.about, trains=kind.trains, state="left out", message=why)
        )
    return [*done, *waiting, *absent]


def _prices(members: Sequence[Member]) -> dict[str, Price]:
    """Return each approach's price per query: over the rows that all priced, else over its own."""
    measured = [member.measured for member in members if not member.learns_news]
    measurements = [each for each in measured if each is not None and each.queries]
    priced = [{query.row for query in each.queries} for each in measurements]
    first = measurements[0].queries if measurements else ()
    shared = [query.row for query in first if all(query.row in rows for rows in priced)]
    prices = {}
    for name in dict.fromkeys(measurement.approach for measurement in measurements):
        own = [measurement for measurement in measurements if measurement.approach == name]
        runs = [{query.row: query.spent_s for query in measurement.queries} for measurement in own]
        others = max((each.others for each in own if each.others is not None), default=None)
        rows = shared or [row for row in runs[0] if all(row in run for run in runs)]
        price = statistics.price(runs, rows, own[0].price_of, others)
        if price is not None:
            prices[name] = price
    return prices


def _sort_key(row: ApproachRow, metric: str) -> float:
    assert row.target is not None
    return row.target.mean if statistics.is_better(metric, 0.0, 1.0) else -row.target.mean


def _beside(row: ApproachRow, best: str, gap: Gap | None) -> ApproachRow:
    is_best = row.name == best
    return msgspec.structs.replace(row, is_best=is_best, gap=None if is_best else gap)


def _beside_by(members: Sequence[Member], done: Sequence[ApproachRow], metric: str) -> list[ApproachRow]:
    """Return the rows with their paired differences, by another metric, from the best by that metric."""
    sign = 1.0 if statistics.is_better(metric, 0.0, 1.0) else -1.0
    with_metric = [row for row in done if metric in row.others]
    best = min(with_metric, key=lambda row: (sign * row.others[metric].mean, row.name)).name
    items = _items_of(members, best, metric)
    rows_with_gaps = []
    for row in done:
        gap = statistics.gap(_items_of(members, row.name, metric), items) if row in with_metric else None
        if row.name != best and gap is not None:
            row = msgspec.structs.replace(row, other_gaps={**row.other_gaps, metric: gap})
        rows_with_gaps.append(row)
    return rows_with_gaps


def _items_of(members: Iterable[Member], approach: str, metric: str) -> list[statistics.Items]:
    own = [member for member in members if member.approach == approach and not member.learns_news]
    measured = [member.measured for member in own if member.measured is not None]
    return [_items(entry.scores.get(metric, ())) for entry in measured]


def _items(scores: Iterable[RowScore]) -> statistics.Items:
    return {score.row: (score.value, score.weight) for score in scores}


def _row(name: str, members: Sequence[Member], metric: str) -> ApproachRow:
    approach = approaches.load(name)
    own = [member for member in members if not member.learns_news]
    measurements = [entry.measured for entry in own if entry.measured is not None]
    metrics = dict.fromkeys(key for entry in measurements for key in entry.scores)
    own_items = {key: [_items(entry.scores.get(key, ())) for entry in measurements] for key in metrics}
    scores = {key: statistics.score(items) for key, items in own_items.items()}
    state, reason = _state(members)
    gpu_s = [seconds * len(job.gpus) for entry in own for job, seconds in _making_jobs(entry) if job.gpus]
    energy = [
        watts * seconds * (len(job.gpus) or (entry.recipe.get("budget") or {}).get("gpus") or 1) / 3600
        for entry in own
        if (watts := entry.watts)
        for job, seconds in _making_jobs(entry)
    ]
    return ApproachRow(
        name=name,
        about=approach.about,
        trains=approach.trains,
        state=state,
        message=reason,
        runs=[_brief(member) for member in members],
        target=scores.get(metric),
        others={key: score for key, score in scores.items() if key != metric and score is not None},
        retained=_retained(own, approach.trains),
        setup_s=_setup(own, approach.trains),
        gpu_s=fmean(gpu_s) if gpu_s else None,
        energy_wh=fmean(energy) if energy else None,
        prompt_tokens=_mean(entry.prompt_tokens for entry in measurements),
        memory_gib=_mean(entry.memory_gib for entry in measurements),
        memory_of=next((entry.memory_of for entry in measurements), ""),
        news=_new_facts(approach.updates, members, metric),
        **_seen(own, approach.trains),
        **_losses(own),
        **_leaks(measurements),
        notes=list(dict.fromkeys(line for entry in measurements for line in entry.notes)),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _leaks(measurements: Sequence[ApproachMeasured]) -> dict[str, Any]:
    """Count the questions of the test that the training rows contain."""
    leaked = {row for entry in measurements for row in entry.leaked}
    scored = {score.row for entry in measurements for scores in entry.scores.values() for score in scores}
    tested = max((entry.tested for entry in measurements), default=0)
    return {"tested": tested, "leaked": len(leaked), "leaked_scored": len(leaked & scored)}


def _seen(members: Sequence[Member], trains: bool) -> dict[str, Any]:
    """Count what an approach read until its measured checkpoint; of several seeds, the one that read least."""
    if not trains:
        shots = (int(member.recipe.get("ask", {}).get("shots", 0)) for member in members)
        return {"rows_seen": max(shots, default=None)}
    pairs = [(member, member.trained) for member in members if member.trained is not None]
    read = [(*_read(member, trained), trained.rows) for member, trained in pairs]
    if not read:
        return {}
    rows, epochs, given = min(read, key=lambda member: member[0])
    return {"rows_seen": rows, "epochs_seen": epochs, "rows_given": given}


def _read(member: Member, trained: Trained) -> tuple[int, float | None]:
    """Return how many distinct rows a run has read, and in how many epochs; all rows and None if not recorded."""
    if trained.epochs_a_step is None:
        return trained.rows, None
    measured = None if member.measured is None else member.measured.step
    epochs = trained.epochs_a_step * (member.row.step if measured is None else measured)
    return min(trained.rows, round(trained.rows * epochs)), epochs


def _losses(members: Sequence[Member]) -> dict[str, Any]:
    """Return the mean loss of an approach's seeds: first and last, and midway if all have it."""
    pairs = [(member.trained.losses, member.trained.midway) for member in members if member.trained]
    known = [losses for losses, _ in pairs if losses is not None]
    if not known:
        return {}
    midway = [loss for losses, loss in pairs if losses is not None and loss is not None]
    return {
        "losses": (fmean(first for first, _ in known), fmean(last for _, last in known)),
        "loss_midway": fmean(midway) if len(midway) == len(known) else None,
    }


def _brief(member: Member) -> RunBrief:
    state = member.measuring if _ended_badly(member.measuring) else member.row.state
    return RunBrief(
        id=member.row.id,
        name=member.row.name,
        state=word(member.row.state),
        seed=member.seed,
        learns_news=member.learns_news,
        is_measured=member.measured is not None,
        message=_cause(state) if _ended_badly(state) else getattr(state, "phase", ""),
    )


def _ended_badly(state: RunState | None) -> bool:
    return isinstance(state, Failed | Lost | Stopped)


def _cause(state: RunState | None) -> str:
    return str(getattr(state, "cause", "")) or "it was stopped"


def _state(members: Sequence[Member]) -> tuple[State, str]:
    """Return an approach's state, and why it is not measured yet."""
    missing = [member for member in members if member.measured is None]
    if not missing:
        return "measured", ""
    for entry in missing:
        for state in (entry.row.state, entry.measuring):
            if _ended_badly(state):
                return "failed", f"{entry.row.name}: {_cause(state)}"
    done = len(members) - len(missing)
    if done:
        return "under way", f"{done} of {len(members)} runs are measured"
    state = missing[0].row.state
    return "under way", "trained, not measured yet" if isinstance(state, Finished) else word(state)


def _making_jobs(member: Member) -> list[tuple[JobRow, float]]:
    """Return the jobs that made a run, with the seconds of each."""
    spans = [(job, ran_s(job.state)) for job in member.jobs if job.kind.makes_a_run]
    return [(job, span) for job, span in spans if span is not None]


def _setup(members: Sequence[Member], trains: bool) -> float | None:
    """Return the seconds until an approach can answer: its training, and building its index."""
    set_up_seconds = []
    for member in members:
        if member.measured is None:
            continue
        trained = sum(seconds for _, seconds in _making_jobs(member)) if trains else 0.0
        set_up_seconds.append(trained + member.measured.index_s)
    return fmean(set_up_seconds) if set_up_seconds else None


def _retained(members: Sequence[Member], trains: bool) -> Retained | None:
    if not trains:
        return Retained(0.0, [], same_weights=True)
    checks = [member.row.check for member in members if member.row.check is not None]
    drops = [check.drop for check in checks if check.drop is not None]
    if not checks:
        return None
    spread = stdev(drops) if len(drops) > 1 else None
    verdicts: list[str] = [check.verdict for check in checks]
    return Retained(fmean(drops) if drops else None, verdicts, spread=spread, margin=checks[0].margin)


def _new_facts(updates: str, members: Sequence[Member], metric: str) -> News | None:
    """Return how an approach took in the new facts; None if there are none."""
    own = [member.measured for member in members if member.measured is not None and not member.learns_news]
    before = [_items(measurement.news.get(metric, ())) for measurement in own if measurement.news.get(metric)]
    if not before:
        return None
    if updates == "train":
        return _trained_again(members, before, metric)
    gained = [each.news_after[metric] for each in own if each.news_after.get(metric)]
    after = [_items(scores) for scores in gained]
    if not after:
        why = NOT_FOR.get(members[0].approach, "none of its documents has the new facts")
        return News("", statistics.score(before), why_not=why)
    gain, seconds = statistics.gap(after, before), _mean(measurement.news_s for measurement in own)
    return News("index", statistics.score(before), statistics.score(after), gain, seconds)


def _trained_again(members: Sequence[Member], before: Sequence[statistics.Items], metric: str) -> News:
    """Compare the run that also learned the new facts with the run of the same seed that did not."""
    retrained = next((member for member in members if member.learns_news), None)
    if retrained is None:
        return News("train", statistics.score(before), why_not="approaches.update.train has no rows for it")
    others = [each for each in members if each.seed == retrained.seed and not each.learns_news]
    measured = [each.measured for each in others if each.measured is not None]
    first = [_items(each.news[metric]) for each in measured if each.news.get(metric)]
    score_before = statistics.score(first or before)
    if retrained.measured is None or not retrained.measured.news.get(metric):
        return News("train", score_before, why_not=_state([retrained])[1] or "it was not scored")
    after = [_items(retrained.measured.news[metric])]
    seconds = sum(spent for _, spent in _making_jobs(retrained))
    gain = statistics.gap(after, first or before)
    return News("train", score_before, statistics.score(after), gain, seconds or None)
