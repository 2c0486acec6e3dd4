"""Turns a conversation into tokens and labels: the tokenizer's chat template, and which tokens are learned.

What is learned is the difference of two renderings: the template of the turns before an answer, with the mark
that the assistant is to speak, and the template with that answer. Any other token has the label -100.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from finetop.core.formats import Conversation, Message

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text; `learned` are the spans [start, end) of characters that are learned."""

    text: str
    learned: tuple[tuple[int, int], ...]
    rewritten: int = 0  # earlier answers that the template changes, which are therefore not learned


@dataclass(frozen=True, slots=True)
class Example:
    """A row for the trainer. Both lists have one entry a token."""

    input_ids: list[int]
    labels: list[int]

    @property
    def answer_tokens(self) -> int:
        """How many tokens are learned."""
        return sum(label != IGNORED for label in self.labels)


def render(conversation: Conversation, tokenizer: PreTrainedTokenizerBase, loss: str, place: str) -> Rendered:
    """Render a whole conversation with its answers marked (`loss` answers), or all of it (`all`).

    Raises BadInput at `place` if the template refuses the row, or does not keep the last prompt as it is.
    """
    messages = conversation.messages
    text = _template(messages, tokenizer, place, speak=False)
    if loss == "all":
        return Rendered(text, ((0, len(text)),))
    spans, rewritten = [], 0
    for index, message in enumerate(messages):
        if message.role != "assistant":
            continue
        is_last = index == len(messages) - 1
        before = _template(messages[:index], tokenizer, place, speak=True) if index else ""
        through = text if is_last else _template(messages[: index + 1], tokenizer, place, speak=False)
        if text.startswith(before) and text.startswith(through):
            spans.append((len(before), len(through)))
        elif is_last:
            raise BadInput(
                f"{place}: the chat template writes the prompt differently once the answer is there, so that "
                "the answer can't be told from it.",
                hint="Set model.chat_template to a template that only adds text, or objective.loss to all.",
            )
        else:
            rewritten += 1
    return Rendered(text, tuple(spans), rewritten)


def render_prompt(
    prompt: Sequence[Message], tokenizer: PreTrainedTokenizerBase, place: str = "prompt"
) -> str:
    """Render what comes before an answer, up to the mark that the assistant is to speak. Raises BadInput."""
    return _template(prompt, tokenizer, place, speak=True)


def _template(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, place: str, *, speak: bool
) -> str:
    from jinja2 import TemplateError

    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=speak)
    except TemplateError as error:
        hint = "Change the row, or set model.chat_template to a template that takes it."
        raise BadInput(f"{place}: the model's chat template refuses the row: {error}", hint=hint) from error
    return str(text)


def tokenize(rows: Sequence[Rendered], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
    """Cut rendered rows into tokens and labels. A token that crosses into an answer belongs to the answer."""
    if not rows:
        return []
    if not tokenizer.is_fast:
        hint = "Pick a model with a tokenizer.json."
        raise BadInput("model.id: its tokenizer can't say where a token lies in the text.", hint=hint)
    encoded: Any = tokenizer(
        [row.text for row in rows], add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    return [
        Example(input_ids, _labels(input_ids, offsets, row.learned))
        for row, input_ids, offsets in zip(rows, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]


def _labels(
    input_ids: list[int], offsets: list[tuple[int, int]], learned: tuple[tuple[int, int], ...]
) -> list[int]:
    labels, spans = [], list(learned)
    for token, (start, end) in zip(input_ids, offsets, strict=True):
        # Some characters take several byte tokens with the same offsets: all of them count.
        while spans and start >= spans[0][1]:
            spans.pop(0)
        labels.append(token if spans and end > spans[0][0] else IGNORED)
    return labels


def cut(example: Example, max_tokens: int) -> Example:
    """Keep the first tokens of an example."""
    return Example(example.input_ids[:max_tokens], example.labels[:max_tokens])


def pieces(example: Example, tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, bool]]:
    """Give an example back as text: runs of tokens, each learned or not."""
    runs: list[tuple[list[int], bool]] = []
    for token, label in zip(example.input_ids, example.labels, strict=True):
        is_learned = label != IGNORED
        if not runs or runs[-1][1] != is_learned:
            runs.append(([], is_learned))
        runs[-1][0].append(token)
    return [(str(tokenizer.decode(tokens)), is_learned) for tokens, is_learned in runs]
