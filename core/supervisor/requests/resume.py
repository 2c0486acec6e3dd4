"""Resumes a run that has ended: chooses the checkpoint, applies changes, reports losses, queues the job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import Refused
from finetop.core.models import checkpoint
from finetop.core.protocol import accepts, runs as data
from finetop.core.protocol.messages.submit import Resume, ResumeAnswer
from finetop.core.recipe.command import resumed_step
from finetop.core.recipe.dotted import Change, changes
from finetop.core.recipe.load import recipe_from_mapping, recipe_from_resolved
from finetop.core.runtime import secrets
from finetop.core.store import jobs, queue_order, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.gpus.require_usable import require_usable_gpus
from finetop.core.supervisor.launchers.resume_point import choose, resume_args
from finetop.core.supervisor.requests import parent_runs as ancestry
from finetop.core.supervisor.save_records import record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from finetop.core.supervisor.state import Supervisor

LENGTH = ("train.epochs", "train.max_steps")


def resume(supervisor: Supervisor, ask: Resume) -> ResumeAnswer:
    """Queue a job that resumes from a run's checkpoint, in the run's folder.

    A run that ended before its first checkpoint starts over. Raises NotFound for an unknown run or step, BadInput for a
    setting that can't change, Refused for a run that has not ended or has nothing left to do.
    """
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    detail = runs.detail(connection, run_id)
    if (waiting := released(supervisor, run_id, name, ask)) is not None:
        return waiting
    if detail.row.maker.of_others:
        return run_again(supervisor, detail, ask)
    require_ended(detail, name)
    changed = [] if ask.recipe is None else changes(detail.recipe, ask.recipe)
    if ask.recipe is not None:
        secrets.require_none(msgspec.json.encode(ask.recipe).decode(), "the recipe")
    recipe_from_mapping(detail.recipe if ask.recipe is None else ask.recipe)  # its job only converts it
    folder = supervisor.home.root / detail.folder
    step, place = choose(folder, name, ask.step)
    require_work(detail, name, step, changed)
    require_no_loss(folder, name, step, anyway=ask.anyway)
    remarks = [*left_out(folder, step), *(str(change) for change in changed)]
    args = resume_args(folder, step, place, anyway=ask.anyway, changes=remarks)
    undo = runs.snapshot(connection, run_id, detail.row.state)
    with transaction(connection):
        if ask.recipe is not None and changed:
            undo = msgspec.structs.replace(undo, recipe=detail.recipe, model=detail.row.model)
            runs.set_recipe(connection, run_id, ask.recipe, ancestry.model_name(connection, ask.recipe))
        runs.queue_again(connection, run_id)
        jobs.add_job(
            connection, run_id=run_id, verb="train", args=args, priority=jobs.TRAIN_PRIORITY, undo=undo
        )
    supervisor.touch()
    return ResumeAnswer(name, step, remarks, jobs.place_of(connection, run_id))


async def resume_on_usable_gpu(supervisor: Supervisor, ask: Resume) -> ResumeAnswer:
    """Resume a run, unless torch can't use the GPU that it would get. Raises as `resume`, and InstallationTrouble."""
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    await require_usable_gpus(supervisor, [ask.recipe or runs.recipe(supervisor.connection, run_id)])
    answer = resume(supervisor, ask)
    await record(supervisor)
    return answer


def run_again(supervisor: Supervisor, detail: data.RunDetail, ask: Resume) -> ResumeAnswer:
    """Queue another program's command again, by its resume_command. Raises Refused, BadInput."""
    connection, row = supervisor.connection, detail.row
    command = detail.recipe.get("command") or {}
    accepts.free(row)
    if row.maker.only_watches:
        hint = f"To watch it again: finetop retry {row.name}."
        raise Refused(f"{row.name} was started without finetop: how it goes on is not known.", hint=hint)
    if not command.get("resume_command"):
        hint = "Set command.resume_command, the command that resumes the program; or run it again."
        raise Refused(f"{row.name} is another program's run, and how it goes on is not known.", hint=hint)
    if ask.step is not None or ask.recipe is not None:
        hint = "Leave the step and --set out: what it goes on from is the program's own affair."
        raise Refused(f"{row.name} is another program's run.", hint=hint)
    undo = runs.snapshot(connection, row.id, row.state)
    with transaction(connection):
        runs.queue_again(connection, row.id)
        jobs.add_job(
            connection,
            run_id=row.id,
            verb="command",
            args={"again": True},
            priority=jobs.TRAIN_PRIORITY,
            undo=undo,
        )
    supervisor.touch()
    place = jobs.place_of(connection, row.id)
    return ResumeAnswer(row.name, step_of_command(detail), [], place, "command")


def released(supervisor: Supervisor, run_id: int, name: str, ask: Resume) -> ResumeAnswer | None:
    """Release a waiting run that is paused, held or due for a retry; None if it is none of these.

    Raises Refused if another step or other settings are requested.
    """
    connection = supervisor.connection
    waiting = [job for job in jobs.queued(connection) if job.run_id == run_id]
    if not any(job.held or job.not_before is not None for job in waiting):
        return None
    if ask.step is not None or ask.recipe is not None:
        hint = f"Remove it first: finetop stop {name}. Then resume."
        raise Refused(f"{name} is already in the queue.", hint=hint)
    with transaction(connection):
        for job in waiting:
            queue_order.hold(connection, job.id, held=False)
    supervisor.touch()
    step = max(int(job.args.get("resume", {}).get("step", 0)) for job in waiting)
    if waiting[0].kind.is_command and waiting[0].args.get("again"):
        step = step_of_command(runs.detail(connection, run_id))
    return ResumeAnswer(name, step, [], jobs.place_of(connection, run_id), waiting[0].verb)


def step_of_command(detail: data.RunDetail) -> int:
    """Return the step of the checkpoint that another program's command goes on from; 0 if none is known."""
    command = recipe_from_resolved(detail.recipe).command
    return 0 if command is None else resumed_step(command)


def require_ended(detail: data.RunDetail, name: str) -> None:
    """Raise Refused if a run trains or waits, or was never trained here."""
    if any(job.kind.is_import for job in detail.jobs):
        hint = f"Start a new run from it: model.id: run:{name}."
        raise Refused(f"{name} was made elsewhere: it has no trainer state to resume from.", hint=hint)
    if any(
        job.kind.makes_a_run and not job.kind.leaves_model and not job.kind.of_others for job in detail.jobs
    ):
        hint = f"If its measurement failed, repeat it: finetop retry {name}."
        raise Refused(f"{name} trains no weights: there is nothing to resume.", hint=hint)
    accepts.free(detail.row)


def left_out(folder: Path, step: int) -> list[str]:
    """Return messages about later, incomplete checkpoints that are skipped."""
    return [
        f"step {checkpoint.step_of(place)} is left out: {fault}"
        for place in checkpoint.folders(folder)
        if checkpoint.step_of(place) > step and (fault := checkpoint.fault_of(place))
    ]


def require_work(detail: data.RunDetail, name: str, step: int, changed: Sequence[Change]) -> None:
    """Raise Refused if a run is at its end and its length is not changed."""
    is_longer = any(change.key in LENGTH for change in changed)
    if isinstance(detail.row.state, data.Finished) and step >= detail.row.steps and not is_longer:
        train = detail.recipe["train"]
        by_steps = train.get("max_steps") is not None
        longer = f"max_steps={2 * step}" if by_steps else f"epochs={(train.get('epochs') or 1) + 1:g}"
        hint = f"Make it longer: finetop resume {name} --set train.{longer}"
        raise Refused(f"{name} has finished: nothing is left to do after step {step}.", hint=hint)


def require_no_loss(folder: Path, name: str, step: int, *, anyway: bool) -> None:
    """Raise Refused if later checkpoints would be removed without `anyway`."""
    later = [
        checkpoint.step_of(saved_folder)
        for saved_folder in checkpoint.complete(folder)
        if checkpoint.step_of(saved_folder) > step
    ]
    if later and not anyway:
        steps = ", ".join(str(at) for at in later)
        hint = "Add --anyway to lose them, or start a new run: model.id: run:NAME@STEP."
        raise Refused(
            f"resuming from step {step} removes the later checkpoints of {name}: {steps}.", hint=hint
        )


ANSWERS = {Resume: resume_on_usable_gpu}
