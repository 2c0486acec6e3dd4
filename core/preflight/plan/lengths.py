"""How many rows and tokens a recipe's data has, from its files, without a trainer: counted, or by their characters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from finetop.core.data import files, formats, source_record, sources
from finetop.core.data.formats import Kind, Record
from finetop.core.data.training_set import refuse_too_long, require_rows
from finetop.core.plugins import OBJECTIVES
from finetop.core.recipe.schema import EvalShare, Recipe, Source

MOST_ROWS = 50_000  # of a file are looked at (about 1 s); the rest is taken to be like them
SAMPLED = 200  # rows whose tokens are counted, where there is a tokenizer
TOKENS_PER_WORD = 1.4  # of English text in passages of documents
CHARACTERS_PER_TOKEN = 4.0  # of English text in vocabularies of 30,000 to 150,000 words
COUNTED = "by its tokenizer"
TURN_TOKENS = 5  # that a chat template puts around a turn


@dataclass(frozen=True, slots=True)
class Lengths:
    """What the data come to. Tokens are those that go through the model in one epoch, long texts cut or left out."""

    rows: int
    eval_rows: int
    tokens: int
    longest: int  # tokens of the longest text, at most data.max_tokens
    how: str  # "counted on 200 rows", or "from characters"
    is_whole: bool = True  # false: some sources could not be looked at
    too_long: int = 0  # rows of more than data.max_tokens, left out or cut as data.on_long says


@dataclass(frozen=True, slots=True)
class _File:
    """Tokens of each text of each row that was looked at, and how many rows stand for one."""

    rows: list[list[int]]
    times: float
    looked: int = 0  # rows that were looked at
    too_long: int = 0  # of these, those of more than data.max_tokens
    longest: int = 0  # tokens of the longest, before it is cut


def measure(recipe: Recipe, tokenizer: Path | None) -> Lengths | None:
    """Measure the data files of a recipe; None where none of them is a local file that is there.

    `tokenizer` is a folder with a tokenizer.json. Raises BadInput for rows of no known shape; and as the job does where
    no row is left, or too many are too long, as far as tokens are counted.
    """
    count, how = counter(tokenizer)
    kinds = tuple(getattr(OBJECTIVES.load(recipe.objective.name), "ROWS", ("conversation",)))
    named = [
        source
        for source in recipe.data.train
        if source.path is not None and files.is_there(Path(source.path))
    ]
    if not named:
        return None
    fixed = shared = longest = 0.0
    tokens = 0.0
    shares = 0.0
    made = [
        (source, _kept(_read(source, kinds, count, _put_before(source, recipe, count)), recipe))
        for source in named
    ]
    set_aside = recipe.data.eval.share if isinstance(recipe.data.eval, EvalShare) else 0.0
    eval_rows = 0.0
    for source, file in made:
        rows = len(file.rows) * file.times
        aside = rows * set_aside if source.role == "train" else 0.0
        eval_rows += aside
        longest = max([longest, *(max(row) for row in file.rows)])
        if source.share is None:
            fixed += rows - aside
            tokens += sum(map(sum, file.rows)) * file.times * (1 - aside / rows if rows else 1)
        else:
            shares += source.share
    whole = fixed / (1 - shares) if shares < 1 else fixed
    for source, file in made:
        if source.share is not None and file.rows:
            mean = sum(map(sum, file.rows)) / len(file.rows)
            shared += source.share * whole
            tokens += source.share * whole * mean
    if not isinstance(recipe.data.eval, EvalShare):
        eval_rows = sum(_rows_of(source, kinds, count, recipe) for source in recipe.data.eval)
    for source, file in made if how == COUNTED else ():
        refuse_too_long(source_record.name_of(source), file.too_long, file.looked, file.longest, recipe.data)
    if len(named) == len(recipe.data.train):
        require_rows(sum(len(file.rows) for _, file in made), 0, has_eval=False, data=recipe.data)
    return Lengths(
        rows=round(fixed + shared),
        eval_rows=round(eval_rows),
        tokens=round(tokens),
        longest=round(longest),
        how=how,
        is_whole=len(named) == len(recipe.data.train),
        too_long=round(sum(file.too_long * file.times for _, file in made)),
    )


def _rows_of(source: Source, kinds: Sequence[Kind], count: Callable[[str], int], recipe: Recipe) -> float:
    if source.path is None or not files.is_there(Path(source.path)):
        return 0.0
    file = _kept(_read(source, kinds, count, _put_before(source, recipe, count)), recipe)
    return len(file.rows) * file.times


def _put_before(source: Source, recipe: Recipe, count: Callable[[str], int]) -> int:
    """Count the tokens that `ask` puts into each row's prompt: the system turn, and passages of full length."""
    ask = recipe.ask
    if source.role == "replay":
        return 0
    passages = ask.top_k * ask.chunk_words * TOKENS_PER_WORD if ask.documents else 0.0
    return round(passages) + (count(ask.system) + TURN_TOKENS if ask.system else 0)


def _read(source: Source, kinds: Sequence[Kind], count: Callable[[str], int], before: int) -> _File:
    rows: list[list[int]] = []
    most = min(MOST_ROWS, source.rows or MOST_ROWS)
    read = sources.stream(source, None, kinds)
    for row in islice(read, most):
        asks = 0 if isinstance(row.record, formats.Text) else before
        rows.append([asks + _tokens(text, count) for text in texts(row.record)])
    if len(rows) < MOST_ROWS or (source.rows is not None and len(rows) >= source.rows):
        return _File(rows, 1.0)
    rest = sum(1 for _ in sources.rows(source, None))
    return _File(rows, min(rest, source.rows or rest) / len(rows))


def _kept(file: _File, recipe: Recipe) -> _File:
    """Cut or drop long rows as the recipe says; plain text is cut into pieces, which are rows of their own."""
    most = recipe.data.max_tokens
    rows: list[list[int]] = []
    too_long = longest = 0
    for row in file.rows:
        if recipe.objective.name in ("pretrain", "continued-pretraining"):
            whole, rest = divmod(sum(row), most)
            rows += [[most]] * whole + ([[rest]] if rest > 1 else [])
            continue
        too_long += max(row) > most
        longest = max(longest, *row)
        if max(row) <= most:
            rows.append(row)
        elif recipe.data.on_long == "truncate":
            rows.append([min(length, most) for length in row])
    return _File(rows, file.times, len(file.rows), too_long, longest)


def texts(record: Record) -> list[list[str]]:
    """The texts of a record that go through the model, each as its turns."""
    match record:
        case formats.Conversation():
            return [_strings([*record.prompt, record.answer, *record.tools, *record.calls])]
        case formats.Preference(prompt, chosen, rejected):
            return [_strings([*prompt, chosen]), _strings([*prompt, rejected])]
        case formats.Text(text):
            return [[text]]
        case formats.Labelled(prompt, answer):
            return [_strings([*prompt, answer])]
        case formats.Prompt(prompt):
            return [_strings([*prompt])]
    raise TypeError(type(record).__name__)


def _strings(turns: Sequence[Any]) -> list[str]:
    return ["".join(_leaves(turn)) for turn in turns]


def _leaves(value: Any) -> list[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        return [value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in dataclasses.fields(value) if field.name != "role"]
    if isinstance(value, dict):
        value = [part for pair in value.items() for part in pair]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _leaves(part)]
    return [] if value is None else [str(value)]


def _tokens(turns: list[str], count: Callable[[str], int]) -> int:
    around = TURN_TOKENS * len(turns) if len(turns) > 1 else 0
    return sum(count(turn) for turn in turns) + around


def counter(folder: Path | None) -> tuple[Callable[[str], int], str]:
    """Return a way to count a text's tokens: by the tokenizer for the first texts, then at their rate; and its name."""
    file = None if folder is None else folder / "tokenizer.json"
    if file is None or not file.is_file():
        return lambda text: math.ceil(len(text) / CHARACTERS_PER_TOKEN), "from characters"
    from finetop.core.models.load import tokenizer_file

    tokenizer: Any = tokenizer_file(file.parent)
    seen = {"texts": 0, "characters": 0, "tokens": 0}

    def count(text: str) -> int:
        if seen["texts"] >= SAMPLED and seen["tokens"]:
            return math.ceil(len(text) * seen["tokens"] / seen["characters"])
        found = len(tokenizer.encode(text, add_special_tokens=False).ids)
        seen["texts"] += 1
        seen["characters"] += len(text)
        seen["tokens"] += found
        return found

    return count, COUNTED
