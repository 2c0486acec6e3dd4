"""Whether a GGUF file gives the model's log-probabilities, token by token, and its answers.

The float32 file must, up to rounding: means and answers alone would miss a wrong constant, or call a wrong matrix an
improvement. What is quantized from it is measured by the same comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from finetop.core.features.export.gguf_writer import rope, writer
from finetop.core.features.export.gguf_writer.reference import ANSWER, Answer, Reference
from finetop.core.features.export.gguf_writer.writer import EMBEDDING, Source
from finetop.core.models.llama_cpp.model import Model


class Bound(NamedTuple):
    """How far log-probabilities of the float32 file may be from transformers', in nats."""

    largest: float  # of the text's own tokens
    largest_of_all: float  # of every token of the vocabulary
    mean: float  # of the text's own tokens


# Seen (largest, of all, mean): 3.2e-5, 1.3e-4, 3.8e-6 with SmolLM2-135M; 1.7e-4, 4.5e-4, 4.3e-5 with random weights, 24
# layers of width 1,024. Wrong matrices begin at 0.5, and a wrong epsilon at 4e-3, 1e-2, 7e-4.
BOUND = Bound(2e-3, 8e-3, 3e-4)
# llama.cpp takes GELU from a table in float16: 1.7e-2, 3.4e-2, 4.1e-3 with random weights, 26 layers of width 512.
BOUND_OF_GELU = Bound(0.1, 0.2, 0.02)
FAR = 0.05  # logits: a token that is nearer to the likeliest may win by rounding


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


def measure(model: Model, reference: Reference) -> tuple[Measured, list[str]]:
    """Compare a file; also return, for the float32 file, answers that differ by more than a tie could explain."""
    of_all: list[float] = []
    own, kl, same, nats, reference_nats = (list[Any]() for _ in range(5))
    for ids, start, wanted in reference.pieces():
        logits = torch.from_numpy(model.logits(ids[:-1], start)[:, : reference.columns].copy())
        found = torch.log_softmax(logits, -1).numpy()
        at = (np.arange(len(wanted)), np.array(ids[start + 1 :]))
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


def difference(model: Model, answer: Answer) -> float | None:
    """Return how clear the first token was that llama.cpp answers otherwise (logits); None for the same answer."""
    given = [token.id for token in model.generate(answer.prompt, ANSWER)]
    for place, wanted in enumerate(answer.tokens):
        if place == len(given):  # it ended at a token that transformers does not know as an end
            return None
        if given[place] != wanted:
            return answer.gap(place, given[place])
    return None


def faults_of(measured: Measured, bound: Bound) -> list[str]:
    """Return what is wrong with the float32 file; NaN is."""
    if (
        measured.largest <= bound.largest
        and measured.largest_of_all <= bound.largest_of_all
        and measured.mean <= bound.mean
    ):
        return []
    return [
        f"its log-probabilities are up to {measured.largest:.2g} nats from the model's on {measured.tokens} tokens,"
        f" {measured.mean:.1g} in the mean, and {measured.largest_of_all:.2g} on other tokens"
        f" (allowed: {bound.largest:g}, {bound.mean:g}, {bound.largest_of_all:g})"
    ]


def file_faults(file: Path, source: Source, folder: Path) -> list[str]:
    """Compare what outputs may not show: every row of the embedding, of which a text has some, and small constants."""
    from gguf import GGUFReader

    reader = GGUFReader(file)
    stored = next(tensor.data for tensor in reader.tensors if tensor.name == EMBEDDING)
    wanted = writer.embedding_of(source, folder)
    if stored.shape != wanted.shape:
        return [f"its embedding has {len(stored)} rows, and the model's {len(wanted)}"]
    other = int((stored != wanted).any(axis=1).sum())
    faults = [f"{other} of {len(wanted)} rows of its embedding differ"] if other else []
    for key, value in constants(source).items():
        field = reader.get_field(f"{source.family.written_as}.{key}")
        written = None if field is None else field.contents()
        if written is None or not math.isclose(written, value, rel_tol=1e-6):
            faults.append(f"{key} is {written}, and the model's {value:g}")
    return faults


def constants(source: Source) -> dict[str, float]:
    """Return constants of a configuration by their keys in a file."""
    config = source.config
    values: dict[str, float] = {"block_count": config.num_hidden_layers}
    names = ("rms_norm_eps", "layer_norm_epsilon", "norm_epsilon")
    epsilon = next(float(getattr(config, name)) for name in names if hasattr(config, name))
    kind = "layer_norm_rms_epsilon" if hasattr(config, "rms_norm_eps") else "layer_norm_epsilon"
    values[f"attention.{kind}"] = epsilon
    if getattr(config, "rope_parameters", None):
        values["rope.freq_base"] = rope.settings(config)["rope_theta"]
    return values


def _mean(parts: Iterable[Any]) -> float:
    mean = float(np.concatenate(list(parts)).mean())
    return mean if math.isfinite(mean) else math.nan
