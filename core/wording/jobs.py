"""Jobs in words: what runs, its progress, and what a stop ends and keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from finetop.core.protocol import job_kinds
from finetop.core.protocol.messages.limits import ordinal
from finetop.core.protocol.runs import Queued, Running, RunRow, SideJob, Tried, Verb
from finetop.core.text import clean_line, count, counted
from finetop.core.wording import pulse
from finetop.core.wording.durations import long_span
from finetop.core.wording.verdicts import short_answer, unchecked

_ITEMS = ("items", "rows")  # units of a phase that needs no name: scoring


def counts(running: Mapping[str, int]) -> str:
    """Count jobs by kind: '1 training, 2 checks'; empty if none runs."""
    by_name: dict[str, tuple[int, str]] = {}
    for verb, kind in job_kinds.kinds().items():
        name = kind.counted or kind.word
        number, _ = by_name.get(name, (0, ""))
        by_name[name] = number + running.get(verb, 0), kind.many
    return ", ".join(counted(number, name, many) for name, (number, many) in by_name.items() if number)


def job(verb: Verb, state: Running | Queued, tried: Tried | None = None, *, room: int = 1000) -> str:
    """Return a job's progress in at most `room` cells: the time left is dropped first, then the counts.

    'check 1,200 of 1,819 items, 3 min left', 'remedies 2 of 8, 4 min left', 'export: loading model', 'check waits, 2nd'
    """
    name = job_kinds.of(verb).word
    if isinstance(state, Queued):
        place = f", {ordinal(state.place)}" if state.place else " in Slurm"
        return f"{name} {'held' if state.held else f'waits{place}'}"
    if state.asked:
        return f"{name} {requested_end(verb, state)}"
    if state.pulse:
        return f"{name} {pulse.label(state)} {pulse.details(state)}"
    is_counted = state.done is not None and bool(state.total) and state.unit in _ITEMS
    if tried is not None:
        last = ", confirming" if tried.done >= tried.total else ""
        short = f"{name} {count(tried.done)} of {count(tried.total)}"
        whole = short + last
    elif is_counted:
        short = f"{name} {_amount(state.done or 0.0)} of {_amount(state.total or 0.0)}"
        whole = f"{short} {state.unit}"
    else:
        short, whole = f"{name}: {clean_line(state.phase) or 'starting'}", f"{name}: {phase(state)}"
    left = "" if (left_s := seconds_left(state, tried)) is None else f", {long_span(left_s)} left"
    forms = (whole + left, short + left, whole, short)
    return next((form for form in forms if len(form) <= room), short)


def seconds_left(state: Running, tried: Tried | None = None) -> float | None:
    """Return about how many seconds are left of a job, or of its phase if only that is known."""
    return state.left_s if tried is None or tried.done >= tried.total else tried.left_s


def share(state: Running, tried: Tried | None = None) -> float | None:
    """Return the fraction of a job, or of its phase, that is done."""
    done, total = (tried.done, tried.total) if tried is not None else (state.done, state.total)
    return min(1.0, done / total) if done is not None and total else None


def speed(state: Running) -> str:
    """Return the speed of a phase: '5.3 items/s'; empty if unknown."""
    return f"{state.per_s:.3g} {clean_line(state.unit)}/s" if state.per_s and state.unit in _ITEMS else ""


def phase(state: Running) -> str:
    """Return what a job does now, with counts if there are any: 'loading model, 3.1 of 8.0 GB'."""
    name = clean_line(state.phase) or "starting"
    if state.done is None or not state.total:
        return name
    unit = f" {clean_line(state.unit)}" if state.unit else ""
    return f"{name}, {_amount(state.done)} of {_amount(state.total)}{unit}"


def _amount(number: float) -> str:
    return count(int(number)) if number == int(number) else f"{number:,.1f}"


def requested_end(verb: Verb, state: Running) -> str:
    """Return how a job is about to end on request: 'pausing: saving a checkpoint'."""
    verb_form = {"stop": "stopping", "pause": "pausing", "kill": "being killed"}[state.asked or "stop"]
    return verb_form if state.asked == "kill" else verb_form + job_kinds.of(verb).while_saving


# --- what a stop ends -----------------------------------------------------------------------------------------


def under_way(row: RunRow) -> list[SideJob]:
    """Return a run's running and waiting jobs, its main job first: a stop ends them all."""
    main_job = [SideJob(row.made_by, row.state)] if isinstance(row.state, Running | Queued) else []
    return [*main_job, *row.side_jobs]


def named(name: str, jobs: Sequence[SideJob]) -> str:
    """Name a run's jobs: 'demo', 'the remedies of demo', 'demo and its check'."""
    verbs = list(dict.fromkeys(job.verb for job in jobs))
    others = [kind.word for verb in verbs if not (kind := job_kinds.of(verb)).reports_steps]
    if len(others) < len(verbs):
        return " and ".join([name, *(f"its {other}" for other in others)])
    return f"{' and '.join(f'the {other}' for other in others)} of {name}"


def kept(jobs: Sequence[SideJob]) -> str:
    """Return what is kept of jobs other than the training when they end, one sentence each."""
    return " ".join(dict.fromkeys(_kept(job) for job in jobs if not job.kind.reports_steps))


def _kept(job: SideJob) -> str:
    if isinstance(job.state, Queued):
        return job.kind.not_started()
    return job.kind.kept(*((0, 0) if job.tried is None else (job.tried.done, job.tried.total)))


def ending(name: str, jobs: Sequence[SideJob], wish: Literal["stop", "kill", "pause"]) -> str:
    """Return what happens to jobs that were asked to end: 'demo saves a checkpoint, then stops.'"""
    running = [job for job in jobs if isinstance(job.state, Running)]
    if not running:
        return f"{named(name, jobs)} removed from the queue."
    doing = {"stop": "stopping", "kill": "killing", "pause": "pausing"}[wish]
    side_jobs = [job for job in jobs if not job.kind.reports_steps]
    main_job = next((job.verb for job in running if job.kind.reports_steps), None)
    if main_job is None:
        kept_words = "" if wish == "pause" else f" {kept(side_jobs)}"
        return f"{doing} {named(name, jobs)}.{kept_words}"
    more = f" Also {doing} its {' and its '.join(job.kind.word for job in side_jobs)}." if side_jobs else ""
    return f"{name} {_ends(main_job, wish)}{more}"


def _ends(verb: Verb, wish: Literal["stop", "kill", "pause"]) -> str:
    kind = job_kinds.of(verb)
    if kind.only_watches:
        return "is no longer watched; its program goes on."
    if wish == "kill":
        return "is being killed."
    return f"{kind.ends}, then {'stops.' if wish == 'stop' else 'waits in the queue, held.'}"


def answer_words(row: RunRow, *, name_suite: bool | None = None) -> str:
    """Return the answer to 'did it forget?' in words: side jobs under way, the newest verdict, or its lack."""
    parts = [job(side.verb, side.state, side.tried) for side in row.side_jobs]
    if row.check is not None:
        parts.append(short_answer(row.check, name_suite=name_suite))
    return "; ".join(parts) or unchecked(row)
