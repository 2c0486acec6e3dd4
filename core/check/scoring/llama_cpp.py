"""Scores items and target rows by a GGUF file in llama.cpp: on the very tokens that transformers reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.check.scoring import drift, target
from finetop.core.check.scoring.batch_plan import Prompt
from finetop.core.check.scoring.batches import Batch, PreparedSuite
from finetop.core.check.scoring.generation import answer_text, has_stopped
from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.check.scoring.scorer import Scored
from finetop.core.check.statistics.item_order import Item, Key
from finetop.core.check.tasks.grading import grade_answer, grade_likelihoods
from finetop.core.errors import BadInput
from finetop.core.models.llama_cpp.model import Model, open_model
from finetop.core.protocol.events import ItemScore
from finetop.core.text import plain, quoted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.protocol.check_result import Metric
    from finetop.core.recipe.schema import Target

LEAST_ROOM = 512  # tokens; a window of drift has half as many


def require_vocabulary(file: Path, tokenizer: Tokenizer) -> None:
    """Require that a file reads the tokens that the base's tokenizer makes: of the same number, the same text.

    Added tokens are left out: converters write some in another way. Raises BadInput.
    """
    with open_model(file, context=0) as model:
        theirs = model.vocabulary()
    added = tokenizer.get_added_vocab()
    for text, number in sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1]):
        if text not in added and (number >= len(theirs) or theirs[number] != text):
            what = quoted(theirs[number]) if number < len(theirs) else "missing"
            raise BadInput(
                f"{plain(file.name)}: token {number} is {what}, and {quoted(text)} in the base's tokenizer.",
                hint="Give the base that it was made from: --base ID|FOLDER.",
            )


def score_items(
    model: Model, prepared: PreparedSuite, items: Iterable[Item], report: Callable[[], None]
) -> dict[Key, ItemScore]:
    """Score items one by one, grouped by task: what an item's beginning shares with the last one is read once."""
    scores = {}
    for item in sorted(items, key=lambda item: item.task):
        task, request = prepared.tasks[item.task], prepared.requests[item.key]
        inputs = prepared.inputs[item.key]
        prompts = [part for part in inputs if isinstance(part, Prompt)]
        if prompts:
            text = answer(model, prepared.tokenizer, prompts[0])
            scores[item.key] = grade_answer(task, request, text)
        else:
            choices = [score(model, part) for part in inputs if isinstance(part, TokenSequence)]
            scores[item.key] = grade_likelihoods(task, request, choices)
        report()
    return scores


def score_batch(model: Model, prepared: PreparedSuite, batch: Batch) -> list[ItemScore]:
    """Score a batch's items, in its order."""
    items = [prepared.requests[batch.task, item].item for item in batch.items]
    scores = score_items(model, prepared, items, lambda: None)
    return [scores[item.key] for item in items]


def score_windows(model: Model, windows: drift.Windows) -> list[ItemScore]:
    """Score windows of text, as `drift.score_windows` does."""
    scored = [score(model, TokenSequence(ids, 1)) for ids in windows]
    return [ItemScore(str(place), 0.0, gold_log_prob=one.log_prob) for place, one in enumerate(scored)]


def score_rows(
    model: Model, tokenizer: Tokenizer, metric: Metric, rows: Sequence[target.TargetRow], wanted: Target
) -> list[ItemScore]:
    """Score a target's rows by a metric, as `target.score_rows` does."""
    if metric == "nats_per_token":
        return target.as_scores(rows, [score(model, row.sequence) for row in rows])
    prompts = target.prompts_of(rows, wanted)
    return target.graded(metric, rows, wanted, [answer(model, tokenizer, prompt) for prompt in prompts])


def score(model: Model, sequence: TokenSequence) -> Scored:
    """Score the tokens of a sequence that count, given those before them."""
    tokens, start = sequence.tokens, sequence.scored_from
    if start >= len(tokens):
        return Scored(0.0, True)
    (scored,) = model.score([(tokens[:start], tokens[start:])])
    return Scored(scored.log_prob, scored.is_greedy)


def answer(model: Model, tokenizer: Tokenizer, prompt: Prompt) -> str:
    """Write the greedy answer, cut at the prompt's stop strings."""
    written: list[int] = []
    for token in model.generate(prompt.tokens, prompt.max_new_tokens):
        written.append(token.id)
        if token.ends or has_stopped(tokenizer, written, prompt.stop):
            break
    return answer_text(tokenizer, written, prompt.stop)


def room_for(prepared: PreparedSuite, rows: Sequence[target.TargetRow], wanted: Target | None) -> int:
    """Return the context in tokens that the longest item or row needs, with its answer."""
    needs = [len(part.tokens) + _answer(part) for inputs in prepared.inputs.values() for part in inputs]
    if wanted is not None and rows:
        needs += [len(row.sequence.tokens) for row in rows]
        most = target.longest_answer(rows, wanted)
        needs += [len(row.prompt) + most for row in rows]
    return max(LEAST_ROOM, *needs) + 1


def _answer(part: TokenSequence | Prompt) -> int:
    return part.max_new_tokens if isinstance(part, Prompt) else 0
