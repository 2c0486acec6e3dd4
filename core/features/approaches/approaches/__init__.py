"""Approaches to one task, side by side: prompt, examples, retrieval, training.

A file each, which ends with its instance of Approach. Each becomes a run like any other, tied to its
comparison by the tag `approaches/NAME`. Nothing here imports torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from finetop.core import plugins
from finetop.core.errors import BadInput, NotFound, RecipeError, did_you_mean
from finetop.core.protocol import tags
from finetop.core.protocol.runs import NO_WEIGHT
from finetop.core.recipe.dotted import with_settings
from finetop.core.recipe.load import recipe_from_mapping, recipe_to_mapping
from finetop.core.recipe.schema import Recipe

Settings = Mapping[str, Any] | str  # of a recipe, by dotted key, or why there are none
TAG = tags.APPROACHES  # prefix of the comparison's name in its runs' tags
MOST_RUNS = 200  # largest number of runs in a comparison


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a comparison: its wanted name and resolved recipe. `learns_news`: retrained with the new facts."""

    name: str
    approach: str
    seed: int
    recipe: dict[str, Any]
    learns_news: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An approach that the recipe does not allow, and why."""

    approach: str
    why: str


class Approach(plugins.Plugin):
    """A way to do a task, compared with others: prompting, examples, retrieval, training."""

    trains = True  # weights move; without, its run is the measuring itself
    # on new facts: indexed again, trained once more, or never
    updates: Literal["index", "train", ""] = "train"

    @abstractmethod
    def settings(self, recipe: Recipe) -> Settings:
        """Return what is laid over the recipe, or why it can't be had of it."""


KIND: plugins.PluginKind[Approach] = plugins.APPROACHES.of(Approach)
names, load = KIND.names, KIND.load


def metric_of(recipe: Recipe) -> str:
    """Return the metric to compare by. Raises BadInput without a target, or if the target does not have it."""
    target = recipe.check.target
    if target is None:
        hint = "Set check.target: {path: test.jsonl, metric: token_f1}."
        raise BadInput("check.target is not set: approaches are compared by their score on it.", hint=hint)
    wanted = recipe.approaches.metric or target.metrics[0]
    if wanted not in target.metrics:
        hint = f"Add it there, or use {' or '.join(target.metrics)}."
        raise BadInput(f"approaches.metric {wanted} is not in check.target.metric.", hint=hint)
    return wanted


def subject(recipe: Recipe) -> dict[str, Any]:
    """Return what all approaches of a comparison share: the model, the target, the new facts, the metric."""
    whole = recipe_to_mapping(recipe)
    return {
        "model": whole["model"]["id"],
        "target": whole["check"]["target"],
        "update": whole["approaches"]["update"],
        "metric": metric_of(recipe),
    }


def planned_runs(
    recipe: Recipe, only: Sequence[str] = (), seeds: int | None = None
) -> tuple[list[PlannedRun], list[LeftOut]]:
    """Return a comparison's runs, untrained first; `only` and `seeds` override. Raises BadInput, NotFound."""
    metric_of(recipe)
    if recipe.objective.name != "sft":
        hint = "Use a recipe whose objective is sft."
        message = f"approaches compare ways to answer, but objective is {recipe.objective.name}."
        raise BadInput(message, hint=hint)
    wanted = tuple(only) or recipe.approaches.only
    _require_known((*wanted, *recipe.approaches.settings))
    count = recipe.approaches.seeds if seeds is None else seeds
    planned: list[PlannedRun] = []
    left_out: list[LeftOut] = []
    for name in sorted(wanted or names(), key=lambda approach: (load(approach).trains, approach)):
        settings = load(name).settings(recipe)
        if isinstance(settings, str):
            left_out.append(LeftOut(name, settings))
        else:
            planned += _runs(recipe, name, settings, count)
    if not planned:
        why = "; ".join(f"{approach.approach}: {approach.why}" for approach in left_out)
        hint = "Set data.train or ask.documents."
        raise BadInput(f"no approach is available for this recipe: {why}.", hint=hint)
    if len(planned) > MOST_RUNS:
        hint = "Use fewer seeds."
        raise BadInput(f"that is {len(planned)} runs, and at most {MOST_RUNS} are queued at once.", hint=hint)
    return planned, left_out


def _require_known(wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in names():
            raise NotFound(f"no approach {name[:60]!r}.", hint=did_you_mean(name[:60], names()))


def _runs(recipe: Recipe, approach: str, settings: Mapping[str, Any], seeds: int) -> list[PlannedRun]:
    """Return the runs of one approach: one per seed if it trains, and one that also learns the new facts."""
    kind, own_settings = load(approach), recipe.approaches.settings.get(approach, {})
    if not kind.trains:
        mapping = with_settings(_untrained(recipe, approach), {**settings, **own_settings})
        return [_planned_run(mapping, f"{recipe.name}-{approach}", approach, 1)]
    planned = []
    first = recipe.train.seed
    for seed in range(first, first + seeds):
        name = f"{recipe.name}-{approach}" + (f"-s{seed}" if seeds > 1 else "")
        mapping = with_settings(_trained(recipe, approach), {**settings, **own_settings, "train.seed": seed})
        planned.append(_planned_run(mapping, name, approach, seed))
    update = recipe.approaches.update
    if update is not None and update.train and kind.updates == "train":
        rows = [*mapping["data"]["train"], *msgspec.to_builtins(update.train)]
        update_settings = {"data.train": rows, "train.seed": first, "check.at_end": False, "samples.count": 0}
        name = f"{recipe.name}-{approach}-update"
        newer = with_settings(mapping, update_settings)
        planned.append(_planned_run(newer, name, approach, first, learns_news=True))
    return planned


def _untrained(recipe: Recipe, approach: str) -> dict[str, Any]:
    """Return the parts of a recipe that matter without training."""
    whole = recipe_to_mapping(recipe)
    shared_sections = {key: whole[key] for key in ("recipe", "name", "model", "data", "ask", "budget")}
    target = whole["check"]["target"]
    return {
        **shared_sections,
        "method": {"name": NO_WEIGHT},
        "objective": {"name": NO_WEIGHT},
        "check": {"target": target, "general": None, "at_end": False},
        "approaches": _own_section(recipe, approach),
    }


def _trained(recipe: Recipe, approach: str) -> dict[str, Any]:
    whole = recipe_to_mapping(recipe)
    return {**whole, "ask": {**whole["ask"], "shots": 0}, "approaches": _own_section(recipe, approach)}


def _own_section(recipe: Recipe, approach: str) -> dict[str, Any]:
    """Return a run's own section: not the other approaches, but the new facts, which it is asked about too."""
    return {"only": [approach], "update": msgspec.to_builtins(recipe.approaches.update)}


def _planned_run(
    mapping: dict[str, Any], name: str, approach: str, seed: int, *, learns_news: bool = False
) -> PlannedRun:
    kind = load(approach)
    whole = {**mapping, "name": name, "about": f"{approach}: {kind.about}", "extends": None}
    try:
        parsed = recipe_from_mapping(whole, to_train=kind.trains)
    except RecipeError as error:
        raise BadInput(f"approach {approach}: {error.message}", hint=error.hint) from error
    return PlannedRun(name, approach, seed, recipe_to_mapping(parsed), learns_news)
