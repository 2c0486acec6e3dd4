"""Every state that a run can be in, each as a run of a home whose supervisor is in the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from still import Still, answered, verdict

from finetop.core.features.remedies import requests as remedies
from finetop.core.features.remedies.messages import Remedies, Remedy
from finetop.core.features.triage import requests as triage
from finetop.core.features.triage.messages import SetStanding
from finetop.core.protocol import events, runs as data
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.queue import Hold
from finetop.core.protocol.standing import Standing
from finetop.core.store import jobs, runs
from finetop.core.store.database import transaction, update
from finetop.core.supervisor.queue import checks
from finetop.core.supervisor.requests import queue

SAVED = (10, 20)
NOW = 1_790_000_000.0
Build = Callable[[Still, str], object]
Change = Callable[[Still, int], object]


def make_all(still: Still, *names: str) -> list[str]:
    """Make a run in each of these states, or in all; return their names. Nothing of it can be rebuilt."""
    still.records = False
    for name in names or STATES:
        STATES[name](still, name)
    still.supervisor.connection.execute("DELETE FROM unrecorded")
    return list(names or STATES)


def unsaved(still: Still, name: str, state: data.State, **columns: Any) -> int:
    """Make a run in a state that reached step 7 and saved nothing; `columns` of the store differ."""
    return _made(still, still.run(name), state, step=7, steps=20, **columns)


def saved(still: Still, name: str, state: data.State, **columns: Any) -> int:
    """Make a run with two checkpoints in a state; `columns` of the store differ."""
    return _made(still, still.run(name, SAVED), state, **columns)


def _made(still: Still, run_id: int, state: data.State, **columns: Any) -> int:
    if columns:
        update(still.supervisor.connection, "runs", run_id, **columns)
    still.set_state(still.rows("SELECT min(id) FROM jobs WHERE run_id = ?", run_id)[0][0], state)
    return run_id


def cleaned(still: Still, run_id: int) -> int:
    """Remove a run's checkpoints, as `finetop clean` does."""
    still.supervisor.connection.execute("DELETE FROM checkpoints WHERE run_id = ?", [run_id])
    return run_id


def not_resumable(still: Still, run_id: int) -> int:
    """Make a run that saved only its weights."""
    connection = still.supervisor.connection
    recipe = runs.recipe(connection, run_id)
    recipe["train"]["resumable"] = False
    with transaction(connection):
        runs.set_recipe(connection, run_id, recipe, "m")
    folder = still.home.root / still.rows("SELECT folder FROM runs WHERE id = ?", run_id)[0][0]
    for place in folder.glob("checkpoints/*/state"):
        place.rmdir()
    return run_id


def waits_for_a_run(still: Still, name: str) -> None:
    still.queue(f"{name} base".replace(" ", "-"))
    still.queue(name, model=f"run:{name}-base")


def beside(verb: data.Verb, state: data.State, **args: Any) -> Change:
    """Add another job to a run, in a state."""

    def add(still: Still, run_id: int) -> int:
        connection = still.supervisor.connection
        with transaction(connection):
            job, _ = jobs.add_job(connection, run_id=run_id, verb=verb, args=args, priority=0)
            jobs.begin_attempt(connection, job)
        still.set_state(job, state)
        return run_id

    return add


def checked(still: Still, name: str, lost: int = 0, state: data.State | None = None, **more: Any) -> int:
    """Make a finished run whose check found `lost` of 100 items lost."""
    run_id = saved(still, name, state or DONE)
    job_events: list[events.Event] = [events.Verdict(20, {**verdict(lost, step=20), **more})]
    still.job(
        run_id, "check", job_events, data.Finished(2.0, 3.0), step=20, checkpoint="checkpoints/step-000020"
    )
    return run_id


def accepted(still: Still, name: str) -> None:
    run_id = checked(still, name, 40)
    triage.set_standing(
        still.supervisor, SetStanding(str(run_id), "", Standing("accepted", "ana", reason="so be it"))
    )


def paused(still: Still, name: str) -> None:
    run_id = saved(still, name, data.Stopped(9.0, "pause"))
    connection = still.supervisor.connection
    with transaction(connection):
        runs.queue_again(connection, run_id)
        args = {"resume": {"step": 20, "checkpoint": "checkpoints/step-000020"}, "paused": 20}
        jobs.add_job(connection, run_id=run_id, verb="train", args=args, priority=10, held=True)


def held(still: Still, name: str) -> None:
    still.queue(name)
    queue.hold(still.supervisor, Hold(name))


def check_queued(still: Still, run_id: int) -> int:
    with transaction(still.supervisor.connection):
        checks.add(still.supervisor.connection, run_id, Check(str(run_id)))
    return run_id


def check_held(still: Still, name: str) -> None:
    check_queued(still, saved(still, name, DONE))
    queue.hold(still.supervisor, Hold(name))


def remedies_queued(still: Still, run_id: int) -> int:
    answered(remedies.remedy(still.supervisor, Remedy(str(run_id))))
    return run_id


def remedies_running(still: Still, name: str) -> None:
    run_id = remedies_queued(still, checked(still, name, 40))
    connection = still.supervisor.connection
    job = next(job for job in jobs.queued(connection) if job.run_id == run_id)
    with transaction(connection):
        jobs.begin_attempt(connection, job.id)
    phase = "half-way to the base: scoring tuned"
    still.set_state(job.id, data.Running(NOW - 60, phase, 212, 336, "items", 40.0))


def remedies_tried(still: Still, name: str, of: slice, **told: Any) -> None:
    """Make a run that forgot, with some remedies tried and their reported results."""
    run_id = checked(still, name, 40)
    own = answered(remedies.remedies_of(still.supervisor, Remedies(name))).rows
    can = [row for row in own if not row.why_not][of]
    candidates = [{"name": row.name, "label": row.label} for row in can]
    tried = [
        events.RemedyTried(
            step=20, name=row.name, remedy=row.remedy, label=row.label, made_of=20, settings={}, **told
        )
        for row in can
    ]
    still.job(run_id, "remedy", [*tried], data.Finished(4.0, 5.0), step=20, candidates=candidates)


def running(phase: str = "training", **more: Any) -> data.Running:
    return data.Running(NOW - 900, phase, 20.0, 100.0, "steps", 60.0, **more)


DONE = data.Finished(1.0, 9.0)
SCORING = data.Running(NOW - 30, "scoring tuned", 212.0, 640.0, "items", 40.0)
WENT_BAD: dict[str, Any] = {
    "verdict": "regressed", "reason": "", "target": {}, "kept": {}, "drop": 0.2, "interval": (0.1, 0.3),
    "items_used": 90, "items_total": 100, "tasks": [], "seconds": 30.0,
}  # fmt: skip
FINE: dict[str, Any] = {**WENT_BAD, "verdict": "ok", "drop": 0.01, "interval": (-0.01, 0.02), "gain": 0.9}
BROKE: dict[str, Any] = {
    **WENT_BAD, "verdict": "failed", "reason": "out of memory", "drop": None, "interval": None,
}  # fmt: skip


def of(build: Callable[..., int], *given: Any, then: Change | None = None, **more: Any) -> Build:
    """Return what builds a run in a state; `then` changes it."""

    def make(still: Still, name: str) -> None:
        run_id = build(still, name, *given, **more)
        if then is not None:
            then(still, run_id)

    return make


def tried(of_them: slice, result: dict[str, Any]) -> Build:
    """Return what builds a run with some remedies tried, all with the same result."""
    return lambda still, name: remedies_tried(still, name, of_them, **result)


STOPPED, KILLED = data.Stopped(9.0, "stop", 1.0), data.Stopped(9.0, "kill", 1.0)
RESTARTED, VANISHED = data.Lost(9.0, "the machine restarted"), data.Lost(9.0, "it vanished")
NO_MEMORY = data.Failed(9.0, "out of memory", "Lower train.batch_size (now 8).")
SCORING_ROWS = data.Running(NOW, "scoring", 3.0, 9.0, "rows")
NO_TARGET = {"target_failed": "faq.jsonl is not there"}

STATES: dict[str, Build] = {
    "queued": Still.queue,
    "held": held,
    "waits": waits_for_a_run,
    "starting": of(unsaved, data.Running(NOW)),
    "running": of(unsaved, running()),
    "running-saved": of(saved, running()),
    "running-checked": of(checked, 40, running()),
    "running-with-check": of(saved, running(), then=beside("check", SCORING)),
    "running-pretrain": of(saved, running(), objective="pretrain"),
    "running-hung": of(saved, running(pulse="hung", silent_s=900.0, usual_s=3.0)),
    "pausing": of(saved, running(asked="pause")),
    "paused": paused,
    "cancelled": of(unsaved, data.Stopped(9.0, "cancel")),
    "stopped": of(saved, STOPPED),
    "stopped-unsaved": of(unsaved, STOPPED),
    "killed": of(saved, KILLED),
    "killed-unsaved": of(unsaved, KILLED),
    "failed": of(saved, data.Failed(9.0, "killed by signal 9")),
    "failed-unsaved": of(unsaved, NO_MEMORY),
    "lost": of(saved, RESTARTED),
    "lost-unsaved": of(unsaved, RESTARTED),
    "lost-with-check": of(saved, VANISHED, then=beside("check", SCORING)),
    "lost-not-resumable": of(saved, VANISHED, then=not_resumable),
    "unchecked": of(saved, DONE),
    "finished-cleaned": of(saved, DONE, then=cleaned),
    "check-queued": of(saved, DONE, then=check_queued),
    "check-held": check_held,
    "check-running": of(saved, DONE, then=beside("check", SCORING)),
    "check-failed": of(saved, DONE, then=beside("check", data.Failed(9.0, "out of memory"))),
    "ok": of(checked),
    "target-failed": of(checked, **NO_TARGET),
    "target-failed-cleaned": of(checked, **NO_TARGET, then=cleaned),
    "regressed": of(checked, 40),
    "regressed-cleaned": of(checked, 40, then=cleaned),
    "regressed-killed": of(checked, 40, KILLED),
    "no-verdict": of(checked, verdict="no_verdict", reason="at chance", drop=None),
    "accepted": accepted,
    "checked-again": of(checked, 40, then=check_queued),
    "remedies-queued": of(checked, 40, then=remedies_queued),
    "remedies-running": remedies_running,
    "remedies-few-tried": tried(slice(0, 1), WENT_BAD),
    "remedies-half-tried": tried(slice(0, 5), WENT_BAD),
    "remedies-failed": tried(slice(0, 2), BROKE),
    "remedies-none-fine": tried(slice(None), WENT_BAD),
    "remedies-found": tried(slice(0, 3), FINE),
    "exporting": of(saved, DONE, then=beside("export", data.Running(NOW, "writing"), to="/x", step=20)),
    "measuring": of(checked, then=beside("measure", SCORING_ROWS, approach="lora")),
    "imported": of(saved, DONE, objective="imported"),
    "same-weights": of(unsaved, DONE, method="none"),
    "reward": of(saved, DONE, objective="reward"),
    "pretrain": of(saved, DONE, objective="pretrain"),
}
