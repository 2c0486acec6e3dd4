"""How many rows, tokens and packed sequences a recipe's data has: prepared as the job does it, without its stack.

Rows are read, rendered, cut, dropped, held out and mixed by core/data/training_set.py and the objective's own
`examples`, with only the model's tokenizer.json. If that takes too long, the numbers are estimated from rows all over
the files, with an interval.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msgspec import structs

from finetop.core.data import files, packing, sampled, sources, training_set
from finetop.core.data.examples import AnyExample, pieces, through_model
from finetop.core.data.hub import is_local
from finetop.core.data.prompts import open_asker
from finetop.core.data.source_record import Use, name_of
from finetop.core.data.sources import Row
from finetop.core.data.training_set import ReadData
from finetop.core.errors import BadInput
from finetop.core.models.load import read_template
from finetop.core.plan.prepared_rows import Estimate, ExampleMaker, PreparedRows
from finetop.core.plugins import OBJECTIVES, ObjectiveFacts
from finetop.core.protocol.events import DataRead
from finetop.core.recipe import protections as recipe_protections
from finetop.core.recipe.length import packs
from finetop.core.recipe.schema import Recipe, Source
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line

SECONDS = 2.0  # for reading and preparing rows
SHOWN = 4000  # characters of the first row
TRAINED_ON = 4_000_000  # characters that a new tokenizer is trained on: 1 s
COUNTED, ESTIMATED = "by its tokenizer", "from characters"


@dataclass(frozen=True, slots=True)
class Sampled:
    """The part of the rows that was read, and 95 % intervals of the numbers estimated from it."""

    read: int
    of: int
    rows: tuple[int, int]
    tokens: tuple[int, int]
    sequences: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Lengths:
    """What the data amount to in one epoch. Tokens are those that the model reads, long rows cut or left out."""

    rows: int  # learned rows; of texts, their pieces
    eval_rows: int
    tokens: int
    longest: int  # tokens of the longest row, before it is cut or left out
    how: str
    is_whole: bool = True  # False: some sources could not be read
    too_long: int = 0  # rows longer than data.max_tokens, left out or cut as data.on_long sets
    unlearned: int = 0  # rows left out since no token of them is learned
    longest_kept: int | None = None  # tokens of the longest row left; None: up to data.max_tokens
    sequences: int | None = None  # sequences after packing, if the objective packs
    eval_tokens: int = 0
    answer_tokens: int = 0  # learned tokens
    written: int = 0  # rows that the base writes before the first step, at their longest
    reports: tuple[DataRead, ...] = ()  # of each source, as the job reports it; of the prepared rows
    row: tuple[tuple[str, bool], ...] = ()  # the first row, as the model sees it
    sampled: Sampled | None = None
    unused: tuple[str, ...] = ()  # a sentence for each source that has keys which are not read


def measure(recipe: Recipe, folder: Path | None, home: Home, *, seconds: float = SECONDS) -> Lengths | None:
    """Prepare the data of a recipe and measure it; None if none of it is on this machine.

    `folder` is the model's, with its tokenizer.json. Raises BadInput as the job does, as far as tokens are counted: for
    rows of unknown format or refused by the chat template, if no row is left, if too many are too long, and
    for a data set of the hub that HF_HUB_OFFLINE keeps away.
    """
    deadline = time.monotonic() + seconds
    data = recipe_protections.with_sources(recipe)
    evaluation = data.eval if not isinstance(data.eval, tuple) else tuple(filter(is_here, data.eval))
    here = structs.replace(data, train=tuple(filter(is_here, data.train)), eval=evaluation)
    for source in (*data.train, *(data.eval if isinstance(data.eval, tuple) else ())):
        sources.require_reachable(source, home)
    if not here.train:
        return None
    objective = OBJECTIVES.load(recipe.objective.name)
    times: dict[str, float] = {}  # rows that one row stands for, if only part of a file was read
    unsure: list[float] = [0.0]  # squared relative errors of each file's number of rows

    unused: list[str] = []

    def reading(source: Source, _: Use) -> list[Row]:
        part = sampled.read(source, home, tuple(objective.rows))
        unused.append(sources.unused_sentence(name_of(source), part.rows))
        if part.of > len(part.rows):
            times.update(dict.fromkeys((row.place for row in part.rows), part.of / len(part.rows)))
            unsure.append(part.variance / part.of**2)
        return part.rows

    rows = training_set.arranged(here, recipe.train.seed, reading)
    tokenizer, how = tokenizer_of(recipe, folder, objective, rows)
    asker = open_asker(recipe.ask, recipe.data.train, home, shots=False)
    making = ExampleMaker(recipe, objective, tokenizer, asker)
    roles = [source.role for source in here.train]
    pairs = zip(rows.train, roles, strict=True)
    train = [PreparedRows(source, times, asked=role == "train") for source, role in pairs]
    held_back = [PreparedRows(source, times, asked=True) for source in rows.eval]
    making.run([*train, *held_back], deadline)
    is_whole = (len(here.train), here.eval) == (len(data.train), data.eval)
    for prepared in (*train, *held_back):
        prepared.fit(here)
        if how == COUNTED:
            prepared.refuse(here)
    if is_whole:
        kept = [sum(len(prepared.examples) for prepared in group) for group in (train, held_back)]
        training_set.require_rows(*kept, has_eval=bool(held_back), data=here)
    if all(prepared.is_whole for prepared in train):
        lengths = _whole(recipe, train)
    else:
        lengths = _packed_part(recipe, train, _part(train, max(unsure)))
    if is_whole and lengths.sampled is None:
        objective.require_rows(recipe, lengths.rows)
    sizes = [round(prepared.rows.value) for prepared in train]
    shares = [prepared.source.share for prepared in train]
    reports = training_set.mixed_reports([prepared.report for prepared in train], sizes, shares)
    first = next((example for prepared in train for example in prepared.examples), None)
    return replace(
        lengths,
        how=how,
        is_whole=is_whole,
        eval_rows=round(sum(prepared.rows.value for prepared in held_back)),
        eval_tokens=round(sum(prepared.tokens.value for prepared in held_back)),
        longest=max((prepared.report.longest_tokens for prepared in (*train, *held_back)), default=0),
        longest_kept=max(
            (ex.tokens for prepared in (*train, *held_back) for ex in prepared.examples), default=0
        ),
        too_long=round(sum(prepared.too_long.value for prepared in train)),
        unlearned=round(sum(prepared.unlearned.value for prepared in train)),
        reports=(*reports, *(prepared.report for prepared in held_back)),
        row=() if first is None or how != COUNTED else shown(first, tokenizer),
        unused=tuple(filter(None, unused)),
    )


def is_here(source: Source) -> bool:
    """Return whether a source is on this machine: a plan downloads nothing."""
    if source.path is not None:
        return files.is_there(Path(source.path))
    return is_local(str(source.id)) and Path(str(source.id)).is_dir()


def tokenizer_of(
    recipe: Recipe, folder: Path | None, objective: ObjectiveFacts[Any], rows: ReadData
) -> tuple[Any, str]:
    """Return the tokenizer that the job will use, and how tokens are counted. Raises BadInput for a bad template."""
    tokenizer, how = plain_tokenizer(recipe, folder)
    if how == COUNTED:
        trained = objective.light_tokenizer(recipe.objective.options, tokenizer, rows, TRAINED_ON)
        return (tokenizer, ESTIMATED) if trained is None else (trained, COUNTED)
    return tokenizer, how


def plain_tokenizer(recipe: Recipe, folder: Path | None) -> tuple[Any, str]:
    """Return the model's own tokenizer with the recipe's template, or a stand-in. Raises BadInput."""
    from jinja2.exceptions import TemplateError

    from finetop.core.models.fast_tokenizer import Characters, LightTokenizer

    template = read_template(recipe.model.chat_template)
    try:
        if folder is None or not (folder / "tokenizer.json").is_file():
            return Characters(folder, template), ESTIMATED
        return LightTokenizer(folder, template), COUNTED
    except TemplateError as error:
        reason = f"the chat template can't be read: {clean_line(str(error))}"
        raise BadInput(f"{recipe.model.chat_template or folder}: {reason}") from error


def shown(example: AnyExample, tokenizer: Any) -> tuple[tuple[str, bool], ...]:
    """Return the text of an example, each run of it learned or not, as the job shows its first."""
    return tuple((text[:SHOWN], is_learned) for text, is_learned in pieces(example, tokenizer) if text)


def _whole(recipe: Recipe, train: Sequence[PreparedRows]) -> Lengths:
    """Mix the sources as the job does, and count."""
    shares = [prepared.source.share for prepared in train]
    examples = [prepared.examples for prepared in train]
    mixed = training_set.mix(examples, shares, recipe.train.seed, lambda _: None)
    sizes = [through_model(example) for example in mixed]
    written = recipe_protections.written(recipe, len(mixed))
    sizes += [written.tokens] * written.rows
    count, learned = sum(sizes), sum(example.answer_tokens for example in mixed)
    lengths = Lengths(len(sizes), 0, count, longest=0, how="", answer_tokens=learned, written=written.rows)
    return replace(lengths, sequences=packed(recipe, sizes))


def packed(recipe: Recipe, sizes: Sequence[int]) -> int | None:
    """Return the number of sequences after packing; None if the objective does not pack."""
    if not packs(recipe):
        return None
    strategy = str(recipe.trainer_args.get("packing_strategy", "bfd"))
    return packing.sequences(sizes, recipe.data.max_tokens, strategy)


def _part(train: Sequence[PreparedRows], unsure: float) -> Lengths:
    """Estimate from part of the rows what a mix of all amounts to; `unsure` is the variance of a file's share."""
    rows = [entry.rows for entry in train]
    pairs = zip(rows, train, strict=True)
    fixed = sum((each for each, entry in pairs if entry.source.share is None), Estimate(0.0))
    whole = fixed.times(1 / (1 - sum(entry.source.share or 0.0 for entry in train)))
    mixed, tokens, answers = Estimate(0.0), Estimate(0.0), 0.0
    for each, entry in zip(rows, train, strict=True):
        used = each if entry.source.share is None else whole.times(entry.source.share)
        read = entry.tokens
        if entry.source.share is not None and each.value:
            read = Estimate(read.value / each.value, read.variance / each.value**2).by(used)
        mixed, tokens = mixed + used, tokens + read
        answers += used.value * entry.report.answer_tokens / max(1, len(entry.examples))
    both = (mixed, tokens)
    mixed, tokens = (Estimate(each.value, each.variance + unsure * each.value**2) for each in both)
    return Lengths(
        rows=round(mixed.value),
        eval_rows=0,
        tokens=round(tokens.value),
        longest=0,
        how="",
        answer_tokens=round(answers),
        sampled=Sampled(
            read=sum(len(entry.examples_at) for entry in train),
            of=round(sum(entry.of for entry in train)),
            rows=mixed.range,
            tokens=tokens.range,
            sequences=mixed.range,
        ),
    )


def _packed_part(recipe: Recipe, train: Sequence[PreparedRows], lengths: Lengths) -> Lengths:
    """Add to an estimate from a part what the base writes, and the number of packed sequences."""
    assert lengths.sampled is not None
    written = recipe_protections.written(recipe, lengths.rows)
    more = written.rows * written.tokens
    low, high = lengths.sampled.tokens
    sizes = [through_model(example) for prepared in train for example in prepared.examples]
    first, last = (edge + written.rows for edge in lengths.sampled.rows)
    part = replace(lengths.sampled, rows=(first, last), tokens=(low + more, high + more))
    rows, tokens = lengths.rows + written.rows, lengths.tokens + more
    lengths = replace(lengths, rows=rows, tokens=tokens, written=written.rows, sampled=part)
    if (packs := packed(recipe, sizes)) is None:
        return replace(lengths, sampled=replace(part, sequences=part.rows))
    each = packs / max(1, sum(sizes))
    edges = (math.floor(part.tokens[0] * each), math.ceil(part.tokens[1] * each))
    return replace(lengths, sequences=round(lengths.tokens * each), sampled=replace(part, sequences=edges))
