"""Whether a GGUF file gives the model's log-probabilities, token by token, and its answers.

The float32 file must, up to rounding: means and answers alone would miss a wrong constant, or call a wrong matrix an
improvement. What is quantized from it is measured by the same comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetop.core.models.gguf import writer
from finetop.core.models.gguf.reference import ANSWER, Answer, Reference
from finetop.core.models.gguf.writer import EMBEDDING, Source
from finetop.core.models.llama_cpp.model import Model

# How far the log-probability of one token of the text may be from transformers' (nats), in float32. Seen: 3e-5 with
# SmolLM2-135M, 9e-6 with tiny models; 2e-3 with GELU, which llama.cpp takes from a table in float16. Faults begin at
# 1e-2 (an epsilon of 1e-6 for 1e-5).
BOUND, BOUND_OF_GELU = 1e-4, 5e-3
OF_ALL = 20.0  # times that, for the tokens that are not in the text: 1.3e-4 and 5e-3 were seen


@dataclass(frozen=True)
class Measured:
    """How far a file is from the model in float32."""

    tokens: int
    largest: float  # nats: of the text's own tokens
    largest_of_all: float  # nats: of every token of the vocabulary
    mean: float
    kl: float  # nats/token, mean
    nats: float  # nats/token of the text
    reference_nats: float
    same_first: float  # share of places where both find the same token likeliest
    answers: int
    answers_differ: int

    @property
    def plain(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return asdict(self)


def measure(model: Model, reference: Reference) -> tuple[Measured, list[str]]:
    """Compare a file; also return, for the float32 file, answers that differ by more than a tie could explain."""
    own: list[Any] = []
    of_all: list[float] = []
    kl: list[Any] = []
    same: list[Any] = []
    nats: list[Any] = []
    reference_nats: list[Any] = []
    for ids, wanted in reference.rows():
        logits = torch.from_numpy(model.logits(ids)[:-1, : reference.columns].copy())
        found = torch.log_softmax(logits, -1).numpy()
        at = (np.arange(len(ids) - 1), np.array(ids[1:]))
        own.append(np.abs(wanted[at] - found[at]))
        of_all.append(float(np.abs(wanted - found).max()))
        kl.append((np.exp(wanted) * (wanted - found)).sum(-1))
        same.append(wanted.argmax(-1) == found.argmax(-1))
        nats.append(-found[at])
        reference_nats.append(-wanted[at])
    differ = [difference(model, answer) for answer in reference.answers]
    measured = Measured(
        tokens=sum(map(len, own)),
        largest=float(np.concatenate(own).max()),
        largest_of_all=max(of_all),
        mean=_mean(own),
        kl=_mean(kl),
        nats=_mean(nats),
        reference_nats=_mean(reference_nats),
        same_first=_mean(same),
        answers=len(differ),
        answers_differ=sum(gap is not None for gap in differ),
    )
    far = [gap for gap in differ if gap is not None and gap > FAR]
    faults = [f"{len(far)} of {len(differ)} answers differ"] if far else []
    return measured, faults


FAR = 0.05  # logits; a token that is nearer to the likeliest may win by rounding


def difference(model: Model, answer: Answer) -> float | None:
    """Return how clear the first token was that llama.cpp answers otherwise (logits); None for the same answer."""
    given = [token.id for token in model.generate(answer.prompt, ANSWER)]
    for place, wanted in enumerate(answer.tokens):
        if place == len(given):  # it ended at a token that transformers does not know as an end
            return None
        if given[place] != wanted:
            return answer.gap(place, given[place])
    return None


def faults_of(measured: Measured, *, with_gelu: bool) -> list[str]:
    """Return what is wrong with the float32 file; NaN is."""
    bound = BOUND_OF_GELU if with_gelu else BOUND
    faults = []
    if not measured.largest <= bound:
        faults.append(
            f"its log-probabilities are up to {measured.largest:.2g} nats from the model's on {measured.tokens}"
            f" tokens (allowed: {bound:g})"
        )
    if not measured.largest_of_all <= OF_ALL * bound:
        faults.append(f"log-probabilities of other tokens are up to {measured.largest_of_all:.2g} nats off")
    return faults


def embedding_faults(file: Path, source: Source, folder: Path) -> list[str]:
    """Compare the embedding bit by bit: a text has only some of its rows."""
    from gguf import GGUFReader

    stored = next(tensor.data for tensor in GGUFReader(file).tensors if tensor.name == EMBEDDING)
    wanted = writer.embedding_of(source, folder)
    if stored.shape != wanted.shape:
        return [f"its embedding has {len(stored)} rows, and the model's {len(wanted)}"]
    other = int((stored != wanted).any(axis=1).sum())
    return [f"{other} of {len(wanted)} rows of its embedding differ"] if other else []


def _mean(parts: Iterable[Any]) -> float:
    mean = float(np.concatenate(list(parts)).mean())
    return mean if math.isfinite(mean) else math.nan
