"""A model's loss on the answers of a data set: batched, on a GPU if there is one, and cached in the home.

A loss is keyed by the hash of the model, of how it is run, and of the tokens that it reads: the same row in another
file, or under another selector, is not scored again.
"""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from finetop.core.check.scoring import cache
from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.data import formats
from finetop.core.errors import BadInput
from finetop.core.protocol.events import ItemScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.check.scoring.batch_plan import BatchPlan
    from finetop.core.features.select.pool import Pool, Report
    from finetop.core.models.resolved import ResolvedModel
    from finetop.core.runtime.home import Home

MOST_TOKENS = 2048  # of a row; the rest is not read
TOKENIZED_AT_ONCE = 500  # rows
AT_ONCE = 64  # rows between two progress reports, and between two writes; always the same ones of a file


@dataclass
class Scorer:
    """Scores answers under one model, which is loaded at the first row without a cached score."""

    base: ResolvedModel
    dtype: str
    device: str
    home: Home
    model: Any = None
    plan: BatchPlan | None = None

    @property
    def facts(self) -> dict[str, str]:
        """Return what a score depends on, besides the tokens."""
        import torch
        import transformers

        from finetop.core.check.scoring.batch_plan import VERSION

        return {
            "weights": self.base.weights_hash,
            "quantize": self.base.quantize,
            "dtype": self.dtype,
            "device": self.device.split(":")[0],
            "scorer": str(VERSION),
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        }

    def losses(self, pool: Pool, *, with_prompt: bool) -> list[float | None]:
        """Score each row's last answer, in nats per token; None if it lies beyond what is read."""
        cuts = self._cut(pool, with_prompt=with_prompt)
        cut_of = {cut.hash: cut for cut in cuts if cut is not None}
        names = {name: name for name in cut_of}  # an item's name is the hash of its tokens
        key = cache.score_key(self.facts, {"name": "answer loss"})
        known = cache.read(self.home.scores, key, names)
        doing = f"scoring answers{'' if with_prompt else ' without their prompts'}"
        wanted = list(cut_of)
        for at in range(0, len(wanted), AT_ONCE):
            pool.report(doing, at, len(wanted))
            some = [name for name in wanted[at : at + AT_ONCE] if name not in known]
            if not some:
                continue
            scores = self._score([cut_of[name].sequence for name in some], pool.report)
            pairs = zip(some, scores, strict=True)
            new_scores = [ItemScore(name, 0.0, gold_log_prob=log_prob) for name, log_prob in pairs]
            cache.append(self.home.scores, key, new_scores, names)
            known.update({score.item: score for score in new_scores})

        def loss(cut: Cut) -> float:
            return -(known[cut.hash].gold_log_prob or 0.0) / cut.answer_tokens

        return [None if cut is None else loss(cut) for cut in cuts]

    def _score(self, sequences: Sequence[TokenSequence], report: Report) -> list[float]:
        """Score some, in smaller batches if memory runs out. Raises EnvironmentTrouble if the smallest does not fit."""
        from finetop.core.check.scoring.batch_plan import halve_until_it_fits
        from finetop.core.check.scoring.scorer import score

        if self.model is None:
            self._load(report)

        def score_under(plan: BatchPlan) -> list[float]:
            self.plan = plan
            return [result.log_prob for result in score(self.model, sequences, plan)]

        assert self.plan is not None
        return halve_until_it_fits(score_under, self.plan, self.device, or_else="give a smaller --model")

    def _load(self, report: Report) -> None:
        from finetop.core.check.scoring.batch_plan import BatchPlan
        from finetop.core.check.scoring.scorer import packs_exactly, plan_for
        from finetop.core.models import load

        report("loading model", 0, 0)
        self.model, _ = load.load_model(self.base, load.torch_dtype(self.dtype, self.device), self.device)
        self.model.eval()
        self.plan = plan_for(self.device)
        if not packs_exactly(self.model):
            self.plan = BatchPlan("plain", self.plan.row_tokens)

    def _cut(self, pool: Pool, *, with_prompt: bool) -> list[Cut | None]:
        """Cut each row's last answer into tokens: after its prompt, or alone after the prefix token."""
        from finetop.core.check.scoring.scorer import prefix_token
        from finetop.core.check.scoring.target import last_answer
        from finetop.core.data.render import Rendered, render, tokenize
        from finetop.core.models.forward import longest_input
        from finetop.core.models.load import load_tokenizer, read_config

        tokenizer = load_tokenizer(self.base)
        longest = min(MOST_TOKENS, longest_input(read_config(self.base), tokenizer))
        places = (f"{pool.path.name}:{line}" for line in pool.lines)
        rows = zip(places, pool.records("cutting into tokens"), strict=True)
        cuts: list[Cut | None] = []
        while some := list(islice(rows, TOKENIZED_AT_ONCE)):
            rendered = [
                render(record, tokenizer, "answers", place)
                if isinstance(record, formats.Conversation)
                else Rendered(text := _whole(record, place, with_prompt=with_prompt), ((0, len(text)),))
                for place, record in some
            ]
            for example in tokenize(rendered, tokenizer):
                begins, tokens = max(1, last_answer(example.labels)), example.input_ids[: longest + 1]
                if begins >= len(tokens):
                    cuts.append(None)
                elif with_prompt:
                    cuts.append(Cut(array("I", tokens), begins))
                else:
                    cuts.append(Cut(array("I", [prefix_token(tokenizer), *tokens[begins:]]), 1))
        return cuts


@dataclass(frozen=True, slots=True)
class Cut:
    """A row's tokens, those from `begins` on the answer's; an array takes a ninth of a tuple's memory."""

    tokens: array[int]
    begins: int

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.begins.to_bytes(4, "little") + self.tokens.tobytes()).hexdigest()[:24]

    @property
    def answer_tokens(self) -> int:
        return len(self.tokens) - self.begins

    @property
    def sequence(self) -> TokenSequence:
        return TokenSequence(tuple(self.tokens), self.begins)


def _whole(record: formats.Record, place: str, *, with_prompt: bool) -> str:
    """Return a plain text, all of which is learned. Raises BadInput for a row of another kind."""
    if isinstance(record, formats.Text) and with_prompt:
        return record.text
    needs = f"rows of a prompt and one answer{', or texts' if with_prompt else ''}"
    hint = "Choose by random, diversity, length or no-near-duplicates."
    raise BadInput(f"{place}: this selector needs {needs}; these are of another kind.", hint=hint)


def open_scorer(base: ResolvedModel, dtype: str, home: Home) -> Scorer:
    """Return the scorer for a model on this machine's device; nothing is loaded."""
    from finetop.core.models import devices
    from finetop.core.models.devices import scoring_dtype

    devices.multiply_exactly()
    device = devices.pick_device()
    return Scorer(base, scoring_dtype(dtype, base.path, device), device, home)
