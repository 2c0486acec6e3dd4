"""The rows of a run: read, mixed, rendered, truncated or dropped as the recipe says, and all of them counted."""

from __future__ import annotations

import hashlib
import random
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msgspec import structs

from finetop.core.data import source_record, sources
from finetop.core.data.examples import AnyExample, Example, pieces
from finetop.core.data.formats import Kind, Prompt, Text, as_prompt
from finetop.core.errors import BadInput
from finetop.core.protocol.events import DataRead, FirstRow, Phase
from finetop.core.recipe.schema import Data, EvalShare, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from finetop.core.data.prompts import Asker
    from finetop.core.data.sources import Row
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home

    MakeExamples = Callable[[Sequence[Row]], list[list[AnyExample]]]  # returns the examples of each row
    Reading = Callable[[Source, source_record.Use], list[Row]]
    Shares = Sequence[float | None]  # of the training mix; None: all rows

BLOCK = 1000  # rows rendered between two progress events


@dataclass(frozen=True, slots=True)
class NamedRows:
    """The rows of one source, read but not yet rendered."""

    name: str
    rows: list[Row]
    share: float | None = None


@dataclass(frozen=True, slots=True)
class ReadData:
    """All rows of a run as written; evaluation rows come from their own sources, or are held out."""

    train: list[NamedRows]
    eval: list[NamedRows]

    def prompts(self, count: int) -> list[Prompt]:
        """Return the first prompts of the evaluation rows, or of the training rows if there are none."""
        named = self.eval or self.train
        records = [row.record for source in named for row in source.rows[:count]]
        return [as_prompt(record) for record in records[:count] if not isinstance(record, Text)]


@dataclass(frozen=True, slots=True)
class Examples:
    train: list[AnyExample]
    eval: list[AnyExample]


def read(
    data: Data,
    seed: int,
    home: Home,
    events: EventLog,
    kinds: Sequence[Kind] = ("conversation",),
    run_folder: Path | None = None,
    asker: Asker | None = None,
) -> ReadData:
    """Read every source and hold out rows for evaluation. Raises BadInput with file, line, value and fix.

    Each source is recorded as an event, its row hashes in the run's folder, if given. `asker` builds prompts that are
    not replayed.
    """
    events.write(Phase("reading data"))

    def reading(source: Source, use: source_record.Use) -> list[Row]:
        seen = source_record.begin(source)
        rows = sources.read(source, home, kinds, seen)
        if unused := sources.unused_sentence(source_record.name_of(source), rows):
            print(unused)
        seen.system = source_record.common_system([row.record for row in rows])
        events.write(source_record.record(source, use, seen, run_folder))
        return rows

    return arranged(data, seed, reading, asker)


def arranged(data: Data, seed: int, reading: Reading, asker: Asker | None = None) -> ReadData:
    """Read every source with `reading`, a job's or a plan's, and hold out rows for evaluation. Raises BadInput."""
    if not data.train:
        hint = "Name a file: data.train: [{path: …}]."
        raise BadInput("data.train: there is nothing to learn from.", hint=hint)
    train = []
    for source in data.train:
        rows = reading(source, source.role)
        if source.role == "train":
            rows = with_prompts(rows, asker)
        train.append(NamedRows(source_record.name_of(source), rows, source.share))
    if isinstance(data.eval, EvalShare):
        train, held_back = held_out(train, [source.role for source in data.train], data.eval.share, seed)
    else:
        names = [source_record.name_of(source) for source in data.eval]
        rows_of_eval = [with_prompts(reading(source, "eval"), asker) for source in data.eval]
        held_back = list(map(NamedRows, names, rows_of_eval))
    return ReadData(train, [source for source in held_back if source.rows])


def with_prompts(rows: list[Row], asker: Asker | None) -> list[Row]:
    """Return rows with their prompts as the model gets them."""
    return rows if asker is None else [replace(row, record=asker.asked(row.record)) for row in rows]


def held_out(
    train: Sequence[NamedRows], roles: Sequence[str], share: float, seed: int
) -> tuple[list[NamedRows], list[NamedRows]]:
    """Hold out a share of the training mix for evaluation, from each source by its part; replayed ones stay whole."""
    parts = in_mix([len(source.rows) for source in train], [source.share for source in train])
    kept, held_back = [], []
    for source, role, part in zip(train, roles, parts, strict=True):
        # one that is used several times keeps at least half of its rows
        most = len(source.rows) - 1 if part <= len(source.rows) else len(source.rows) // 2
        count = min(round(part * share), most) if role == "train" else 0
        rows, aside = set_aside(source.rows, count, seed)
        kept.append(replace(source, rows=rows))
        if aside:
            held_back.append(NamedRows(f"{source.name} (set aside)", aside))
    return kept, held_back


def set_aside(rows: Sequence[Row], count: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Split rows into those to train on and `count` others drawn by the seed."""
    chosen = set(random.Random(seed).sample(range(len(rows)), count))
    kept = [row for index, row in enumerate(rows) if index not in chosen]
    return kept, [rows[index] for index in sorted(chosen)]


def build(
    read_data: ReadData,
    data: Data,
    make: MakeExamples,
    seed: int,
    tokenizer: PreTrainedTokenizerBase,
    events: EventLog,
) -> Examples:
    """Make (with `make`) the examples of all rows, fit them to data.max_tokens, and mix them. Raises BadInput."""
    shares = [source.share for source in read_data.train]
    by_source = [_examples(source, data, make, events) for source in read_data.train]
    train = [part.examples for part in by_source]
    for report in mixed_reports([part.report for part in by_source], [*map(len, train)], shares):
        _report(report, events)
    held_back = []
    for source in read_data.eval:
        of_source = _examples(source, data, make, events)
        _report(of_source.report, events)
        held_back.append(of_source.examples)
    require_rows(sum(map(len, train)), sum(map(len, held_back)), has_eval=bool(read_data.eval), data=data)
    _show_first_row(next(example for examples in train for example in examples), tokenizer, events)
    return Examples(mix(train, shares, seed), [example for examples in held_back for example in examples])


def mix(
    groups: Sequence[list[AnyExample]], shares: Shares, seed: int, say: Callable[[str], None] = print
) -> list[AnyExample]:
    """Combine sources by their shares, drawn by the seed; one too small is repeated, which `say` reports."""
    mixed: list[AnyExample] = []
    for group, share, part in zip(groups, shares, in_mix([*map(len, groups)], shares), strict=True):
        if share is None or not group:
            mixed += group
            continue
        times, rest = divmod(round(part), len(group))
        if times:
            say(f"{len(group)} rows are used {times + rest / len(group):.1f} times to reach their share")
        mixed += group * times + random.Random(seed).sample(group, rest)
    return mixed


def in_mix(sizes: Sequence[int], shares: Shares) -> list[float]:
    """Return how many rows of each source are in the mix: all, or its share of the whole; 0 of an empty source."""
    sources = list(zip(sizes, shares, strict=True))
    fixed = sum(size for size, share in sources if share is None)
    whole = fixed / (1.0 - sum(share for share in shares if share is not None))
    return [float(size) if share is None else share * whole * bool(size) for size, share in sources]


def mixed_reports(reports: Sequence[DataRead], sizes: Sequence[int], shares: Shares) -> list[DataRead]:
    """Add to the reports of sources with a share how many of their examples (`sizes`) are in the mix."""
    sources = zip(reports, shares, in_mix(sizes, shares), strict=True)
    return [
        report if share is None else structs.replace(report, used=round(part))
        for report, share, part in sources
    ]


def _examples(source: NamedRows, data: Data, make: MakeExamples, events: EventLog) -> Fitted:
    """Make the examples of one source. Raises BadInput if too many are too long, after reporting the source."""

    def examples_of_rows() -> Iterator[list[AnyExample]]:
        total = len(source.rows)
        for start in range(0, total, BLOCK):
            events.write(Phase("preparing data", done=float(start), total=float(total), unit="rows"))
            yield from make(source.rows[start : start + BLOCK])

    result = fitted(source.name, examples_of_rows(), data)
    if result.rewritten:
        why = "earlier answers are not learned: the chat template rewrites them"
        print(f"{source.name}: {result.rewritten} {why}")
    report = result.report
    try:
        refuse_too_long(source.name, result.too_long, report.rows, report.longest_tokens, data)
    except BadInput:
        _report(report, events)
        raise
    return result


def _report(report: DataRead, events: EventLog) -> None:
    """Write and print a source's report."""
    events.write(report)
    used = "" if report.used is None else f", {report.used} used in the mix"
    print(
        f"{report.source}: {report.rows} rows, {report.kept} kept{used}, {report.dropped} dropped, "
        f"{report.truncated} truncated, longest {report.longest_tokens} tokens, {report.answer_tokens} tokens to learn"
    )


@dataclass(frozen=True, slots=True)
class Fitted:
    """The examples of one source that are left, and the counts made on the way."""

    examples: list[AnyExample]
    report: DataRead
    too_long: int  # examples of more than data.max_tokens
    unlearned: int  # examples left out since no token of them is learned: weight 0, or cut off
    rewritten: int  # earlier answers that the chat template changes


def fitted(name: str, examples: Iterable[list[AnyExample]], data: Data) -> Fitted:
    """Truncate or drop the examples that are too long, and count; `examples` yields those of each row of the source."""
    kept: list[AnyExample] = []
    rows = used = longest = too_long = unlearned = truncated = rewritten = 0
    fingerprint = hashlib.sha256()
    for of_row in examples:
        rows += 1
        before = len(kept)
        for example in of_row:
            rewritten += getattr(example, "rewritten", 0)
            longest = max(longest, example.tokens)
            is_long = example.tokens > data.max_tokens
            if is_long:
                too_long += 1
                if data.on_long != "truncate":
                    continue
                example = example.cut(data.max_tokens)  # from here on the truncated one counts
            if not example.answer_tokens:
                unlearned += 1
                continue  # nothing to learn, and a batch of only such rows would divide by zero
            truncated += is_long
            fingerprint.update(_as_bytes(example))
            kept.append(example)
        used += len(kept) > before
    report = DataRead(
        source=name,
        rows=rows,
        kept=used,
        dropped=rows - used,
        truncated=truncated,
        longest_tokens=longest,
        answer_tokens=sum(example.answer_tokens for example in kept),
        fingerprint=fingerprint.hexdigest(),
    )
    return Fitted(kept, report, too_long, unlearned, rewritten)


def _as_bytes(example: AnyExample) -> bytes:
    """Return an example's content, for the fingerprint of the data."""
    if isinstance(example, Example):
        return array("q", [example.tokens, *example.input_ids, *example.labels]).tobytes()
    written = b""
    for value in example.columns().values():
        is_list = isinstance(value, list)
        written += array("q", [len(value), *value]).tobytes() if is_list else repr(value).encode()
    return written


def require_rows(train: int, held_back: int, *, has_eval: bool, data: Data) -> None:
    """Check that training rows are left, and evaluation rows if there were any. Raises BadInput."""
    long = f"longer than data.max_tokens ({data.max_tokens}), or had no answer within"
    why = f"All rows were {long}: raise it. Or no answer was to be learned (weight 0)."
    if not train:
        raise BadInput("data.train: no row is left to learn from.", hint=why)
    if has_eval and not held_back:
        hint = f"{why} Or set data.eval.share to 0."
        raise BadInput("data.eval: no row is left to evaluate on.", hint=hint)


def refuse_too_long(name: str, long_rows: int, rows: int, longest: int, data: Data) -> None:
    """Apply data.on_long to a source's rows that are too long. Raises BadInput."""
    if not data.on_long.startswith("error-over-"):
        return
    allowed = int(data.on_long.removeprefix("error-over-").removesuffix("%"))
    if 100 * long_rows > allowed * rows:
        hint = f"Raise data.max_tokens, or set data.on_long to truncate or drop (now {data.on_long})."
        limit = f"data.max_tokens ({data.max_tokens}); the longest has {longest}"
        raise BadInput(f"{name}: {long_rows} of {rows} rows are longer than {limit}.", hint=hint)


def _show_first_row(first: AnyExample, tokenizer: PreTrainedTokenizerBase, events: EventLog) -> None:
    """Show the first row as the model sees it: the most important mistakes are visible at a glance."""
    text_runs = pieces(first, tokenizer)
    events.write(FirstRow(text_runs))
    print("the first row, with the learned text in ⟦ ⟧:")
    print("".join(f"⟦{text}⟧" if is_learned else text for text, is_learned in text_runs))
