"""What a check works with: suite, requests, target rows, text and both models, read before any weights are loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.check.model_pair import ModelPair, facts_of
from finetop.core.check.scoring import drift, llama_cpp, target
from finetop.core.check.scoring.batch_plan import Name
from finetop.core.check.scoring.batches import PreparedSuite, prepare
from finetop.core.check.statistics.item_order import Key
from finetop.core.check.tasks.requests import build
from finetop.core.check.tasks.suite import Suite, find_suite
from finetop.core.data.formats import Kind, texts_of
from finetop.core.data.prompts import open_asker, print_skipped
from finetop.core.errors import FinetopError
from finetop.core.models import load, vllm
from finetop.core.models.engine import Engine, engine_for, filled
from finetop.core.models.forward import longest_input
from finetop.core.plugins import OBJECTIVES
from finetop.core.recipe import protections as recipe_protections
from finetop.core.recipe.schema import General, Recipe
from finetop.core.runtime.files import read_given
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.runtime.event_log import EventLog

CONTAMINATION_BLOCK = 500  # texts searched at a time


@dataclass
class CheckContext:
    """Everything one check works with, and what it has reported so far."""

    recipe: Recipe
    general: General
    suite: Suite
    prepared: PreparedSuite
    windows: drift.Windows
    target_rows: list[target.TargetRow]
    target_failed: str  # why the target can't be measured; the verdict does not need it
    pair: ModelPair
    facts: Mapping[Name, Mapping[str, Any] | None]  # None: a model in memory, whose scores can't be cached
    excluded: frozenset[Key]  # items found in the training data
    notes: tuple[str, ...]
    engine: Engine  # writes the answers
    copy: vllm.Copy | None  # of the model, if vLLM writes the answers
    home: Home
    events: EventLog
    step: int | None = None  # of the model, when it is checked during training
    model_label: str = ""  # which of several models is being scored, for the phase names
    reports_scores: bool = True  # writes item scores to the events
    phase_at: float = 0.0
    # items that all phases to come score at most; None: only those of the phase are known
    ahead: int | None = None
    passes_s: float = 0.0  # that the base's drift and target took: the tuned model's take as long
    ends_job: bool = True  # the time left is that of the job; False: training goes on afterwards
    # ranks score every other batch; if False each rank scores all, because none can continue without the others
    shares: bool = True
    stops: Callable[[], bool] = lambda: False  # returns True if this rank was asked to stop
    reported: set[tuple[Name, Key]] = field(default_factory=set)


def open_context(
    recipe: Recipe, pair: ModelPair, home: Home, events: EventLog, run_folder: Path | None = None
) -> CheckContext:
    """Read everything a check needs except the models' weights, so that bad input fails early.

    A target that can't be read is noted; forgetting can be checked without it.
    With a run folder, the folder records which version of the target's test was read.
    """
    general = recipe.check.general or General()
    suite = find_suite(general.suite, home)
    base = pair.base
    tokenizer = load.load_tokenizer(base)
    config = load.read_config(base)
    longest = longest_input(config, tokenizer)
    if pair.gguf is not None:
        llama_cpp.require_vocabulary(pair.gguf, tokenizer)
    prepared = prepare(build(suite), tokenizer, longest, general.seed, filled(pair.device))
    wanted = recipe.check.target
    keeps = None if run_folder is None else events.write
    alone, kind = pair.reads_rows_alone, pair.dtype
    engine = engine_for(recipe.model.engine, pair.device, kind, config, learned_tokens=alone, copies=True)
    target_rows: list[target.TargetRow] = []
    target_failed = ""
    if wanted is not None:
        try:
            asker = open_asker(recipe.ask, recipe.data.train, home)
            print_skipped(asker)
            window = recipe.data.max_tokens
            target_rows = target.read_rows(wanted, tokenizer, home, longest, asker, keeps, run_folder, window)
        except FinetopError as error:
            target_failed = target.failed(str(error))
    if pair.gguf is not None:
        pair.room = llama_cpp.room_for(prepared, target_rows, wanted)
    excluded, notes = _contaminated(recipe, prepared, home)
    notes = (*notes, *caveats_of(pair, tokenizer, recipe.model.chat_template is not None))
    return CheckContext(
        recipe=recipe,
        general=general,
        suite=suite,
        prepared=prepared,
        windows=drift.windows_of(read_given(suite.text).decode(), tokenizer) if suite.text else (),
        target_rows=target_rows,
        target_failed=target_failed,
        pair=pair,
        facts={
            "base": facts_of(pair, "base", tokenizer, home),
            "tuned": facts_of(pair, "tuned", tokenizer, home) if pair.checkpoint else None,
        },
        excluded=excluded,
        notes=notes,
        engine=engine,
        copy=vllm.open_copy(base, config, pair.dtype, pair.device) if engine == "vllm" else None,
        home=home,
        events=events,
    )


def _contaminated(
    recipe: Recipe, prepared: PreparedSuite, home: Home
) -> tuple[frozenset[Key], tuple[str, ...]]:
    """Find the chosen items that the training rows contain; if the rows can't be read, return a note instead."""
    requests = {item.key: prepared.requests[item.key].text for item in prepared.items}
    try:
        return frozenset(contaminated(requests, training_texts(recipe, home))), ()
    except FinetopError as error:
        note = f"not searched for benchmark items: the training data can't be read ({error.message})"
        return frozenset(), (note,)


def training_texts(recipe: Recipe, home: Home) -> Iterator[str]:
    """Yield the texts of a recipe's training rows, one by one. Raises BadInput for a row that can't be read."""
    from finetop.core.data import sources

    name = recipe.objective.name  # for a model trained elsewhere, the name says so
    kinds: Sequence[Kind] = OBJECTIVES.load(name).rows if name in OBJECTIVES.names() else ("conversation",)
    for source in recipe_protections.with_sources(recipe).train:
        for row in sources.read(source, home, kinds):
            yield from texts_of(row.record)


def caveats_of(pair: ModelPair, tokenizer: Tokenizer, has_own_template: bool) -> tuple[str, ...]:
    """Return what differs between the checkpoint and how it is prompted; empty for a model in memory.

    Both models get the same prompts, made with the base's tokenizer and its chat template or the recipe's.
    """
    folder = pair.checkpoint
    caveats = ["both models use the recipe's chat template"] if has_own_template else []
    if folder is None:
        return tuple(caveats)
    trained_on = _manifest(folder).get("base", {}).get("weights_hash")
    if trained_on not in (None, pair.base.weights_hash):
        caveats.append(
            f"the base model has changed since the checkpoint was trained (sha256 {str(trained_on)[:12]} then,"
            f" {pair.base.weights_hash[:12]} now)"
        )
    if pair.gguf is not None:
        caveats.append("the GGUF file was scored by llama.cpp, its base by transformers, on the same tokens")
    if load.has_tokenizer(folder):
        caveats += _tokenizer_caveats(folder, tokenizer)
    return tuple(caveats)


def _tokenizer_caveats(folder: Path, tokenizer: Tokenizer) -> list[str]:
    from transformers import AutoTokenizer

    try:
        own: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError):
        return ["the checkpoint's own tokenizer can't be read; both models use the base's"]
    caveats = []
    if own.chat_template is not None and own.chat_template != tokenizer.chat_template:
        caveats.append("the checkpoint has another chat template; both models use the base's")
    if own.get_vocab() != tokenizer.get_vocab():
        caveats.append("the checkpoint has another vocabulary; both models use the base's tokenizer")
    return caveats


def _manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a finetop checkpoint; empty for any other folder."""
    try:
        read = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def contaminated(items: Mapping[Key, str], training_texts: Iterable[str]) -> tuple[Key, ...]:
    """Find the items (key -> text) that the training texts contain: memorized items hide forgetting.

    data/similarity/containment.py defines what counts as contained (verbatim or lightly edited); `finetop lint` uses
    the same rule. The texts are read once and not kept.
    """
    from finetop.core.data.similarity.containment import Items
    from finetop.core.data.similarity.word_codes import codes_of

    keys = list(items)
    searched = Items([codes_of(items[key]) for key in keys])
    contained: set[int] = set()
    texts = iter(training_texts)
    while block := [codes_of(text) for text in islice(texts, CONTAMINATION_BLOCK)]:
        contained.update(hit.item for hit in searched.search(block))
    contained.update(item for item, _ in searched.in_pieces())
    return tuple(sorted(keys[number] for number in contained))
