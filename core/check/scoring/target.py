"""How well the model does its tuning task: the recipe's check.target on base and tuned model, row by row.

`nats_per_token` is the loss of the gold answers alone after their chat prompts (lower is better); `exact_match` and
`rules` are shares of the rows whose greedy answer equals the gold one, or keeps every rule; `token_f1` is the mean
word overlap with the gold answer. Rows are asked in the way that the recipe's `ask` sets.

Rows of plain text have no prompt: `nats_per_token` is then the loss of the whole text, in windows as training cuts
them, and its exponential the perplexity.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.check.scoring.batch_plan import BatchPlan, Prompt
from finetop.core.check.scoring.generation import answer
from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.check.scoring.scorer import Scored, score
from finetop.core.check.statistics import NORMAL_95
from finetop.core.check.tasks.types import LONGEST_ANSWER
from finetop.core.data.examples import Example
from finetop.core.data.formats import Text
from finetop.core.errors import BadInput
from finetop.core.protocol.check_result import TargetScore
from finetop.core.protocol.events import ItemScore, SourceRead
from finetop.core.recipe.answer_rules import check_rules, exact, token_f1

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.data.prompts import Asker
    from finetop.core.data.sources import Row
    from finetop.core.protocol.check_result import Metric
    from finetop.core.recipe.schema import Rule, Target
    from finetop.core.runtime.home import Home

ROWS = 200  # at most this many rows are scored, or windows of texts
WINDOW = 1024  # tokens of a window of text, unless the recipe sets another length
TEXTS_APART = 10  # from this many texts on, the texts are the independent pieces, not their windows
ROWS_WRITTEN = 200  # rows for which answers are written
ROWS_WRITTEN_CPU = 24  # the same on a CPU: writing a row takes several times as long as reading it
FAILED_KEPT = 500  # characters of the reason why a target could not be measured


@dataclass(frozen=True)
class TargetRow:
    """One row: its tokens, of which those from `scored_from` on are the answer, and the prompt to answer.

    In a window of a text all tokens but the first are scored, and there is no prompt; `text` is the text's number.
    """

    item: str
    sequence: TokenSequence
    prompt: tuple[int, ...]
    gold: str
    prompt_hash: str
    text: int | None = None

    @property
    def answer_tokens(self) -> int:
        """Count the tokens of the gold answer."""
        return len(self.sequence.tokens) - self.sequence.scored_from


def read_rows(
    target: Target,
    tokenizer: Tokenizer,
    home: Home,
    longest: int,
    asker: Asker | None = None,
    report: Callable[[SourceRead], None] | None = None,
    run_folder: Path | None = None,
    window: int = WINDOW,
) -> list[TargetRow]:
    """Read and render the target's first ROWS rows, asked by `asker`; `report` gets what the file held, and the run's
    folder keeps the hashes of its rows. Texts are cut into windows of at most `window` tokens.

    Raises BadInput for a row that can't be read, a metric that does not fit the rows, or if no row has an answer.
    """
    from finetop.core.data import render, source_record, target_rows

    source = msgspec.structs.replace(target.source, rows=ROWS)
    record = source_record.begin(source)
    read = target_rows.read(target, source, home, record)
    if report is not None:
        source = source if len(read) == ROWS else target.source  # read whole
        report(source_record.record(source, "test", record, run_folder))
    if isinstance(read[0].record, Text):
        return _windows(read, tokenizer, min(window, longest))
    rows = []
    for number, row in enumerate(read):
        if asker is not None:
            row = replace(row, record=asker.asked(row.record))
        rendered = render.render(row.conversation, tokenizer, "answers", row.place)
        (example,) = render.tokenize([rendered], tokenizer)
        ids = example.input_ids[: longest + 1]
        last = last_answer(example.labels[: len(ids)])
        prompt = render.render_prompt(row.conversation.prompt, tokenizer, row.place, row.conversation.tools)
        digest = hashlib.sha256(json.dumps([ids, last, row.conversation.answer]).encode()).hexdigest()[:24]
        rows.append(
            TargetRow(
                item=str(number),
                sequence=TokenSequence(tuple(ids), max(1, last)),
                prompt=tuple(tokenizer.encode(prompt, add_special_tokens=False)[-longest:]),
                gold=row.conversation.answer,
                prompt_hash=digest,
            )
        )
    answered = [row for row in rows if row.answer_tokens > 0]
    if not answered:
        raise BadInput("check.target has no row with an answer.", hint="Give rows that end with an answer.")
    return answered


def _windows(read: Sequence[Row], tokenizer: Tokenizer, window: int) -> list[TargetRow]:
    """Cut texts as training does. If there are more than ROWS windows, take the first of each text, then the second."""
    from finetop.core.data import text_chunks

    pieces = text_chunks.examples(read, tokenizer, window, end_of_text=False)
    places = [(at, text) for text, of_text in enumerate(pieces) for at in range(len(of_text))]
    rows = []
    for at, text in sorted(places)[:ROWS]:
        piece = pieces[text][at]
        assert isinstance(piece, Example)
        ids = piece.input_ids
        digest = hashlib.sha256(json.dumps([ids, "text"]).encode()).hexdigest()[:24]
        rows.append(TargetRow(f"{text}.{at}", TokenSequence(tuple(ids), 1), (), "", digest, text))
    if not rows:
        raise BadInput("check.target has no text of two tokens.", hint="Give longer texts.")
    return rows


def failed(why: str) -> str:
    """Return the reason to keep with the verdict, and print it to the log."""
    print(f"the target is not measured: {why}", flush=True)
    return why[:FAILED_KEPT]


def last_answer(labels: Sequence[int]) -> int:
    """Return where the last run of learned tokens begins."""
    at = len(labels)
    while at and labels[at - 1] != -100:
        at -= 1
    return at


def rows_for(metric: Metric, rows: Sequence[TargetRow], device: str, target: Target) -> Sequence[TargetRow]:
    """Return the rows that a metric is measured on."""
    if metric == "nats_per_token":
        return rows
    return rows[: target.written or (ROWS_WRITTEN_CPU if device.startswith("cpu") else ROWS_WRITTEN)]


def score_rows(
    metric: Metric,
    rows: Sequence[TargetRow],
    target: Target,
    model: Any,
    tokenizer: Tokenizer,
    plan: BatchPlan,
    *,
    shares: bool = False,
) -> list[ItemScore]:
    """Score rows, shared by ranks: nats_per_token gives the answer's `gold_log_prob`, others a `score` in [0, 1]."""
    if metric == "nats_per_token":
        return as_scores(rows, score(model, [row.sequence for row in rows], plan, shares=shares))
    answers = answer(model, tokenizer, prompts_of(rows, target), plan, shares=shares)
    return graded(metric, rows, target, answers)


def as_scores(rows: Sequence[TargetRow], scored: Sequence[Scored]) -> list[ItemScore]:
    """Return the scores of rows whose gold answers were read."""
    pairs = zip(rows, scored, strict=True)
    return [ItemScore(row.item, 0.0, gold_log_prob=result.log_prob) for row, result in pairs]


def prompts_of(rows: Sequence[TargetRow], target: Target) -> list[Prompt]:
    """Return what is asked for written answers."""
    most = longest_answer(rows, target)
    return [Prompt(row.prompt, (), most) for row in rows]


def graded(
    metric: Metric, rows: Sequence[TargetRow], target: Target, answers: Sequence[str]
) -> list[ItemScore]:
    """Grade written answers by the target's metric."""
    rules, answered = target.rules, zip(rows, answers, strict=True)
    return [ItemScore(row.item, _right(metric, text, row.gold, rules), text[:500]) for row, text in answered]


def longest_answer(rows: Sequence[TargetRow], target: Target) -> int:
    """Return how many tokens an answer may have, the same for all rows."""
    return target.max_new_tokens or min(LONGEST_ANSWER, max(row.answer_tokens for row in rows) + 16)


def _right(metric: Metric, text: str, gold: str, rules: Sequence[Rule]) -> float:
    if metric == "token_f1":
        return token_f1(text, gold)
    if metric == "exact_match":
        return float(exact(text, gold))
    return float(check_rules(text.strip(), [msgspec.to_builtins(rule) for rule in rules]))


def task_facts(metric: Metric, rows: Sequence[TargetRow], target: Target) -> dict[str, Any]:
    """Describe a metric on these rows for the cache's key."""
    rules: list[Any] = [msgspec.to_builtins(rule) for rule in target.rules] if metric == "rules" else []
    if metric != "nats_per_token" and target.max_new_tokens is not None:
        rules.append({"max_new_tokens": target.max_new_tokens})
    batches = hashlib.sha256(json.dumps([row.prompt_hash for row in rows]).encode()).hexdigest()
    return {"name": f"target:{metric}", "settings": json.dumps(rules, sort_keys=True), "batches": batches}


def compare(
    metric: Metric, rows: Sequence[TargetRow], base: Mapping[str, ItemScore], tuned: Mapping[str, ItemScore]
) -> TargetScore:
    """Average a metric under both models, with the paired normal interval of the difference.

    Nats are per token over all answers together, so the difference is a ratio and its error is linearised. Windows of
    one text are alike, so with several texts each text is one observation.
    """
    weights = [weight_of(metric, row) for row in rows]
    befores = [value_of(metric, base[row.item]) for row in rows]
    afters = [value_of(metric, tuned[row.item]) for row in rows]
    total = sum(weights)
    before, after = sum(befores) / total, sum(afters) / total
    change = after - before
    texts = len({row.text for row in rows} - {None})
    residuals: dict[Hashable, float] = {}
    for row, new, old, weight in zip(rows, afters, befores, weights, strict=True):
        piece = row.text if texts >= TEXTS_APART else row.item
        residuals[piece] = residuals.get(piece, 0.0) + new - old - change * weight
    few = len(residuals) / (len(residuals) - 1) if len(residuals) > 1 else 1.0
    stderr = math.sqrt(few * sum(residual**2 for residual in residuals.values())) / total
    low, high = change - NORMAL_95 * stderr, change + NORMAL_95 * stderr
    return TargetScore(before, after, low, high, len(rows), texts)


def weight_of(metric: Metric, row: TargetRow) -> float:
    """Return how much a row counts: its number of answer tokens, or 1."""
    return float(row.answer_tokens) if metric == "nats_per_token" else 1.0


def value_of(metric: Metric, kept: ItemScore) -> float:
    """Return what a row adds to the sum whose mean is the metric."""
    return -(kept.gold_log_prob or 0.0) if metric == "nats_per_token" else kept.score
