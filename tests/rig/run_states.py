"""Every state that a run can be in, each as a run of a home whose supervisor is in the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from still import Still, verdict

from finetop.core.protocol import events, runs as data
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.queue import Hold
from finetop.core.protocol.messages.remedies import Remedies, Remedy
from finetop.core.protocol.messages.triage import SetStanding, Standing
from finetop.core.store import jobs, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.requests import checks, queue, remedies, triage

SAVED = (10, 20)
NOW = 1_790_000_000.0
Build = Callable[[Still, str], object]


def make_all(still: Still, *names: str) -> list[str]:
    """Make a run in each of these states, or in all; return their names."""
    for name in names or STATES:
        STATES[name](still, name)
    return list(names or STATES)


def unsaved(still: Still, name: str, state: data.State) -> int:
    """Make a run in a state that reached step 7 and saved nothing."""
    run_id = still.run(name)
    still.supervisor.connection.execute("UPDATE runs SET step = 7, steps = 20 WHERE id = ?", [run_id])
    return set_state(still, run_id, state)


def saved(still: Still, name: str, state: data.State, **sections: Any) -> int:
    """Make a run with two checkpoints in a state; `sections` are columns of the store that differ."""
    run_id = still.run(name, SAVED)
    for column, value in sections.items():
        still.supervisor.connection.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", [value, run_id])
    return set_state(still, run_id, state)


def set_state(still: Still, run_id: int, state: data.State) -> int:
    """Set the state of a run and its training."""
    connection = still.supervisor.connection
    with transaction(connection):
        jobs.set_state(connection, jobs.of_run(connection, run_id)[0].id, state)
        runs.set_state(connection, run_id, state)
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


def beside(still: Still, run_id: int, verb: data.Verb, state: data.State | None = None, **args: Any) -> int:
    """Add another job to a run: one that waits, or in a state."""
    connection = still.supervisor.connection
    with transaction(connection):
        job, _ = jobs.add_job(connection, run_id=run_id, verb=verb, args=args, priority=0)
        if state is not None:
            jobs.begin_attempt(connection, job)
            jobs.set_state(connection, job, state)
    return run_id


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
    checks.check(still.supervisor, Check(str(run_id)))
    return run_id


def check_held(still: Still, name: str) -> None:
    check_queued(still, saved(still, name, DONE))
    queue.hold(still.supervisor, Hold(name))


def remedies_queued(still: Still, run_id: int) -> int:
    remedies.remedy(still.supervisor, Remedy(str(run_id)))
    return run_id


def remedies_running(still: Still, name: str) -> None:
    run_id = remedies_queued(still, checked(still, name, 40))
    connection = still.supervisor.connection
    job = next(job for job in jobs.queued(connection) if job.run_id == run_id)
    with transaction(connection):
        jobs.begin_attempt(connection, job.id)
        phase = "half-way to the base: scoring tuned"
        jobs.set_state(connection, job.id, data.Running(NOW - 60, phase, 212, 336, "items", 40.0))


def remedies_tried(still: Still, name: str, of: slice, **told: Any) -> None:
    """Make a run that forgot, with some remedies tried and their reported results."""
    run_id = checked(still, name, 40)
    own = remedies.remedies_of(still.supervisor, Remedies(name)).rows
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

STATES: dict[str, Build] = {
    "queued": lambda still, name: still.queue(name),
    "held": held,
    "waits": waits_for_a_run,
    "starting": lambda still, name: unsaved(still, name, data.Running(NOW)),
    "running": lambda still, name: unsaved(still, name, running()),
    "running-saved": lambda still, name: saved(still, name, running()),
    "running-checked": lambda still, name: checked(still, name, 40, running()),
    "running-with-check": lambda still, name: beside(still, saved(still, name, running()), "check", SCORING),
    "running-pretrain": lambda still, name: saved(still, name, running(), objective="pretrain"),
    "running-hung": lambda still, name: saved(
        still, name, running(pulse="hung", silent_s=900.0, usual_s=3.0)
    ),
    "pausing": lambda still, name: saved(still, name, running(asked="pause")),
    "paused": paused,
    "cancelled": lambda still, name: unsaved(still, name, data.Stopped(9.0, "cancel")),
    "stopped": lambda still, name: saved(still, name, data.Stopped(9.0, "stop", 1.0)),
    "stopped-unsaved": lambda still, name: unsaved(still, name, data.Stopped(9.0, "stop", 1.0)),
    "killed": lambda still, name: saved(still, name, data.Stopped(9.0, "kill", 1.0)),
    "killed-unsaved": lambda still, name: unsaved(still, name, data.Stopped(9.0, "kill", 1.0)),
    "failed": lambda still, name: saved(still, name, data.Failed(9.0, "killed by signal 9")),
    "failed-unsaved": lambda still, name: unsaved(
        still, name, data.Failed(9.0, "out of memory", "Lower train.batch_size (now 8).")
    ),
    "lost": lambda still, name: saved(still, name, data.Lost(9.0, "the machine restarted")),
    "lost-unsaved": lambda still, name: unsaved(still, name, data.Lost(9.0, "the machine restarted")),
    "lost-with-check": lambda still, name: beside(
        still, saved(still, name, data.Lost(9.0, "it vanished")), "check", SCORING
    ),
    "lost-not-resumable": lambda still, name: not_resumable(
        still, saved(still, name, data.Lost(9.0, "it vanished"))
    ),
    "unchecked": lambda still, name: saved(still, name, DONE),
    "finished-cleaned": lambda still, name: cleaned(still, saved(still, name, DONE)),
    "check-queued": lambda still, name: check_queued(still, saved(still, name, DONE)),
    "check-held": check_held,
    "check-running": lambda still, name: beside(still, saved(still, name, DONE), "check", SCORING),
    "check-failed": lambda still, name: beside(
        still, saved(still, name, DONE), "check", data.Failed(9.0, "out of memory")
    ),
    "ok": lambda still, name: checked(still, name),
    "target-failed": lambda still, name: checked(still, name, target_failed="faq.jsonl is not there"),
    "target-failed-cleaned": lambda still, name: cleaned(
        still, checked(still, name, target_failed="faq.jsonl is not there")
    ),
    "regressed": lambda still, name: checked(still, name, 40),
    "regressed-cleaned": lambda still, name: cleaned(still, checked(still, name, 40)),
    "regressed-killed": lambda still, name: checked(still, name, 40, data.Stopped(9.0, "kill", 1.0)),
    "no-verdict": lambda still, name: checked(
        still, name, verdict="no_verdict", reason="at chance", drop=None
    ),
    "accepted": accepted,
    "checked-again": lambda still, name: check_queued(still, checked(still, name, 40)),
    "remedies-queued": lambda still, name: remedies_queued(still, checked(still, name, 40)),
    "remedies-running": remedies_running,
    "remedies-few-tried": lambda still, name: remedies_tried(still, name, slice(0, 1), **WENT_BAD),
    "remedies-half-tried": lambda still, name: remedies_tried(still, name, slice(0, 5), **WENT_BAD),
    "remedies-failed": lambda still, name: remedies_tried(still, name, slice(0, 2), **BROKE),
    "remedies-none-fine": lambda still, name: remedies_tried(still, name, slice(None), **WENT_BAD),
    "remedies-found": lambda still, name: remedies_tried(still, name, slice(0, 3), **FINE),
    "exporting": lambda still, name: beside(
        still, saved(still, name, DONE), "export", data.Running(NOW, "writing"), to="/x", step=20
    ),
    "measuring": lambda still, name: beside(
        still,
        checked(still, name),
        "measure",
        data.Running(NOW, "scoring", 3.0, 9.0, "rows"),
        approach="lora",
    ),
    "imported": lambda still, name: saved(still, name, DONE, objective="imported"),
    "same-weights": lambda still, name: unsaved_approach(still, name),
    "reward": lambda still, name: saved(still, name, DONE, objective="reward"),
    "pretrain": lambda still, name: saved(still, name, DONE, objective="pretrain"),
}


def unsaved_approach(still: Still, name: str) -> int:
    """Make a run that changes no weights."""
    run_id = unsaved(still, name, DONE)
    still.supervisor.connection.execute("UPDATE runs SET method = 'none' WHERE id = ?", [run_id])
    return run_id
