"""What people tell the supervisor to do: queue a run, check one, stop, kill."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import msgspec

from finetop.core import protocol
from finetop.core import run as data
from finetop.core.check.suite import find_suite
from finetop.core.errors import EnvironmentTrouble, Refused
from finetop.core.recipe.load import check_name
from finetop.core.store import checks, claims, jobs, runs
from finetop.core.store.open import transaction
from finetop.core.supervisor.state import Supervisor


def submit(supervisor: Supervisor, ask: protocol.Submit) -> protocol.SubmitAnswer:
    """Queue a run: its folder with the recipe, then its rows. On any trouble neither is left.

    Raises BadInput for a name that can't be or a suite that can't be read, NotFound for one that is not there,
    EnvironmentTrouble when the folder can't be made.
    """
    check_name(ask.name, "name")
    if general := ask.recipe.get("check", {}).get("general"):
        find_suite(general["suite"], supervisor.home)  # now, and not after hours of training
    connection = supervisor.connection
    run_id = runs.next_run_id(connection)
    name = runs.free_name(connection, ask.name)
    folder = supervisor.home.run_folder(run_id, name)
    try:
        folder.mkdir(mode=0o700, parents=True)
        (folder / "recipe.yaml").write_text(ask.source)
        facts = {"format": 1, "id": run_id, "name": name, "created": time.time(), "recipe": ask.recipe}
        (folder / "run.json").write_bytes(msgspec.json.encode(facts))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise EnvironmentTrouble(
            f"can't make {folder}: {error.strerror}.",
            hint="Nothing was queued. Free some room, then try again.",
        ) from error
    try:
        with transaction(connection):
            runs.add_run(
                connection,
                run_id=run_id,
                name=name,
                folder=str(folder.relative_to(supervisor.home.root)),
                recipe=ask.recipe,
                source=ask.source,
            )
            jobs.add_job(connection, run_id=run_id, verb="train", args={}, priority=jobs.TRAIN_PRIORITY)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    supervisor.touch()
    return protocol.SubmitAnswer(run_id, name, jobs.places(connection)[run_id].place)


def check(supervisor: Supervisor, ask: protocol.Check) -> protocol.CheckAnswer:
    """Queue a check of a run's checkpoint, ahead of queued training.

    Raises NotFound without such a checkpoint, Refused while a check of this run is under way.
    """
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    step, path = checks.newest_checkpoint(connection, run_id, ask.step)
    if run_id in jobs.checks_under_way(connection):
        raise Refused(f"{name} is being checked already.", hint=f"See `finetop show {name}`.")
    args: dict[str, Any] = {"step": step, "checkpoint": path}
    claim = claims.claim_of(connection, run_id, step, args.get("general"), watch=ask.watch)
    with transaction(connection):
        job_id, _ = jobs.add_job(
            connection,
            run_id=run_id,
            verb="check",
            args={**args, **claim.args},
            priority=jobs.CHECK_PRIORITY,
        )
    supervisor.touch()
    return protocol.CheckAnswer(job_id, name, step)


def stop(supervisor: Supervisor, ask: protocol.Stop) -> protocol.Done:
    """Ask a run's live jobs to save and exit; take waiting ones out of the queue."""
    return _end(supervisor, ask.run, "stop")


def kill(supervisor: Supervisor, ask: protocol.Kill) -> protocol.Done:
    return _end(supervisor, ask.run, "kill")


def _end(supervisor: Supervisor, run: str, what: str) -> protocol.Done:
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, run)
    waiting = [job for job in jobs.queued(connection) if job.run_id == run_id]
    live = [job for job in jobs.live(connection) if job.run_id == run_id]
    if not waiting and not live:
        state = data.word(runs.row(connection, run_id).state)
        raise Refused(f"{name} is {state}: there is nothing to {what}.")
    with transaction(connection):
        for job in live:
            jobs.ask(connection, job.id, what)
            assert isinstance(job.state, data.Running)
            state_asked = msgspec.structs.replace(job.state, asked="kill" if what == "kill" else "stop")
            jobs.set_state(connection, job.id, state_asked)
            if job.verb == "train":
                runs.set_state(connection, run_id, state_asked)
        for job in waiting:
            cancelled = data.Stopped(ended=time.time(), how="cancel")
            jobs.set_state(connection, job.id, cancelled)
            if job.verb == "train":
                runs.set_state(connection, run_id, cancelled)
    supervisor.touch()
    if not live:
        return protocol.Done(f"{name} left the queue.")
    if what == "kill":
        return protocol.Done(f"{name} is being killed.")
    return protocol.Done(f"{name} saves a checkpoint, then stops.")


def log_of(supervisor: Supervisor, ask: protocol.ReadLog) -> protocol.LogAnswer:
    """Read a piece of a job's log, at most 1 MiB."""
    connection = supervisor.connection
    run_id, _ = runs.find_run(connection, ask.run)
    own: list[Any] = runs.detail(connection, run_id).jobs
    chosen = [job for job in own if job.id == ask.job] if ask.job is not None else own[-1:]
    if not chosen:
        raise Refused(f"this run has no job {ask.job}.")
    found = connection.execute("SELECT folder FROM runs WHERE id = ?", [run_id]).fetchone()
    assert found is not None
    file = supervisor.home.root / str(found[0]) / chosen[0].folder / "log.txt"
    return read_piece(file, chosen[0].id, ask.offset, min(ask.limit, 1 << 20))


def read_piece(file: Path, job: int, offset: int, limit: int) -> protocol.LogAnswer:
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            start = max(0, size + offset) if offset < 0 else min(offset, size)
            opened.seek(start)
            data_read = opened.read(limit)
    except FileNotFoundError:
        return protocol.LogAnswer(job, "", 0, 0)
    return protocol.LogAnswer(job, data_read.decode("utf-8", "replace"), start + len(data_read), size)
