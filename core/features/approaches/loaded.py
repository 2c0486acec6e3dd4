"""The model that an approach answers with: the base as it is, or a checkpoint of a run that trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.check.model_pair import ModelPair, facts_of, open_pair
from finetop.core.check.scoring.batch_plan import BatchPlan
from finetop.core.check.scoring.scorer import packs_exactly, plan_for
from finetop.core.models import load, resolve
from finetop.core.models.devices import scoring_dtype
from finetop.core.models.engine import engine_for
from finetop.core.models.forward import longest_input
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.protocol.events import Phase
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer


@dataclass(frozen=True)
class Loaded:
    """A model to query, its tokenizer, and the facts that its scores depend on."""

    model: Any
    tokenizer: Tokenizer
    facts: Mapping[str, Any]
    plan: BatchPlan
    longest: int
    device: str


def load_approach(
    recipe: Recipe, checkpoint: Path | None, device: str, home: Home, events: EventLog
) -> Loaded:
    """Load the base, or a checkpoint. Raises BadInput."""
    events.write(Phase("loading model"))
    base = resolve.resolve_model(recipe.model, home, events)
    if checkpoint is None:
        kind = scoring_dtype(recipe.model.dtype, base.path, device)
        pair = ModelPair(base, None, kind, device)
        model, tokenizer = load.load_model(base, load.torch_dtype(kind, device), device)
    else:
        pair = open_pair(base, checkpoint, recipe.model.dtype, device)
        dtype = load.torch_dtype(pair.dtype, device)
        model, tokenizer = load_checkpoint(base, checkpoint, dtype, device)
        if recipe.objective.name != "pretrain":  # pretrain may have its own tokenizer
            tokenizer = load.load_tokenizer(base)
    model.eval()
    reads_alone = checkpoint is not None and pair.reads_rows_alone
    plan = plan_for(
        device, engine_for(recipe.model.engine, device, pair.dtype, model.config, learned_tokens=reads_alone)
    )
    if reads_alone or not packs_exactly(model):
        plan = replace(plan, layout="plain")
    facts = facts_of(pair, "base" if checkpoint is None else "tuned", tokenizer, home)
    return Loaded(model, tokenizer, facts, plan, longest_input(model.config, tokenizer), device)
