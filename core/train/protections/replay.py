"""Replay: general rows among the training rows, from a file or written by the base itself before the first step.

What the base writes are samples of its own distribution, asked by prompts of a file or, without one, by itself: an
instruction-tuned model that is shown the beginning of a user's turn goes on with a question (arXiv:2406.08464), which
it then answers (self-synthesized rehearsal, arXiv:2403.01244). At temperature 1 such rows pull the base nowhere on
average. They are kept as tokens in the run folder (replay.jsonl), and read from there when the run is resumed. Rows
whose answer did not end within max_new_tokens are learned up to there, without an end.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.recipe.columns import Columns, Labels, problems as column_problems
from finetop.core.train import objectives

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from finetop.core.data.examples import AnyExample
    from finetop.core.data.formats import Message
    from finetop.core.data.sources import Row
    from finetop.core.recipe.schema import Recipe, Source
    from finetop.core.runtime.home import Home
    from finetop.core.train.protections._step import Base

ABOUT = "general rows among the training rows, of a file or written by the base itself"
SHORT = None
FILE = "replay.jsonl"
BATCH = 32  # texts that are written together
QUESTION_TOKENS = 64  # of a question that the base asks itself, half of data.max_tokens at most
MOST_TRIES = 3  # texts asked for each row that is wanted: some are empty, or too long
QUESTION_TOP_P = 0.9  # a question from the tail asks nothing

PathText = Annotated[str, Meta(min_length=1, max_length=4096)]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `protect.replay:`."""

    path: Annotated[
        PathText | None,
        Meta(
            description="General rows, in a shape that the objective reads: a file, or a folder of one type.",
            extra={"path": "file"},
        ),
    ] = None
    columns: Columns = {}
    labels: Labels = {}
    share: Annotated[
        float, Meta(gt=0, lt=1, description="Share of all training rows that are replayed (0 to 1).")
    ] = 0.2
    from_base: Annotated[
        Annotated[int, Meta(ge=1, le=10**6)] | None,
        Meta(
            description="Have the base write rows before step 1, at most so many and no more than share asks for."
        ),
        Meta(extra={"instead_of": "path"}),
    ] = None
    prompts: Annotated[
        PathText | None,
        Meta(
            description="Rows of prompts for from_base; without, it asks itself.",
            extra={"path": "file"},
        ),
    ] = None
    max_new_tokens: Annotated[
        int, Meta(ge=1, le=10**5, description="Longest answer that the base writes, in tokens.")
    ] = 96
    temperature: Annotated[
        float, Meta(gt=0, le=10, description="1 samples what the base would say; below, its likeliest.")
    ] = 1.0


def is_on(options: Options) -> bool:
    """It is, once anything is written."""
    return options != Options()


def limits(recipe: Recipe, options: Options) -> Iterator[tuple[str, str, str]]:
    """Refuse no rows, two kinds of them, shares that leave no room, and what the base can't write."""
    key = "protect.replay"
    if (options.path is None) == (options.from_base is None):
        said = "neither path nor from_base" if options.path is None else "both path and from_base"
        if options.path is None:
            hint = f"Set {key}.path to a file of rows, or {key}.from_base to a number of rows."
        else:
            hint = f"Set {key}.from_base to null, or {key}.path to null."
        yield key, f"{key} has {said}.", hint
    if options.prompts is not None and options.from_base is None:
        said = f"{key}.prompts are for from_base, which is not set."
        yield f"{key}.prompts", said, f"Set {key}.prompts to null."
    yield from column_problems(options.columns, options.labels, key)
    shares = [source.share for source in recipe.data.train if source.share is not None]
    if shares and options.share + sum(shares) >= 1:
        said = f"{key}.share: {options.share:g} and the shares of data.train add up to 1 or more."
        yield f"{key}.share", said, f"Set it below {1 - sum(shares):.2g}."
    kind = objectives.load(recipe.objective.name).ROWS[0]
    if options.from_base is None:
        return
    if kind not in ("conversation", "text"):
        said = f"{key}.from_base: {recipe.objective.name} does not learn from answers that the base writes."
        hint = f"Set {key}.path to rows of the kind that it learns from, and {key}.from_base to null."
        yield f"{key}.from_base", said, hint
    elif options.prompts is not None and kind == "text":
        said = (
            f"{key}.prompts: {recipe.objective.name} learns plain texts, which the base writes from nothing."
        )
        yield f"{key}.prompts", said, f"Set {key}.prompts to null."


def paths(options: Options) -> Iterator[tuple[str, str]]:
    """Name the files."""
    for name in ("path", "prompts"):
        if getattr(options, name) is not None:
            yield f"protect.replay.{name}", getattr(options, name)


def sources(options: Options) -> tuple[Source, ...]:
    """Return the file as a source of training rows."""
    from finetop.core.recipe.schema import Source

    if options.path is None:
        return ()
    return (
        Source(
            path=options.path,
            columns=options.columns,
            labels=options.labels,
            share=options.share,
            role="replay",
        ),
    )


def look(options: Options, home: Home) -> list[Row]:
    """Read the file of prompts; nothing without one. Raises BadInput."""
    from finetop.core.data import sources
    from finetop.core.recipe.schema import Source

    if options.prompts is None:
        return []
    return sources.read(Source(path=options.prompts), home, ("prompt", "conversation"))


def written(options: Options, recipe: Recipe, rows: int) -> tuple[int, int]:
    """Count the rows of the base's own that are learned beside so many others, and the tokens of one, at most."""
    if options.from_base is None:
        return 0, 0
    asked = 0 if objectives.load(recipe.objective.name).ROWS[0] == "text" else QUESTION_TOKENS
    tokens = min(recipe.data.max_tokens, asked + options.max_new_tokens)
    return round(options.share * (rows / (1 - options.share))), tokens


def rows(options: Options, base: Base, train: list[AnyExample]) -> list[AnyExample]:
    """Mix in what the base writes, or wrote for this run before. Raises BadInput for prompts that can't be read."""
    if options.from_base is None:
        return train
    from finetop.core.data import training_set

    file = base.run_folder / FILE
    if not file.is_file():
        write(options, base, file, min(options.from_base, needed(options.share, len(train))))
    made = read(file)
    tokens = sum(example.answer_tokens for example in made)
    print(f"protect.replay: {len(made)} rows of the base's own, {tokens:,} tokens to learn, kept in {FILE}")
    return training_set.mix([train, made], [None, options.share], base.recipe.train.seed)


def needed(share: float, rows: int) -> int:
    """Count the rows of the base that make this share beside so many others; at least one."""
    return max(1, round(share * rows / (1 - share)))


class Written(msgspec.Struct, frozen=True):
    """A row of replay.jsonl: what it says, its tokens, and from which on they are learned."""

    text: str
    input_ids: list[int]
    learned_from: int


def read(file: Path) -> list[AnyExample]:
    """Read the rows that the base wrote. Raises EnvironmentTrouble if the file is spoilt."""
    from finetop.core.data.examples import IGNORED, Example

    try:
        written = [msgspec.json.decode(line, type=Written) for line in file.read_bytes().splitlines()]
    except (msgspec.DecodeError, OSError) as error:
        raise EnvironmentTrouble(
            f"{file.name}: {error}", hint=f"Remove {file}: it is written anew."
        ) from error
    return [
        Example(row.input_ids, [IGNORED] * row.learned_from + row.input_ids[row.learned_from :])
        for row in written
    ]


def write(options: Options, base: Base, file: Path, wanted: int) -> None:
    """Have the base write so many rows, and put them into a file all at once. Raises BadInput if it wrote nothing."""
    import torch

    from finetop.core.protocol.events import Phase

    began = time.monotonic()
    seed = base.recipe.train.seed
    asked = _asked(options, base)
    made: list[Written] = []
    was_training = base.model.training
    base.model.eval()
    devices = [base.model.device] if base.model.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        tries = 0
        while len(made) < wanted and tries < MOST_TRIES * wanted:
            count = min(BATCH, wanted - len(made))
            base.events.write(Phase("writing replay rows", float(len(made)), float(wanted), "rows"))
            print(f"protect.replay: {len(made)} of {wanted} rows written", flush=True)
            turns = [asked[(tries + at) % len(asked)] for at in range(count)] if asked else []
            made += _answers(options, base, turns or _questions(base, count))
            tries += count
    base.model.train(was_training)
    if not made:
        hint = "Give protect.replay.prompts, or rows of your own as protect.replay.path."
        raise BadInput("protect.replay.from_base: the base wrote no answer.", hint=hint)
    aside = file.with_suffix(".partial")
    aside.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in made))
    aside.replace(file)
    print(
        f"protect.replay: the base wrote {len(made)} rows of {wanted} in {time.monotonic() - began:.1f} s",
        flush=True,
    )


def _asked(options: Options, base: Base) -> list[list[int]]:
    """Return the prompts of the file as tokens, drawn by the seed, all before one comes again; none without a file."""
    if options.prompts is None:
        return []
    from finetop.core.data.formats import as_prompt
    from finetop.core.data.render import prompt_ids

    given = look(options, base.home)
    random.Random(base.recipe.train.seed).shuffle(given)
    wanted = options.from_base or 0
    return [prompt_ids(as_prompt(row.record).prompt, base.tokenizer, row.place) for row in given[:wanted]]


def _questions(base: Base, count: int) -> list[list[int]]:
    """Have the base begin: a user's turn that it writes, as a prompt; or nothing, where plain texts are learned."""
    from finetop.core.data.formats import Message
    from finetop.core.data.render import prompt_ids

    if base.objective.ROWS[0] == "text":
        first = base.tokenizer.bos_token_id
        return [[base.tokenizer.eos_token_id if first is None else first]] * count
    opening = base.tokenizer(_opening(base.tokenizer), add_special_tokens=False).input_ids
    most = min(QUESTION_TOKENS, max(1, base.recipe.data.max_tokens // 2))
    written = _sample(base, [opening] * count, most, 1.0, QUESTION_TOP_P)
    texts = [base.tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in written]
    turns: Sequence[tuple[Message, ...]] = [(Message("user", text),) for text in texts if text]
    return [prompt_ids(turn, base.tokenizer, "protect.replay") for turn in turns]


def _opening(tokenizer: Any) -> str:
    """Return what a chat template writes before a user's words."""
    from finetop.core.data.formats import Message
    from finetop.core.data.render import render_prompt

    mark = "\ue000"
    return render_prompt((Message("user", mark),), tokenizer).partition(mark)[0]


def _answers(options: Options, base: Base, prompts: list[list[int]]) -> list[Written]:
    """Have the base answer; a row without an answer, or longer than data.max_tokens, is left out."""
    most = base.recipe.data.max_tokens
    prompts = [prompt for prompt in prompts if len(prompt) < most]
    if not prompts:
        return []
    answers = _sample(base, prompts, options.max_new_tokens, options.temperature, 1.0)
    is_text = base.objective.ROWS[0] == "text"
    made = []
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = [*prompt, *answer][:most]
        if answer:
            text = base.tokenizer.decode(ids)
            made.append(Written(text, ids, 0 if is_text else len(prompt)))
    return made


def _sample(
    base: Base, prompts: list[list[int]], most: int, temperature: float, top_p: float
) -> list[list[int]]:
    """Sample what follows each prompt, up to the first token that ends it, which belongs to it."""
    from transformers import GenerationConfig

    from finetop.core.models import engine
    from finetop.core.models.forward import end_tokens

    ends = end_tokens(base.model, base.tokenizer)
    pad = base.tokenizer.pad_token_id if base.tokenizer.pad_token_id is not None else ends[0]
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_p=top_p,
        top_k=0,
        max_new_tokens=most,
        pad_token_id=pad,
        eos_token_id=ends,
    )
    return engine.write(base.model, prompts, config, "exact")
