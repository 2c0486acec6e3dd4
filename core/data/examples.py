"""What a trainer gets from a row: token ids; one class for each kind of learning, which can cut and show itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finetop.core.data.formats import Message

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Example:
    """A text to learn from. Both lists have one entry per token; a label is IGNORED where nothing is learned."""

    input_ids: list[int]
    labels: list[int]
    rewritten: int = 0  # earlier answers that the chat template changes, so they are not learned

    @property
    def tokens(self) -> int:
        return len(self.input_ids)

    @property
    def answer_tokens(self) -> int:
        """The number of tokens that are learned."""
        return sum(label != IGNORED for label in self.labels)

    def cut(self, max_tokens: int) -> Example:
        """Keep the first tokens."""
        return Example(self.input_ids[:max_tokens], self.labels[:max_tokens], self.rewritten)

    def columns(self) -> dict[str, Any]:
        return {"input_ids": self.input_ids, "labels": self.labels}

    def runs(self) -> list[tuple[list[int], bool]]:
        """Split into runs of tokens that are all learned, or all not."""
        runs: list[tuple[list[int], bool]] = []
        for token, label in zip(self.input_ids, self.labels, strict=True):
            is_learned = label != IGNORED
            if not runs or runs[-1][1] != is_learned:
                runs.append(([], is_learned))
            runs[-1][0].append(token)
        return runs


@dataclass(frozen=True, slots=True)
class PairExample:
    """A prompt with a better and a worse answer."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def tokens(self) -> int:
        """The length of the longer text."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))

    @property
    def answer_tokens(self) -> int:
        """The tokens of both answers; 0 if either was cut off entirely."""
        if not self.chosen_ids or not self.rejected_ids:
            return 0
        return len(self.chosen_ids) + len(self.rejected_ids)

    def cut(self, max_tokens: int) -> PairExample:
        """Keep the first tokens of both texts."""
        room = max(0, max_tokens - len(self.prompt_ids))
        return PairExample(self.prompt_ids[:max_tokens], self.chosen_ids[:room], self.rejected_ids[:room])

    def columns(self) -> dict[str, Any]:
        answers = {"chosen_ids": self.chosen_ids, "rejected_ids": self.rejected_ids}
        return {"prompt_ids": self.prompt_ids, **answers}

    def runs(self) -> list[tuple[list[int], bool]]:
        return [(self.prompt_ids, False), (self.chosen_ids, True)]


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """A prompt with one answer that is good or bad."""

    prompt_ids: list[int]
    completion_ids: list[int]
    label: bool

    @property
    def tokens(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)

    @property
    def answer_tokens(self) -> int:
        return len(self.completion_ids)

    def cut(self, max_tokens: int) -> LabelledExample:
        """Keep the first tokens."""
        room = max(0, max_tokens - len(self.prompt_ids))
        return LabelledExample(self.prompt_ids[:max_tokens], self.completion_ids[:room], self.label)

    def columns(self) -> dict[str, Any]:
        return {"prompt_ids": self.prompt_ids, "completion_ids": self.completion_ids, "label": self.label}

    def runs(self) -> list[tuple[list[int], bool]]:
        return [(self.prompt_ids, False), (self.completion_ids, True)]


@dataclass(frozen=True, slots=True)
class PromptExample:
    """A prompt that the model itself answers; with the right answer, if known, and the messages as written."""

    prompt_ids: list[int]
    answer: str | None = None
    prompt: tuple[Message, ...] = ()

    @property
    def tokens(self) -> int:
        return len(self.prompt_ids)

    @property
    def answer_tokens(self) -> int:
        """1 for a usable prompt: the answer to learn from is not generated yet."""
        return int(bool(self.prompt_ids))

    def cut(self, max_tokens: int) -> PromptExample:
        """Keep the last tokens: the question is at the end."""
        return PromptExample(self.prompt_ids[-max_tokens:], self.answer, self.prompt)

    def columns(self) -> dict[str, Any]:
        return {"prompt_ids": self.prompt_ids, "answer": self.answer}

    def runs(self) -> list[tuple[list[int], bool]]:
        return [(self.prompt_ids, False)]


AnyExample = Example | PairExample | LabelledExample | PromptExample


def pieces(example: AnyExample, tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, bool]]:
    """Return an example as text: decoded runs of tokens, each learned or not."""
    return [(str(tokenizer.decode(tokens)), is_learned) for tokens, is_learned in example.runs()]


def through_model(example: AnyExample) -> int:
    """Return how many tokens of an example a model reads: a pair's prompt counts twice."""
    if isinstance(example, PairExample):
        return 2 * len(example.prompt_ids) + len(example.chosen_ids) + len(example.rejected_ids)
    return example.tokens
