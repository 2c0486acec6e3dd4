"""Protections against forgetting during training: one file each, found by listing this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.plugins import PROTECTIONS, Options, PluginKind
from finetop.core.recipe import protections as recipe_protections

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.data.examples import AnyExample
    from finetop.core.models.resolved import ResolvedModel
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home
    from finetop.core.train.objectives import Objective
    from finetop.core.train.trainer_setup import Setup


@dataclass(frozen=True)
class Base:
    """The base in memory before the method is applied, and what else a protection may read."""

    recipe: Recipe
    model: Any
    tokenizer: Tokenizer
    objective: Objective[Any]
    run_folder: Path
    home: Home
    events: EventLog


@dataclass(frozen=True)
class Acting:
    """What one protection does in each step, and the text that it reports when it begins.

    `gradients(scale)` adds its own gradients, times the loss scale, to the step's, and returns its metrics;
    `rate(loss)` returns the factor of this step's learning rate, from the mean loss of the step's batches.
    """

    about: str
    gradients: Callable[[float], dict[str, Any]] | None = None
    rate: Callable[[float], float] | None = None


def zero_if_none(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight's gradient, set to zeros if the loss did not reach it."""
    import torch

    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


class Protection(recipe_protections.ProtectionFacts[Options]):
    """Keeps a model from forgetting while it trains; set under `protect:` by its file's name, off by default."""

    def require(self, config: Any, options: Options) -> None:
        """Check that it fits the model's config.json. Raises BadInput."""

    def rows(self, options: Options, base: Base, train: list[AnyExample]) -> list[AnyExample]:
        """Return the examples to train on; the base is in memory, the method is not applied yet."""
        return train

    def hold(self, options: Options, model: Any) -> None:
        """Freeze weights that the method would train."""

    def begin(self, options: Options, setup: Setup, trainer: Any) -> Acting:
        """Return what acts in each step; only called if `steps` is true."""
        raise NotImplementedError


KIND: PluginKind[Protection[Any]] = PROTECTIONS.of(Protection)
names, load = KIND.names, KIND.load


def require(recipe: Recipe, base: ResolvedModel) -> None:
    """Check that the protections fit the model's shape, before its weights are loaded. Raises BadInput."""
    chosen = recipe_protections.chosen(recipe)
    if not chosen:
        return
    from finetop.core.models.load import read_config

    config = read_config(base)
    for name, options in chosen.items():
        load(name).require(config, options)
