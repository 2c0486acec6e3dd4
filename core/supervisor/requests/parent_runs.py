"""Parent runs: their names become ids and steps when a run is queued, or when it starts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import BadInput, FinetopError, NotFound
from finetop.core.protocol import accepts, runs as data
from finetop.core.recipe.dotted import with_settings
from finetop.core.recipe.load import recipe_from_resolved
from finetop.core.recipe.references import Reference, references
from finetop.core.store import checks, parents, runs
from finetop.core.store.parents import Parent
from finetop.core.supervisor import saved_checkpoints
from finetop.core.supervisor.state import Supervisor
from finetop.core.train import methods

REWARD = "objective.reward.model"
Gone = Mapping[int, Collection[int]]  # the steps of deleted checkpoints, by run


async def gone_of(supervisor: Supervisor, recipes: Iterable[Mapping[str, Any]]) -> Gone:
    """Return the deleted checkpoints of the runs that recipes start from."""
    gone: dict[int, Collection[int]] = {}
    for reference in (each for recipe in recipes for each in references(recipe).values()):
        if reference.kind == "run":
            with suppress(NotFound):  # told, with its setting, when the recipe is resolved
                run_id, _ = runs.find_run(supervisor.connection, reference.name)
                gone[run_id] = await saved_checkpoints.gone(supervisor, run_id)
    return gone


def resolve(
    connection: Connection, recipe: dict[str, Any], gone: Gone
) -> tuple[dict[str, Any], list[Parent]]:
    """Replace each run that a recipe names by its id and, if already known, its checkpoint's step.

    A run that has not ended yet will be waited for. Raises NotFound for an unknown run or checkpoint, BadInput for a
    run that can't be a starting point.
    """
    resolved: list[Parent] = []
    for key, reference in references(recipe).items():
        try:
            parent = _parent(connection, key, reference, gone)
        except NotFound as error:
            raise NotFound(f"{key}: {error.message}", hint=error.hint) from error
        resolved.append(parent)
        recipe = with_settings(recipe, {key: str(Reference("run", str(parent.run_id), parent.step))})
    return recipe, resolved


def _parent(connection: Connection, key: str, reference: Reference, gone: Gone) -> Parent:
    if reference.kind == "stage":
        raise BadInput(f"{key}: {reference} is not a stage of a chain.", hint="Name a run: run:NAME.")
    run_id, name = runs.find_run(connection, reference.name)
    require_fit(runs.recipe(connection, run_id), name, key)
    state = runs.row(connection, run_id).state
    if isinstance(state, data.Queued | data.Running) and reference.step is None:
        return Parent(run_id, key, None)
    step, _ = checks.newest_checkpoint(connection, run_id, reference.step, gone.get(run_id, ()))
    return Parent(run_id, key, step)


def require_fit(recipe: dict[str, Any], name: str, key: str) -> None:
    """Raise BadInput if a run's model does not fit the setting `key`."""
    accepts.tensors(recipe["method"]["name"], name)
    is_reward = recipe["objective"]["name"] == "reward"
    if is_reward and key != REWARD:
        hint = "Name it as objective.reward.model of ppo, rloo or grpo."
        raise BadInput(f"{key}: {name} is a reward model, which generates no text.", hint=hint)
    if not is_reward and key == REWARD:
        raise BadInput(f"{key}: {name} is not a reward model.", hint="Train one with objective.name: reward.")
    if key != REWARD and not _merges(recipe):
        hint = "Start from a run of another method, such as lora or full."
        method = recipe["method"]["name"]
        raise BadInput(f"{key}: {name} was tuned by {method}, which can't be merged into a model.", hint=hint)


def require_whole(recipe: dict[str, Any], name: str) -> None:
    """Raise BadInput if a run's result can't be written as one model."""
    if not _merges(recipe):
        method = recipe["method"]["name"]
        hint = f"Export its adapter, to load with the base model: finetop export {name} --adapter"
        message = f"{name} was tuned by {method}, which can't be merged into the model's weights."
        raise BadInput(message, hint=hint)


def require_adapter(recipe: dict[str, Any], name: str) -> None:
    """Raise BadInput if a run has no adapter beside its base model."""
    method = str(recipe["method"]["name"])
    if method in methods.names() and not methods.load(method).keeps_base:
        message = f"{name} was tuned by {method}, which trains a whole model, not an adapter."
        raise BadInput(message, hint=f"Export it whole: finetop export {name}")


def _merges(recipe: dict[str, Any]) -> bool:
    """Return True if a run's result can be merged into its base; for an unknown method, assume so."""
    try:
        method = recipe_from_resolved(recipe).method
        return methods.load(method.name).merges(method.options)
    except FinetopError:
        return True


def model_name(connection: Connection, recipe: dict[str, Any]) -> str:
    """Return the readable name of the model that a run starts from: a hub id, a folder, run:NAME@STEP."""
    reference = references({**recipe, "objective": {}}).get("model.id")
    if reference is None:
        return str(recipe["model"]["id"])
    _, name = runs.find_run(connection, reference.name)
    return str(Reference("run", name, reference.step))


def pin(connection: Connection, run_id: int) -> None:
    """Fix the checkpoints of parents that have finished since. Raises NotFound if one has none."""
    for parent in parents.of_run(connection, run_id):
        if parent.step is not None:
            continue
        step, _ = checks.newest_checkpoint(connection, parent.run_id, None)
        reference = Reference("run", str(parent.run_id), step)
        recipe = with_settings(runs.recipe(connection, run_id), {parent.setting: str(reference)})
        parents.pin(connection, run_id, parent.setting, step)
        runs.set_recipe(connection, run_id, recipe, model_name(connection, recipe))
