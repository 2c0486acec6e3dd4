"""What a training job reads and writes between its steps: evaluations, samples, the drift probe, checks, the target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from finetop.core.models.engine import at_once, tokens_in_room
from finetop.core.plan.memory import HEAD_BYTES, HEAD_POSITIONS, TILE_TOKENS, TILE_WORDS, Reading, Workload
from finetop.core.plugins import has_base, writes_text

if TYPE_CHECKING:
    from finetop.core.plan.schedule import Extras
    from finetop.core.recipe.schema import Recipe

SAMPLE_TOKENS = 1024  # of a sample's prompt: core/train/samples.py
# core/train/drift_probe.py: a window, and what is held of a word of it: its logit and its log-probability in float32,
# and both rounded distributions.
DRIFT_TOKENS, DRIFT_BYTES = 256, 12.0
# core/check/scoring/layout.py: tokens whose logits are held in float32 at once, with their log-softmax.
SCORED_TOKENS, SCORED_BYTES = 256, 8.0


def readings(recipe: Recipe, work: Workload, extras: Extras) -> Iterator[Reading]:
    """Yield the phases without learning in this recipe's training job; the check at the end is a job of its own.

    Checks and targets count on a CPU alone: on a GPU they take smaller batches where memory is short. Prefixes that a
    check keeps are left out: they take a tenth of the memory that is free by then, whatever that is.
    """
    shape, size = work.shape, work.compute_bytes
    token = 2.0 * shape.layers * shape.key_width * size  # keys and values
    if recipe.data.eval if isinstance(recipe.data.eval, tuple) else recipe.data.eval.share:
        rows = (recipe.train.eval_batch_size or recipe.train.batch_size) * extras.texts_per_row
        tokens, answers = rows * work.sequence, rows * work.sequence * token * extras.writes
        yield Reading("an evaluation", tokens, _logits(work, rows), answers)
    if not writes_text(recipe.objective.name):
        return
    if samples := recipe.samples.count:
        tokens = samples * min(work.sequence, SAMPLE_TOKENS)
        written = samples * recipe.samples.max_new_tokens
        yield Reading(
            "generating samples", tokens, samples * shape.vocabulary * size, (tokens + written) * token
        )
    if recipe.drift.every is not None and recipe.check.general is not None:
        yield Reading("the drift probe", DRIFT_TOKENS, DRIFT_TOKENS * shape.vocabulary * DRIFT_BYTES)
    if work.on_gpu:
        return
    read = at_once("cpu")
    logits = shape.vocabulary * (read * size + SCORED_TOKENS * SCORED_BYTES)
    rounded = work.trained.numbers * size * work.master
    if recipe.check.general is not None and recipe.check.every is not None:
        cache = tokens_in_room(max(1, int(token)), read) * token
        yield Reading("a check", read, logits, cache + rounded)
    elif recipe.check.target is not None and _scores_target(recipe):
        yield Reading("scoring the target", read, logits, rounded)


def _scores_target(recipe: Recipe) -> bool:
    """Return whether training itself scores the target, as core/train/target_probe.py decides."""
    is_checked = recipe.check.general is not None and recipe.check.at_end
    return not is_checked or not has_base(recipe.objective.name)


def _logits(work: Workload, rows: int) -> float:
    """Return the bytes of logits in an evaluation of this many texts at once."""
    words, size = work.shape.vocabulary, work.compute_bytes
    tokens = rows * (work.sequence if work.logit_tokens is None else work.logit_tokens)
    if not work.has_logits:
        return 0.0
    if not work.chunked_loss:
        return tokens * words * (size + 4 + 4 * (size < 4))  # log-softmax, and a float32 copy of 16 bits
    if work.on_gpu:
        return min(tokens, TILE_TOKENS) * min(words, TILE_WORDS) * size
    return min(tokens, HEAD_POSITIONS) * words * (HEAD_BYTES + size * (size < 4))
