"""Queues runs, chains, exports and imports."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.check.tasks.suite import find_suite
from finetop.core.errors import BadInput, EnvironmentTrouble, NotFound, did_you_mean
from finetop.core.external.recipe import require_program
from finetop.core.protocol import job_kinds, runs as data
from finetop.core.protocol.messages.submit import (
    Import,
    ImportAnswer,
    Stage,
    Submit,
    SubmitAnswer,
    SubmitChain,
    SubmitChainAnswer,
    Watch,
)
from finetop.core.recipe.command import argv
from finetop.core.recipe.dotted import with_settings
from finetop.core.recipe.launchers import require_own_gpus
from finetop.core.recipe.load import recipe_from_mapping
from finetop.core.recipe.names import check_name
from finetop.core.recipe.references import Reference, references
from finetop.core.recipe.schema import Command
from finetop.core.runtime import secrets
from finetop.core.runtime.crash_points import abort_at
from finetop.core.runtime.files import naming, os_error_words
from finetop.core.store import jobs, parents as store_parents, run_records, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.gpus.require_usable import require_usable_gpus
from finetop.core.supervisor.queue import placement
from finetop.core.supervisor.requests import outputs, parent_runs as ancestry
from finetop.core.supervisor.state import Supervisor
from finetop.core.text import quoted

THERE = "Give its path there: the command gets the PATH of that machine's supervisor, or of command.env."


async def submit(supervisor: Supervisor, ask: Submit) -> SubmitAnswer:
    """Queue a run: its folder with the recipe, then its rows. After an error neither remains.

    Raises BadInput for an invalid name or an unreadable suite, NotFound for a missing one, EnvironmentTrouble if the
    folder can't be made.
    """
    order = Order(ask.name, ask.recipe, ask.source, ask.priority, ask.held, trains(ask.recipe))
    run_id, name = await _add_run(supervisor, order)
    return SubmitAnswer(run_id, name, jobs.place_of(supervisor.connection, run_id), ask.held)


async def watch(supervisor: Supervisor, ask: Watch) -> SubmitAnswer:
    """Make a run of a program that was started without finetop; it is watched at once. Raises as `submit`."""
    outputs.require_unwatched(supervisor, ask)
    args = {"pid": ask.pid, "start": ask.start, "log": ask.log}
    order = Order(ask.name, ask.recipe, ask.source, jobs.CHECK_PRIORITY, verb="watch", args=args)
    run_id, name = await _add_run(supervisor, order)
    return SubmitAnswer(run_id, name, jobs.place_of(supervisor.connection, run_id), held=False)


async def chain(supervisor: Supervisor, ask: SubmitChain) -> SubmitChainAnswer:
    """Queue the runs of a chain, all or none; with `first`, starting from the existing runs of earlier stages.

    Raises as `submit`, and NotFound for an unknown stage, or an earlier stage that was never run.
    """
    connection = supervisor.connection
    names = [stage.name for stage in ask.stages]
    if ask.first and ask.first not in names:
        raise NotFound(f"there is no stage {ask.first!r}.", hint=did_you_mean(ask.first, names))
    start = names.index(ask.first) if ask.first else 0
    for stage in ask.stages[start:]:
        require_run(supervisor, Order(f"{ask.name}.{stage.name}", stage.recipe, ask.source))
    await require_usable_gpus(supervisor, [stage.recipe for stage in ask.stages[start:]])
    gone = await ancestry.gone_of(supervisor, [stage.recipe for stage in ask.stages[start:]])
    whole = ask.name if ask.first else runs.free_chain(connection, ask.name, names)
    numbers = {name: runs.newest_of_stage(connection, whole, name) for name in names[:start]}
    queued: list[tuple[int, str]] = []
    with all_or_nothing(supervisor) as folders:
        for stage in ask.stages[start:]:
            begins = not any(reference.kind == "stage" for reference in references(stage.recipe).values())
            held = ask.held and (begins or stage is ask.stages[start])
            recipe = on_runs(stage, numbers)
            order = Order(f"{whole}.{stage.name}", recipe, ask.source, ask.priority, held)
            queued.append(make_run(supervisor, folders, order, gone))
            numbers[stage.name] = queued[-1][0]
    supervisor.touch()
    places, _ = jobs.places(connection)
    return SubmitChainAnswer(
        [SubmitAnswer(run_id, name, places[run_id].place, places[run_id].held) for run_id, name in queued]
    )


def on_runs(stage: Stage, numbers: dict[str, int]) -> dict[str, Any]:
    """Return a stage's recipe with run ids in place of the stages that it starts from."""
    recipe = stage.recipe
    for key, reference in references(recipe).items():
        if reference.kind == "stage" and reference.name not in numbers:
            raise NotFound(
                f"stage {stage.name}: {key}: there is no stage {reference.name!r} before it.",
                hint=did_you_mean(reference.name, numbers),
            )
        if reference.kind == "stage":
            parent = Reference("run", str(numbers[reference.name]), reference.step)
            recipe = with_settings(recipe, {key: str(parent)})
    return recipe


def absolute(text: str, key: str) -> Path:
    """Return an absolute path. Raises BadInput for a relative or invalid one."""
    path = Path(text)
    too_long = len(os.fsencode(text)) > 4095 or any(len(os.fsencode(part)) > 255 for part in path.parts)
    if not path.is_absolute() or "\0" in text or too_long:
        raise BadInput(
            f"{key} is {quoted(text)}, which is not an absolute path.", hint="Give one that begins with /."
        )
    return path


async def import_model(supervisor: Supervisor, ask: Import) -> ImportAnswer:
    """Make a run of a model that was trained elsewhere, and queue the job that reads it, ahead of training.

    With `reuse`, return the existing run of a link to the same folder on the same base. Raises as `submit`.
    """
    absolute(ask.path, "path")
    if ask.reuse:
        for run_id, name, recipe, args in jobs.imports(supervisor.connection, ask.path):
            if _is_the_same(ask, recipe, args):
                return ImportAnswer(run_id, name, True)
    args = {"path": ask.path, "steps": ask.steps, "copy": ask.copy}
    order = Order(ask.name, ask.recipe, ask.source, jobs.CHECK_PRIORITY, verb="import", args=args)
    run_id, name = await _add_run(supervisor, order)
    return ImportAnswer(run_id, name, False)


def _is_the_same(ask: Import, recipe: dict[str, Any], args: dict[str, Any]) -> bool:
    """Return True if this folder was already imported like this; only links count, since a copy may be outdated."""
    return (
        not args["copy"]
        and not ask.copy
        and args["steps"] == ask.steps
        and all(recipe[key] == ask.recipe[key] for key in ("model", "method", "data"))
    )


@dataclass(frozen=True)
class Order:
    """A run that is to be made, by a job of this verb; its name is free yet, or gets a number behind it."""

    name: str
    recipe: dict[str, Any]
    source: str
    priority: int = jobs.TRAIN_PRIORITY
    held: bool = False
    verb: data.Verb = "train"
    args: dict[str, Any] = field(default_factory=dict)


def trains(recipe: Mapping[str, Any]) -> data.Verb:
    """Return the verb of the job that trains a recipe: its command, or our own trainers."""
    return "train" if recipe.get("command") is None else "command"


async def _add_run(supervisor: Supervisor, order: Order) -> tuple[int, str]:
    """Make a run: its folder with the recipe, its rows, and the job that makes it. Return id and name."""
    require_run(supervisor, order)
    if not job_kinds.of(order.verb).only_reads(order.args):
        await require_usable_gpus(supervisor, [order.recipe])
    require_launchers(supervisor, [order.recipe])
    gone = await ancestry.gone_of(supervisor, [order.recipe])
    with all_or_nothing(supervisor) as folders:
        number_and_name = make_run(supervisor, folders, order, gone)
    supervisor.touch()
    return number_and_name


def require_run(supervisor: Supervisor, order: Order) -> None:
    """Validate a run now instead of after hours of training. Raises BadInput, NotFound."""
    check_name(order.name, "name")
    secrets.require_none(order.source, "the recipe")
    secrets.require_none(msgspec.json.encode([order.recipe, order.args]).decode(), "the recipe")
    options = order.recipe.get("trainer_args")
    secrets.require_no_setting(options if isinstance(options, dict) else {}, "trainer_args")
    read = recipe_from_mapping(order.recipe, to_train=job_kinds.of(order.verb).trains_here)
    if job_kinds.maker_of(read.objective.name) != order.verb:
        message = f"objective is {quoted(read.objective.name)}, which is not of a run made by {order.verb}."
        raise BadInput(message, hint="A chain has no stage with a command; else leave objective out.")
    if read.command is not None:
        require_no_secrets(read.command)
        if job_kinds.of(order.verb).is_command:
            require_startable(read.command)
            outputs.require_free(supervisor, order.recipe)
    placement.require_nodes(supervisor, msgspec.structs.asdict(read.budget))
    if read.check.general is not None:
        find_suite(read.check.general.suite, supervisor.home)


def require_startable(command: Command) -> None:
    """Require the program of a command that was sent from another machine, without its PATH. Raises BadInput."""
    if command.run and command.shell is None and "PATH" not in command.env:
        require_program(argv(command), command.workdir, os.environ.get("PATH"), THERE)


def require_launchers(supervisor: Supervisor, recipes: Iterable[Mapping[str, Any]]) -> None:
    """Require that commands keep to the GPUs of their budgets, where there are GPUs. Raises BadInput."""
    if not supervisor.pool.is_in_charge and not placement.has_gpus(supervisor):
        return
    for recipe in recipes:
        read = recipe_from_mapping(recipe, to_train=False)
        if read.command is not None and read.budget.gpus != 0:
            require_own_gpus(read.command, read.budget.gpus or 1)


def require_no_secrets(command: Command) -> None:
    """Require that neither the environment nor an option of a command is named as a secret. Raises BadInput."""
    secrets.require_no_setting(command.env, "command.env")
    secrets.require_no_setting(command.values, "command.values")
    for key in ("run", "resume_command"):
        secrets.require_no_option(getattr(command, key), f"command.{key}")
    if command.shell is not None:
        secrets.require_no_option(command.shell.split(), "command.shell")


@contextmanager
def all_or_nothing(supervisor: Supervisor) -> Iterator[list[Path]]:
    """Make runs in one transaction; after an error neither rows nor the folders in the list remain.

    Raises EnvironmentTrouble if a folder can't be made.
    """
    folders: list[Path] = []
    try:
        with transaction(supervisor.connection):
            yield folders
    except BaseException as error:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise EnvironmentTrouble(
                f"{os_error_words(error, supervisor.home.root)}.",
                hint="Nothing was queued. Free some room, then try again.",
            ) from error
        raise


def make_run(
    supervisor: Supervisor, folders: list[Path], order: Order, gone: ancestry.Gone
) -> tuple[int, str]:
    """Make one run's folder and rows inside of `all_or_nothing`. Returns its number and name.

    Raises OSError and as `resolve`.
    """
    connection = supervisor.connection
    name = runs.free_name(connection, order.name)
    recipe, parents = ancestry.resolve(connection, order.recipe, gone)
    run_id = runs.next_run_id(connection)
    folder = supervisor.home.run_folder(run_id, name)
    folders.append(folder)
    folder.mkdir(mode=0o700, parents=True)
    abort_at("run-folder-made")
    with naming(folder / "recipe.yaml"):
        (folder / "recipe.yaml").write_text(order.source, encoding="utf-8")
    abort_at("recipe-written")
    facts = {
        "format": run_records.FORMAT,
        "id": run_id,
        "name": name,
        "created": time.time(),
        "recipe": recipe,
    }
    with naming(folder / "run.json"):  # the store's decisions are added by run_records
        (folder / "run.json").write_bytes(msgspec.json.encode(facts))
    runs.add_run(
        connection, run_id=run_id, name=name, folder=str(folder.relative_to(supervisor.home.root)), recipe=recipe,
        source=order.source, model=ancestry.model_name(connection, recipe),
    )  # fmt: skip
    store_parents.add(connection, run_id, parents)
    jobs.add_job(
        connection, run_id=run_id, verb=order.verb, args=order.args, priority=order.priority, held=order.held
    )
    return run_id, name


ANSWERS = {Submit: submit, Watch: watch, SubmitChain: chain, Import: import_model}
