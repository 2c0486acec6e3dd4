"""The scorer: log-probabilities of token sequences under a causal language model, shared beginnings run once.

Everything here is deterministic for a batch plan: two models that are compared get the same rows in the same
order, since in bfloat16 (and a little in float32) a row's neighbours and length move the last digits of a
log-probability.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finetop.core.check.packing import Row, TokenSequence, pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

VERSION = 1  # of what a score means; part of every cache key
ROW_TOKENS = {"cpu": 512}  # more hardly speeds a CPU up, and costs it more attention between strangers
ROW_TOKENS_GPU = 4096
LEAST_ROW_TOKENS = 64
PROBE_TOLERANCE = {
    "torch.float32": 1e-3,
    "torch.float64": 1e-3,
}  # nats; 16-bit formats differ by layout alone
PROBE_TOLERANCE_16_BIT = 1.0


@dataclass(frozen=True)
class BatchPlan:
    """How sequences are put together for the model. Plans that differ give scores that are not compared."""

    layout: Literal["packed", "plain"]
    row_tokens: int

    def halved(self) -> BatchPlan:
        """Give the plan to try after the memory ran out."""
        return BatchPlan(self.layout, self.row_tokens // 2)


@dataclass(frozen=True)
class Scored:
    """What a model gives a sequence's scored tokens.

    Their summed log-probability (nats), and if it would write just them.
    """

    log_prob: float
    is_greedy: bool


def plan_for(device: str) -> BatchPlan:
    """Give the batch plan that a device starts with."""
    return BatchPlan("packed", ROW_TOKENS.get(device.split(":")[0], ROW_TOKENS_GPU))


def score(model: Any, sequences: Sequence[TokenSequence], plan: BatchPlan) -> list[Scored]:
    """Score every sequence, in the order given."""
    import torch

    rows = _packed_rows if plan.layout == "packed" else _plain_rows
    found: dict[int, Scored] = {}
    with torch.inference_mode():
        for log_probs, paths in rows(model, sequences, plan.row_tokens):
            for place, indices in paths.items():
                sequence = sequences[place]
                labels = torch.tensor(sequence.tokens[sequence.scored_from :], device=log_probs.device)
                chosen = log_probs[indices]
                total = chosen.gather(1, labels[:, None]).double().sum()
                found[place] = Scored(float(total), bool((chosen.argmax(-1) == labels).all()))
    return [found[place] for place in range(len(sequences))]


def _packed_rows(
    model: Any, sequences: Sequence[TokenSequence], row_tokens: int
) -> Iterator[tuple[Tensor, dict[int, list[int]]]]:
    """Run rows of packed sequences.

    Log-probabilities at the nodes that predict, and each sequence's places among them.
    """
    for row in pack(sequences, row_tokens):
        kept = sorted(
            {node for place, path in row.paths.items() for node in path[sequences[place].scored_from - 1 :]}
        )
        index = {node: place for place, node in enumerate(kept)}
        paths = {
            place: [index[node] for node in path[sequences[place].scored_from - 1 :]]
            for place, path in row.paths.items()
        }
        yield _run_row(model, row, kept), paths


def _run_row(model: Any, row: Row, kept: list[int]) -> Tensor:
    """Run one tree and give the log-probabilities [kept, vocabulary] in float32."""
    import torch

    device, dtype = model.device, model.dtype
    visible = torch.from_numpy(row.visible()).to(device)
    mask = torch.zeros(visible.shape, dtype=dtype, device=device).masked_fill_(
        ~visible, torch.finfo(dtype).min
    )
    return _log_probs(
        model,
        torch.tensor(kept, device=device),
        input_ids=torch.tensor([row.tokens], device=device),
        position_ids=torch.tensor([row.depths], device=device),
        attention_mask=mask[None, None],
    )[0]


def _plain_rows(
    model: Any, sequences: Sequence[TokenSequence], row_tokens: int
) -> Iterator[tuple[Tensor, dict[int, list[int]]]]:
    """Run one sequence a row, padded at the right, as every model can; longest first, `row_tokens` in a batch."""
    import torch

    order = sorted(range(len(sequences)), key=lambda place: (-len(sequences[place].tokens), place))
    while order:
        longest = len(sequences[order[0]].tokens) - 1
        batch, order = order[: max(1, row_tokens // longest)], order[max(1, row_tokens // longest) :]
        inputs = [sequences[place].tokens[:-1] for place in batch]
        first = min(sequences[place].scored_from for place in batch) - 1
        padded = [[*tokens, *[0] * (longest - len(tokens))] for tokens in inputs]
        read = [[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in inputs]
        log_probs = _log_probs(
            model,
            torch.arange(first, longest, device=model.device),
            input_ids=torch.tensor(padded, device=model.device),
            attention_mask=torch.tensor(read, device=model.device),
        )
        width = longest - first
        paths = {
            place: [
                number * width + at - first for at in range(sequences[place].scored_from - 1, len(tokens))
            ]
            for number, (place, tokens) in enumerate(zip(batch, inputs, strict=True))
        }
        yield log_probs.flatten(0, 1), paths


def _log_probs(model: Any, kept: Tensor, **inputs: Tensor) -> Tensor:
    """Give log-probabilities [batch, kept, vocabulary] in float32; the head runs on kept positions alone if it can."""
    import torch

    if takes(model, "logits_to_keep"):
        logits = model(**inputs, logits_to_keep=kept, use_cache=False).logits
    else:
        logits = model(**inputs, use_cache=False).logits[:, kept]
    return torch.log_softmax(logits.float(), dim=-1)


def takes(model: Any, argument: str) -> bool:
    """Say if a model's forward has an argument of this name, under its adapter if it has one."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return argument in inspect.signature(inner.forward).parameters


def packs_exactly(model: Any) -> bool:
    """Try if the model takes a mask of our own: the same sequences packed and plain must score alike."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    trunk = [(7 * place + 11) % vocabulary for place in range(12)]
    branches = [[(13 * place + 5 * branch + 3) % vocabulary for place in range(4)] for branch in range(3)]
    sequences = [TokenSequence((*trunk, *branch), len(trunk)) for branch in branches]
    plain = score(model, sequences, BatchPlan("plain", 1))
    try:
        packed = score(model, sequences, BatchPlan("packed", 512))
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, IndexError):
        return False
    tolerance = PROBE_TOLERANCE.get(str(model.dtype), PROBE_TOLERANCE_16_BIT)
    return all(
        abs(one.log_prob - other.log_prob) <= tolerance for one, other in zip(plain, packed, strict=True)
    )


def window_log_probs(model: Any, window: Sequence[int]) -> Tensor:
    """Give the log-probabilities [tokens - 1, vocabulary] of what may follow each token of a text but the last."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([list(window)[:-1]], device=model.device)
        return torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0].float(), dim=-1)


def encode_pair(
    tokenizer: PreTrainedTokenizerBase, context: str, continuation: str, longest: int
) -> TokenSequence:
    """Tokenize a context and what follows it as the harness does; a context that is too long loses its beginning."""
    if not context:
        first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        following = tokenizer.encode(continuation, add_special_tokens=False)
        before = [first]
        if following[:1] == [first]:
            before, following = following[:1], following[1:]
    else:
        spaces = len(context) - len(context.rstrip())
        if spaces:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        before = _encode(tokenizer, context)
        following = _encode(tokenizer, context + continuation)[len(before) :]
    before = before[max(0, len(before) + len(following) - longest - 1) :]
    return TokenSequence((*before, *following), len(before))


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokenize, with the beginning-of-text token unless a chat template wrote it already."""
    begins = tokenizer.bos_token is not None and text.startswith(str(tokenizer.bos_token))
    ids: list[int] = tokenizer.encode(text, **({"add_special_tokens": False} if begins else {}))
    return ids


def longest_input(model_config: Any) -> int:
    """Give the most tokens that a model reads at once."""
    config = model_config.get_text_config()
    known = [
        getattr(config, name, None)
        for name in ("max_position_embeddings", "n_positions", "max_sequence_length")
    ]
    return next((length for length in known if isinstance(length, int) and length > 0), 2048)
