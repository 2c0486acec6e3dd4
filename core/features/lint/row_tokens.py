"""Counts the tokens of rows: all, those that are learned, and those left after cutting, as training does it."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from msgspec.structs import replace

from finetop.core.data import render
from finetop.core.data.formats import OBJECTIVE_OF
from finetop.core.data.sources import Row as TrainRow
from finetop.core.errors import FinetopError
from finetop.core.models.fast_tokenizer import Characters
from finetop.core.train import objectives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.data.formats import Kind, Record
    from finetop.core.data.prompts import Asker
    from finetop.core.features.lint.row import Lens, Row
    from finetop.core.models.fast_tokenizer import LightTokenizer

CHARACTERS_PER_TOKEN: Final = Characters.EACH
TURN_TOKENS: Final = 5  # around a turn, for an unknown chat template
MEMORY: Final = 400_000  # different words whose tokens are cached: about 50 MB
LONGEST: Final = 64  # characters of a word that is cached
_BETWEEN = re.compile(r"(?<=\S) (?=\S)")
_ODD = re.compile(r"[^\S ]|^ |  | $")  # other white space than single spaces between words
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = (  # apart from the digits of a number per token: Qwen has one, Llama 3 three
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PATTERNS = (_GPT2, _LLAMA3, _LLAMA3.replace(r"|\p{N}|", r"|\p{N}{1,3}|"))


class Counts(NamedTuple):
    tokens: int
    learned: int
    kept: int
    rewritten: int = 0


class Meter:
    """Measures rows with a tokenizer; without one, by their characters."""

    def __init__(
        self, lens: Lens, tokenizer: LightTokenizer | None, options: Any = None, asker: Asker | None = None
    ) -> None:
        self.lens = lens
        self.tokenizer = tokenizer
        self.counter: Counter | None = None
        if tokenizer is not None and (counter := Counter(tokenizer.inner)).is_by_word:
            self.counter = counter
        self.options = options
        self.asker = asker

    def measure(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows with their counts; unreadable rows have none."""
        measured = list(rows)
        by_objective: dict[str, list[int]] = {}
        for number, row in enumerate(rows):
            if row.record is None:
                continue
            if self.tokenizer is None:
                measured[number] = _with(row, self._estimated(row))
            else:
                kind = cast("Kind", type(row.record).__name__.lower())
                is_test = row.role == "test"  # test rows are asked, and not learned from
                learner = OBJECTIVE_OF[kind] if is_test else self.lens.objective or OBJECTIVE_OF[kind]
                by_objective.setdefault(learner, []).append(number)
        for objective, numbers in by_objective.items():
            counted = self._counted(objective, [rows[number] for number in numbers])
            for number, row in zip(numbers, counted, strict=True):
                measured[number] = row
        return measured

    def _counted(self, objective: str, rows: list[Row]) -> list[Row]:
        try:
            return list(map(_with, rows, self._examples(objective, rows)))
        except render.Unbounded:
            raise  # each other row would take as long
        except FinetopError as error:
            if len(rows) > 1:  # one of them is refused: find out which
                return [measured for row in rows for measured in self._counted(objective, [row])]
            return [replace(rows[0], refused=error.message.removeprefix(f"{rows[0].place}: "))]

    def _examples(self, objective: str, rows: list[Row]) -> list[Counts]:
        maker = objectives.load(objective)
        options = self.options if objective == self.lens.objective else maker.options()
        most = self.lens.max_tokens or 10**9
        train_rows = [TrainRow(row.place, self._asked(row.record)) for row in rows if row.record is not None]
        if objective in ("sft", "distill"):
            return self._conversations(train_rows, getattr(options, "loss", "answers"))
        return [self._sum(examples) for examples in maker.examples(train_rows, options, self.tokenizer, most)]

    def _asked(self, record: Record) -> Record:
        """Return a row with its prompt as the model gets it."""
        return record if self.asker is None else self.asker.asked(record)

    def _conversations(self, rows: list[TrainRow], loss: str) -> list[Counts]:
        """Count as render.tokenize labels, without label lists: these took 110 microseconds per row of 150 tokens."""
        assert self.tokenizer is not None
        rendered = [render.render(row.conversation, self.tokenizer, loss, row.place) for row in rows]
        counted = [self._by_words(row) for row in rendered]
        whole = [row for row, counts in zip(rendered, counted, strict=True) if counts is None]
        texts = [row.text for row in whole]
        encoded = iter(self.tokenizer.inner.encode_batch(texts, add_special_tokens=False))
        pairs = zip(rendered, counted, strict=True)
        return [counts or self._count(row, next(encoded).offsets) for row, counts in pairs]

    def _by_words(self, row: render.Rendered) -> Counts | None:
        """Count word by word; None if only offsets can tell which tokens are learned."""
        counter = self.counter
        if counter is None or not all(counter.is_border(row.text, at) for span in row.learned for at in span):
            return None
        tokens = end = 0
        spans = []
        for start, stop in row.learned:
            first = tokens + counter.count(row.text[end:start])
            tokens = first + counter.count(row.text[start:stop])
            spans.append((first, tokens))
            end = stop
        return self._summed(spans, tokens + counter.count(row.text[end:]), row.rewritten)

    def _count(self, row: render.Rendered, offsets: list[tuple[int, int]]) -> Counts:
        spans = []
        for start, end in row.learned:
            # the first token that ends behind the start
            first = bisect_right(offsets, start, key=itemgetter(1))
            spans.append((first, bisect_left(offsets, end, first, key=itemgetter(0))))
        return self._summed(spans, len(offsets), row.rewritten)

    def _summed(self, spans: Sequence[tuple[int, int]], tokens: int, rewritten: int) -> Counts:
        """Sum up which tokens are learned, and which of those come before the cut."""
        most = self.lens.max_tokens if self.lens.max_tokens is not None else tokens
        end = tokens if tokens <= most else most if self.lens.on_long == "truncate" else 0
        learned = sum(last - first for first, last in spans)
        kept = sum(max(0, min(last, end) - first) for first, last in spans)
        return Counts(tokens, learned, kept, rewritten)

    def _sum(self, examples: Sequence[Any]) -> Counts:
        tokens = learned = kept = rewritten = 0
        for example in examples:
            tokens += example.tokens
            learned += example.answer_tokens
            rewritten += getattr(example, "rewritten", 0)
            most = self.lens.max_tokens
            if most is None or example.tokens <= most:
                kept += example.answer_tokens
            elif self.lens.on_long == "truncate":
                kept += example.cut(most).answer_tokens
        return Counts(tokens, learned, kept, rewritten)

    def _estimated(self, row: Row) -> Counts:
        """Estimate four characters per token, plus what a chat template adds around turns."""
        tokens = sum(math.ceil(len(turn.text) / CHARACTERS_PER_TOKEN) + TURN_TOKENS for turn in row.turns)
        roles = ("assistant", "rejected", "text")
        answers = [turn.text for turn in row.turns if turn.role in roles and turn.is_learned]
        learned = sum(math.ceil(len(text) / CHARACTERS_PER_TOKEN) + 1 for text in answers)
        most = self.lens.max_tokens
        if row.is_text or most is None or tokens <= most:
            return Counts(tokens, learned, learned)
        left = max(0, learned - (tokens - most))
        return Counts(tokens, learned, left if self.lens.on_long == "truncate" else 0)


def _with(row: Row, counts: Counts) -> Row:
    return replace(row, **counts._asdict())


class Counter:
    """Counts tokens word by word, each word once: computing offsets only to count took two thirds of a lint's time.

    A tokenizer that splits at spaces before merging has as many tokens for a text as for its words together. Which ones
    do so is read from their tokenizer.json; with any other, every text is encoded whole. Texts are split at single
    spaces between two non-space characters, where every known splitting rule has a border, whatever the words or marks.
    """

    def __init__(self, tokenizer: Any) -> None:
        settings = json.loads(tokenizer.to_str())
        self._tokenizer = tokenizer
        self._special = tuple(token["content"] for token in settings["added_tokens"])
        self.is_by_word = _splits_at_spaces(settings)
        self._first = _Remembered(tokenizer, "")
        self._others = _Remembered(tokenizer, " ")

    def is_border(self, text: str, at: int) -> bool:
        """Return whether no token can cross this place of a text."""
        return (
            at in (0, len(text))
            or (text[at - 1] == "\n" and not text[at].isspace())
            or text.startswith(self._special, at)
            or text.endswith(self._special, 0, at)
        )

    def count(self, text: str) -> int:
        """Count the tokens of a text that begins and ends at borders."""
        if not text:
            return 0
        words = text.split(" ") if text.isascii() and not _ODD.search(text) else _BETWEEN.split(text)
        return self._first[words[0]] + sum(map(self._others.__getitem__, words[1:]))


class _Remembered(dict[str, int]):
    """The token counts of words seen so far, each with its preceding text."""

    def __init__(self, tokenizer: Any, before: str) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._before = before

    def __missing__(self, word: str) -> int:
        number = len(self._tokenizer.encode(self._before + word, add_special_tokens=False).ids)
        if len(word) <= LONGEST:
            if len(self) >= MEMORY:
                self.clear()
            self[word] = number
        return number


def _splits_at_spaces(settings: dict[str, Any]) -> bool:
    """Return whether a tokenizer is known to have a border at every space between two words."""
    normalizer, splits = settings.get("normalizer"), settings.get("pre_tokenizer")
    if normalizer is not None and normalizer.get("type") != "NFC":
        return False
    for token in settings["added_tokens"]:
        if token["single_word"] or token["lstrip"] or token["rstrip"] or re.search(r"\s", token["content"]):
            return False
    steps = () if splits is None else splits.get("pretokenizers", (splits,))
    has_split = any(step.get("use_regex") or step["type"] == "Split" for step in steps)
    return has_split and all(map(_is_known, steps))


def _is_known(step: dict[str, Any]) -> bool:
    match step["type"]:
        case "ByteLevel":
            return not step["add_prefix_space"]
        case "Digits":
            return True
        case "Split":
            is_whole = step["behavior"] == "Isolated" and not step["invert"]
            return is_whole and step["pattern"].get("Regex") in _PATTERNS
    return False
