"""Turns a conversation into tokens and labels: the tokenizer's chat template, and which tokens are learned.

What is learned is the difference of two renderings: the template of the turns before an answer, with the generation
prompt of the assistant, and the template with that answer. Any other token has the label -100.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.data import template_limits
from finetop.core.data.examples import IGNORED, Example
from finetop.core.data.formats import Call, Conversation, Message
from finetop.core.errors import BadData, BadInput, first_line
from finetop.core.runtime.limits import limited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from transformers import PreTrainedTokenizerBase

    Tools = Sequence[Mapping[str, Any]]  # descriptions of functions

# Limits of a template per row: SmolLM2's takes 0.1 ms, and a second for a row of 10 MB.
SECONDS, BYTES, LONGEST = 10.0, 1 << 30, 100_000_000
Span = tuple[int, int]

TOOLS_IN_WORDS = (
    "You may call functions. For each call, answer with an object of its name and arguments within "
    "<tool_call></tool_call>. These are the functions:"
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text; `learned` are the spans [start, end) of the characters to learn."""

    text: str
    learned: tuple[Span, ...]
    rewritten: int = 0  # earlier answers that the template changes, so they are not learned


def render(conversation: Conversation, tokenizer: PreTrainedTokenizerBase, loss: str, place: str) -> Rendered:
    """Render a conversation with its answers marked (`loss` answers), or all (`all`). Raises BadInput at `place`."""
    messages, tools = conversation.messages, conversation.tools
    text = _template(messages, tokenizer, place, speak=False, tools=tools)
    # of all tokens, those of weight 0 are left out; else the answers are put in
    marked = [not turn.is_learned if loss == "all" else _is_learned_answer(turn) for turn in messages]
    spans, rewritten = [], 0
    for index in [index for index, is_marked in enumerate(marked) if is_marked]:
        is_last = index == len(messages) - 1
        speak = messages[index].role == "assistant"
        before = _template(messages[:index], tokenizer, place, speak=speak, tools=tools) if index else ""
        answered = messages[: index + 1]
        through = text if is_last else _template(answered, tokenizer, place, speak=False, tools=tools)
        if text.startswith(before) and text.startswith(through):
            spans.append((len(before), len(through)))
        elif is_last or loss == "all":
            other = "remove the row" if loss == "all" else "objective.loss to all"
            hint = f"Set model.chat_template to a template that only adds text, or {other}."
            fault = "the chat template writes the prompt differently once the answer is there"
            raise BadData(f"{place}: {fault}, so the answer can't be separated from it.", hint=hint)
        else:
            rewritten += 1
    return Rendered(text, tuple(_between(spans, len(text)) if loss == "all" else spans), rewritten)


def _is_learned_answer(turn: Message) -> bool:
    return turn.role == "assistant" and turn.is_learned


def _between(spans: Sequence[Span], length: int) -> Iterator[Span]:
    """Yield what lies outside of spans."""
    starts, ends = (0, *(end for _, end in spans)), (*(start for start, _ in spans), length)
    return ((start, end) for start, end in zip(starts, ends, strict=True) if start < end)


def render_prompt(
    prompt: Sequence[Message], tokenizer: PreTrainedTokenizerBase, place: str = "prompt", tools: Tools = ()
) -> str:
    """Render what comes before an answer, including the assistant's generation prompt. Raises BadInput."""
    return _template(prompt, tokenizer, place, speak=True, tools=tools)


def _template(
    messages: Sequence[Message],
    tokenizer: PreTrainedTokenizerBase,
    place: str,
    *,
    speak: bool,
    tools: Tools = (),
) -> str:
    written = str(tokenizer.chat_template)
    if "tool_calls" not in written or "tools" not in written:
        messages, tools = _with_tools_as_text(messages, tools), ()
    turns = [_turn(message) for message in messages]
    named = {"tools": [_described(tool) for tool in tools]} if tools else {}

    def rendered() -> Any:
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=speak, **named)

    return held_to_limits(rendered, place)


class Unbounded(BadData):
    """A template that exceeds its limits: no further row is tried."""


ROW_HINT = "Change the row, or set model.chat_template to a template that takes it."


def held_to_limits(template: Callable[[], Any], place: str, what: str = "row", hint: str = ROW_HINT) -> str:
    """Run a chat template for one text, with limited time, memory and length. Raises BadData at `place`."""
    from jinja2 import TemplateError

    of_row = f"{place}: the model's chat template"
    try:
        with limited(SECONDS, BYTES), template_limits.held_to(LONGEST):
            text = str(template())
        if len(text) > LONGEST:  # from a filter, or a tokenizer class with its own rendering
            raise template_limits.TooLong(len(text))
    except (TemplateError, OverflowError, RecursionError) as error:
        raise BadData(f"{of_row} refuses the {what}: {first_line(error)}", hint=hint) from error
    except template_limits.TooLong as error:
        message = f"{of_row} turns the {what} into {error.size:,} characters"
        raise Unbounded(f"{message}; the limit is {LONGEST:,}.", hint=hint) from error
    except (TimeoutError, MemoryError) as error:
        much = f"{SECONDS:g} s" if isinstance(error, TimeoutError) else f"{BYTES >> 20} MiB"
        raise Unbounded(f"{of_row} takes more than {much} for the {what}.", hint=hint) from error
    return text


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        turn["tool_calls"] = [{"type": "function", "function": _called(call)} for call in message.calls]
    return turn


def _called(call: Call) -> dict[str, Any]:
    return {"name": call.name, "arguments": dict(call.arguments)}


def _described(tool: Mapping[str, Any]) -> dict[str, Any]:
    return dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)}


def _with_tools_as_text(messages: Sequence[Message], tools: Tools) -> list[Message]:
    """Write tools and calls as text, in the format of Hermes and Qwen, for a template that supports neither."""
    written = list(map(_in_words, messages))
    if not tools:
        return written
    lines = "\n".join(json.dumps(_described(tool), ensure_ascii=False) for tool in tools)
    text = f"{TOOLS_IN_WORDS}\n<tools>\n{lines}\n</tools>"
    if written and written[0].role == "system":
        return [Message("system", f"{written[0].content}\n\n{text}".strip()), *written[1:]]
    return [Message("system", text), *written]


def _in_words(message: Message) -> Message:
    if message.role == "tool":  # such templates often have no tool turns
        return Message("user", f"<tool_response>\n{message.content}\n</tool_response>")
    calls = [json.dumps(_called(call), ensure_ascii=False) for call in message.calls]
    texts = (message.content, *(f"<tool_call>\n{call}\n</tool_call>" for call in calls))
    return Message(message.role, "\n".join(filter(None, texts)))


def tokenize(rows: Sequence[Rendered], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
    """Tokenize and label rendered rows. A token that crosses into an answer belongs to the answer."""
    if not rows:
        return []
    if not tokenizer.is_fast:
        fault = "its tokenizer does not give the positions of tokens in the text"
        raise BadInput(f"model.id: {fault}.", hint="Pick a model with a tokenizer.json.")
    texts = [row.text for row in rows]
    encoded: Any = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [
        Example(input_ids, _labels(input_ids, offsets, row.learned), row.rewritten)
        for row, input_ids, offsets in zip(rows, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]


def _labels(input_ids: list[int], offsets: list[Span], learned: tuple[Span, ...]) -> list[int]:
    labels, spans = [], list(learned)
    for token, (start, end) in zip(input_ids, offsets, strict=True):
        # Some characters take several byte tokens with the same offsets: all of them count.
        while spans and start >= spans[0][1]:
            spans.pop(0)
        labels.append(token if spans and end > spans[0][0] else IGNORED)
    return labels


def answer_ids(
    prompt: Sequence[Message], answers: Sequence[str], tokenizer: PreTrainedTokenizerBase, place: str
) -> tuple[list[int], list[list[int]]]:
    """Return the tokens of a prompt, and of each answer's continuation, with its end. Raises BadInput at `place`.

    The prompt is the tokens that all share: where a token crosses into one answer, it belongs to all of them.
    """
    before = _template(prompt, tokenizer, place, speak=True)
    rendered = []
    for answer in answers:
        text = _template([*prompt, Message("assistant", answer)], tokenizer, place, speak=False)
        if not text.startswith(before):
            hint = "Set model.chat_template to a template that only adds text."
            raise BadData(f"{place}: the chat template rewrites the prompt once it is answered.", hint=hint)
        rendered.append(Rendered(text, ((len(before), len(text)),)))
    examples = tokenize(rendered, tokenizer)
    shared = min(example.labels.count(IGNORED) for example in examples)
    first = examples[0].input_ids
    while any(example.input_ids[:shared] != first[:shared] for example in examples):
        shared -= 1
    return first[:shared], [example.input_ids[shared:] for example in examples]


def prompt_ids(
    prompt: Sequence[Message], tokenizer: PreTrainedTokenizerBase, place: str, tools: Tools = ()
) -> list[int]:
    """Return the tokens of a prompt, up to where the answer begins. Raises BadInput at `place`."""
    text = render_prompt(prompt, tokenizer, place, tools)
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
