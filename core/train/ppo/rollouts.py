"""Rollouts: answers that the policy sampled, in batches with what policy and value returned for them then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from finetop.core.models import engine
from finetop.core.train.ppo import advantages


@dataclass(frozen=True)
class Batch:
    """Some rows of a rollout, prompts padded on the left and answers on the right.

    ids and attention [rows, prompt + answer]; all others [rows, answer], float32: mask is 1 on the answers.
    """

    ids: Tensor
    attention: Tensor
    mask: Tensor
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Return its tensors by name, for saving."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to(self, device: Any) -> Batch:
        """Return a copy on another device."""
        return Batch(**{name: tensor.to(device) for name, tensor in self.tensors().items()})


def whitened(batches: Sequence[Batch]) -> list[Batch]:
    """Whiten the advantages over all tokens of a rollout."""
    mask = torch.cat([batch.mask.flatten() for batch in batches])
    flat = advantages.whiten(torch.cat([batch.advantages.flatten() for batch in batches]), mask)
    parts = flat.split([batch.mask.numel() for batch in batches])
    pairs = zip(batches, parts, strict=True)
    return [replace(batch, advantages=part.view_as(batch.mask)) for batch, part in pairs]


def pad(
    prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], padding: int, device: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Concatenate prompts and answers: ids, attention [rows, prompt + answer], and the answers' mask."""
    before, after = max(map(len, prompts)), max(map(len, answers))
    ids, attention, mask = [], [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        front, behind = before - len(prompt), after - len(answer)
        ids.append([padding] * front + [*prompt, *answer] + [padding] * behind)
        attention.append([0] * front + [1] * (len(prompt) + len(answer)) + [0] * behind)
        mask.append([1.0] * len(answer) + [0.0] * behind)
    of_ids, of_attention, of_mask = (torch.tensor(rows, device=device) for rows in (ids, attention, mask))
    return of_ids, of_attention, of_mask


def by_length(
    prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], size: int, among: int
) -> list[list[int]]:
    """Group rows of similar length, `size` per batch, so that little is padded.

    Rows move only within the same `among`: a step of nothing but short answers would learn from their shortness.
    """
    groups: list[list[int]] = []
    for first in range(0, len(prompts), among):
        rows = range(first, min(first + among, len(prompts)))
        order = sorted(rows, key=lambda row: len(prompts[row]) + len(answers[row]))
        groups += [order[at : at + size] for at in range(0, len(order), size)]
    return groups


def draw(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    ends: Sequence[int],
    padding: int,
    longest: int,
    temperature: float,
    together: int,
    seed: int,
) -> list[list[int]]:
    """Answer prompts by sampling from the model's whole distribution at that temperature.

    An answer ends with its end token, if that came within `longest` tokens; without `ends` all have `longest`. The same
    seed gives the same answers, and the global random state stays. `together` answers are generated at once.
    """
    from transformers import GenerationConfig

    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=longest,
        pad_token_id=padding,
        eos_token_id=list(ends) or None,
    )
    answers: list[list[int]] = []
    with _evaluating(model), _only(model, config), _own_randomness(model.device, seed), torch.no_grad():
        for at in range(0, len(prompts), together):
            answers += engine.write(model, prompts[at : at + together], config, "exact")
    return answers


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def _only(model: Any, config: Any) -> Iterator[None]:
    """Hide the model's own generation config, whose penalties and cut-offs would fill what `config` leaves open."""
    own = model.generation_config
    model.generation_config = config
    try:
        yield
    finally:
        model.generation_config = own
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        inner.generation_config = own  # PEFT passes it on to the inner model


@contextmanager
def _own_randomness(device: Any, seed: int) -> Iterator[None]:
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
