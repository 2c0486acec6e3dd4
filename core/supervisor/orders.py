"""What people tell the supervisor to do: queue a run, adopt one, check one, stop, kill."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import msgspec

from finetop.core import protocol
from finetop.core import run as data
from finetop.core.check.asking.suite import find_suite
from finetop.core.errors import BadInput, EnvironmentTrouble, Refused
from finetop.core.recipe.load import check_name
from finetop.core.recipe.schema import General
from finetop.core.store import checks, claims, jobs, runs
from finetop.core.store.open import transaction
from finetop.core.supervisor.state import Supervisor


def submit(supervisor: Supervisor, ask: protocol.Submit) -> protocol.SubmitAnswer:
    """Queue a run: its folder with the recipe, then its rows. On any trouble neither is left.

    Raises BadInput for a name that can't be or a suite that can't be read, NotFound for one that is not there,
    EnvironmentTrouble when the folder can't be made.
    """
    run_id, name = _add_run(
        supervisor, ask.name, ask.recipe, ask.source, verb="train", args={}, priority=jobs.TRAIN_PRIORITY
    )
    return protocol.SubmitAnswer(run_id, name, jobs.places(supervisor.connection)[run_id].place)


def adopt(supervisor: Supervisor, ask: protocol.Import) -> protocol.ImportAnswer:
    """Make a run of a model that was made elsewhere, and queue the job that looks at it, ahead of training.

    With `reuse`, the run that the same folder was linked as before, on the same base, answers. Raises as `submit`.
    """
    if not Path(ask.path).is_absolute():
        raise BadInput(f"path is {ask.path!r}.", hint="Give an absolute path.")
    if ask.reuse:
        for run_id, name, recipe, args in jobs.imports(supervisor.connection, ask.path):
            if _is_the_same(ask, recipe, args):
                return protocol.ImportAnswer(run_id, name, True)
    args = {"path": ask.path, "steps": ask.steps, "copy": ask.copy}
    run_id, name = _add_run(
        supervisor, ask.name, ask.recipe, ask.source, verb="import", args=args, priority=jobs.CHECK_PRIORITY
    )
    return protocol.ImportAnswer(run_id, name, False)


def _is_the_same(ask: protocol.Import, recipe: dict[str, Any], args: dict[str, Any]) -> bool:
    """Tell whether a folder was adopted before just so: a copy is of what it held then, so only links are."""
    return (
        not args["copy"]
        and not ask.copy
        and args["steps"] == ask.steps
        and all(recipe[key] == ask.recipe[key] for key in ("model", "method", "data"))
    )


def _add_run(
    supervisor: Supervisor,
    wanted: str,
    recipe: dict[str, Any],
    source: str,
    *,
    verb: str,
    args: dict[str, Any],
    priority: int,
) -> tuple[int, str]:
    """Make a run: its folder with the recipe, then its rows and the job that makes it. Returns number and name."""
    check_name(wanted, "name")
    if general := recipe.get("check", {}).get("general"):
        find_suite(general["suite"], supervisor.home)  # now, and not after hours of training
    connection = supervisor.connection
    run_id = runs.next_run_id(connection)
    name = runs.free_name(connection, wanted)
    folder = supervisor.home.run_folder(run_id, name)
    try:
        folder.mkdir(mode=0o700, parents=True)
        (folder / "recipe.yaml").write_text(source)
        facts = {"format": 1, "id": run_id, "name": name, "created": time.time(), "recipe": recipe}
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
                recipe=recipe,
                source=source,
            )
            jobs.add_job(connection, run_id=run_id, verb=verb, args=args, priority=priority)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    supervisor.touch()
    return run_id, name


def check(supervisor: Supervisor, ask: protocol.Check) -> protocol.CheckAnswer:
    """Queue a check of a run's checkpoint, ahead of queued training.

    Raises NotFound without such a checkpoint, BadInput for settings that can't be, Refused while a check of this
    run is under way.
    """
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    step, path = checks.newest_checkpoint(connection, run_id, ask.step)
    if run_id in jobs.checks_under_way(connection):
        raise Refused(f"{name} is being checked already.", hint=f"See `finetop show {name}`.")
    args: dict[str, Any] = {"step": step, "checkpoint": path}
    if settings := own_settings(ask.general, runs.recipe(connection, run_id)):
        args["general"] = settings
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


def own_settings(given: dict[str, Any], recipe: dict[str, Any]) -> dict[str, Any]:
    """Keep of a check's settings those that differ from its run's: asked for or not, they are the same claim.

    Raises BadInput for a setting that check.general has not, or a value that it can't have.
    """
    try:
        wanted = msgspec.to_builtins(msgspec.convert(given, General))
    except msgspec.ValidationError as error:
        raise BadInput(f"check.general: {error}.", hint="See `finetop check --help`.") from error
    own = (recipe.get("check") or {}).get("general") or msgspec.to_builtins(General())
    return {key: wanted[key] for key in given if wanted[key] != own.get(key)}


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
            if job.verb in data.MAKES_A_RUN:
                runs.set_state(connection, run_id, state_asked)
        for job in waiting:
            cancelled = data.Stopped(ended=time.time(), how="cancel")
            jobs.set_state(connection, job.id, cancelled)
            if job.verb in data.MAKES_A_RUN:
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
