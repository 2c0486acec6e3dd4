"""What the model says in transformers, kept for comparison: log-probabilities of a text, and greedy answers.

The log-probabilities of every token of the vocabulary go to a file, so that transformers' model is out of memory when
llama.cpp's is in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from finetop.core.features.export.gguf_writer import material, rope, tokenizer as tokens
from finetop.core.features.export.gguf_writer.writer import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 256  # tokens of a window
WINDOWS = 4
LONGEST_WINDOW = 1024  # a sliding window that is longer is not looked beyond: it takes too long
BEYOND = 96
PIECE = 128  # tokens whose log-probabilities are compared at once
ANSWER = 24  # tokens
NEAREST = 32  # candidates kept for each token of an answer


@dataclass(frozen=True)
class Answer:
    """A greedy answer, and the likeliest tokens at each of its places, with their logits."""

    prompt: list[int]
    tokens: list[int]
    nearest: list[dict[int, float]]

    def gap(self, place: int, token: int) -> float:
        """Return by how much the answer's token beats another one at a place (logits)."""
        nearest = self.nearest[place]
        return nearest[self.tokens[place]] - nearest.get(token, -np.inf)


@dataclass(frozen=True)
class Reference:
    """The text's windows of tokens, the file with their log-probabilities, and the answers."""

    windows: list[list[int]]
    file: Path
    columns: int  # rows of the file are this long: the vocabulary
    answers: list[Answer]
    notes: list[str]

    @property
    def context(self) -> int:
        """Return the context that comparing needs."""
        prompts = [len(answer.prompt) + ANSWER + 1 for answer in self.answers]
        return max(*map(len, self.windows), *prompts, 32)

    def pieces(self) -> Iterator[tuple[list[int], int, NDArray[np.float32]]]:
        """Yield the windows in pieces: tokens up to its end, where it starts, log-probabilities after all but the last.

        A whole window of a large vocabulary would take gigabytes.
        """
        whole = np.memmap(self.file, dtype=np.float32, mode="r").reshape(-1, self.columns)
        at = 0
        for ids in self.windows:
            for start in range(0, len(ids) - 1, PIECE):
                end = min(start + PIECE, len(ids) - 1)
                yield ids[: end + 1], start, whole[at : at + end - start]
                at += end - start


def make(
    model: Any, source: Source, text: str, file: Path, prompts: int = len(material.PROMPTS)
) -> Reference:
    """Ask a model in float32 all that is compared."""
    notes = []
    longest = source.family.context(source.config)
    if short := rope.short_context(source.config):
        longest = min(longest, short)
        why = "in longer ones llama.cpp rotates every text by the long factors"
        notes.append(f"proven for contexts up to {short} tokens: {why}")
    ids_of = windows_of(source, text, longest)
    if (window := source.family.window(source.config)) and max(map(len, ids_of)) <= window:
        notes.append(f"its sliding window of {window} tokens is longer than the texts of the proof")
    columns = 0
    with file.open("wb") as out, torch.inference_mode():
        for ids in ids_of:
            logits = model(input_ids=_batch(model, ids), use_cache=False).logits[0, :-1].float()
            rows = torch.log_softmax(logits, -1).cpu().numpy()
            columns = rows.shape[1]
            out.write(rows.tobytes())
    answers = [answer_of(model, source, prompt) for prompt in material.PROMPTS[:prompts]]
    fitting = [answer for answer in answers if len(answer.prompt) + ANSWER <= longest]
    return Reference(ids_of, file, columns, fitting, notes)


def windows_of(source: Source, text: str, longest: int) -> list[list[int]]:
    """Cut a text into windows that begin as its tokenizer begins a text; one goes beyond a sliding window."""
    tokenizer: Any = source.tokenizer
    window = source.family.window(source.config)
    lengths = [min(WIDTH, longest)] * WINDOWS
    if 0 < window <= LONGEST_WINDOW:
        lengths[0] = min(longest, window + BEYOND)
    ids = tokenizer(text[: sum(lengths) * 16], add_special_tokens=False, verbose=False).input_ids
    start = [tokenizer.bos_token_id] if tokens.begins_with_bos(tokenizer) else []
    windows, at = [], 0
    for length in lengths:
        part = ids[at : at + length - len(start)]
        if len(part) > 1:
            windows.append([*start, *part])
        at += len(part)
    return windows


def prompt_of(source: Source, question: str) -> list[int]:
    """Return a question's tokens, in the chat template if there is one."""
    if not source.tokenizer.chat_template:
        return list(source.tokenizer(question).input_ids)
    chat = [{"role": "user", "content": question}]
    ids: list[int] = source.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    return ids


def answer_of(model: Any, source: Source, question: str) -> Answer:
    """Answer greedily."""
    ids = prompt_of(source, question)
    batch = _batch(model, ids)
    with torch.inference_mode():
        answered = model.generate(
            batch,
            attention_mask=torch.ones_like(batch),
            do_sample=False,
            max_new_tokens=ANSWER,
            eos_token_id=source.stops or None,
            pad_token_id=source.stops[0] if source.stops else 0,
            return_dict_in_generate=True,
            output_logits=True,
        )
    nearest = []
    for logits in answered.logits:
        top = logits[0].float().topk(min(NEAREST, logits.shape[-1]))
        nearest.append(dict(zip(top.indices.tolist(), top.values.tolist(), strict=True)))
    return Answer(ids, answered.sequences[0, len(ids) :].tolist(), nearest)


def load(folder: Path, place: str) -> Any:
    """Load a saved model in float32, with the plain attention, which computes all that its configuration says.

    Its generation settings are left out: a penalty or a list of words would change greedy answers.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig

    placed = {"device_map": place} if place == "auto" else {}
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True, use_safetensors=True,
        **placed,
    )  # fmt: skip
    model.generation_config = GenerationConfig()
    return (model if placed else model.to(place)).eval()


def _batch(model: Any, ids: list[int]) -> torch.Tensor:
    return torch.tensor([ids], device=model.device)
