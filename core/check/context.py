"""What a check works with: suite, requests, target rows, text and both models, read before any weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetop.core.check import caveats
from finetop.core.check.model_pair import facts_of
from finetop.core.check.scoring import drift, target
from finetop.core.check.scoring.batches import prepare
from finetop.core.check.tasks.contamination import contaminated
from finetop.core.check.tasks.requests import build
from finetop.core.check.tasks.suite import find_suite
from finetop.core.data.formats import texts_of
from finetop.core.data.prompts import open_asker, tell
from finetop.core.errors import FinetopError
from finetop.core.models import load, resolved
from finetop.core.models.forward import longest_input
from finetop.core.plugins import OBJECTIVES
from finetop.core.recipe import protections as recipe_protections
from finetop.core.recipe.schema import General

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from finetop.core.check.model_pair import ModelPair
    from finetop.core.check.scoring.batch_plan import Name
    from finetop.core.check.scoring.batches import PreparedSuite
    from finetop.core.check.statistics.item_order import Key
    from finetop.core.check.tasks.suite import Suite
    from finetop.core.data.formats import Kind
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home


@dataclass
class CheckContext:
    """All that one check works with, and what it has told so far."""

    recipe: Recipe
    general: General
    suite: Suite
    prepared: PreparedSuite
    windows: drift.Windows
    target_rows: list[target.TargetRow]
    pair: ModelPair
    facts: Mapping[Name, Mapping[str, Any] | None]  # None: a model in memory that nothing can be kept of
    excluded: frozenset[Key]  # items that the training data contains
    notes: tuple[str, ...]
    home: Home
    events: EventLog
    step: int | None = None  # of the model that is checked while it trains
    model_label: str = ""  # which of several models is asked, in words, for the phases
    reports_scores: bool = True  # item by item in the events
    phase_at: float = 0.0
    reported: set[tuple[Name, Key]] = field(default_factory=set)


def open_context(
    recipe: Recipe, pair: ModelPair, home: Home, events: EventLog, run_folder: Path | None = None
) -> CheckContext:
    """Read everything that a check needs but the models' weights, so that bad input fails early.

    Where it is of a run, its folder keeps which version of the target's test was read.
    """
    general = recipe.check.general or General()
    suite = find_suite(general.suite, home)
    base = pair.base
    tokenizer = load.load_tokenizer(base)
    longest = longest_input(_config(base), tokenizer)
    prepared = prepare(build(suite), tokenizer, longest, general.seed)
    wanted = recipe.check.target
    keeps = None if run_folder is None else events.write
    asker = open_asker(recipe.ask, recipe.data.train, home) if wanted else None
    tell(asker)
    excluded, notes = _contaminated(recipe, prepared, home)
    notes = (*notes, *caveats.notes(pair, tokenizer, recipe.model.chat_template is not None))
    return CheckContext(
        recipe=recipe,
        general=general,
        suite=suite,
        prepared=prepared,
        windows=drift.windows_of(suite.text.read_text(encoding="utf-8"), tokenizer) if suite.text else (),
        target_rows=target.read_rows(wanted, tokenizer, home, longest, asker, keeps, run_folder)
        if wanted
        else [],
        pair=pair,
        facts={
            "base": facts_of(pair, "base", tokenizer, home),
            "tuned": facts_of(pair, "tuned", tokenizer, home) if pair.checkpoint else None,
        },
        excluded=excluded,
        notes=notes,
        home=home,
        events=events,
    )


def _config(base: resolved.ResolvedModel) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(
        base.path, trust_remote_code=base.trust_remote_code, local_files_only=True
    )


def _contaminated(
    recipe: Recipe, prepared: PreparedSuite, home: Home
) -> tuple[frozenset[Key], tuple[str, ...]]:
    """Find the chosen items that the training rows contain; where those can't be read any more, say so."""
    from finetop.core.data import sources

    name = recipe.objective.name  # of a model that was made elsewhere, it says that
    kinds: Sequence[Kind] = OBJECTIVES.load(name).ROWS if name in OBJECTIVES.names() else ("conversation",)

    def texts() -> Iterable[str]:
        for source in recipe_protections.with_sources(recipe).train:
            for row in sources.read(source, home, kinds):
                yield from texts_of(row.record)

    requests = {item.key: prepared.requests[item.key].text for item in prepared.items}
    try:
        return frozenset(contaminated(requests, texts())), ()
    except FinetopError as error:
        note = f"not searched for benchmark items: the training data can't be read ({error.message})"
        return frozenset(), (note,)
