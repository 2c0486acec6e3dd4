"""Lints: every row once, through the workers to the findings, then what they make of it.

Blocks of 256 lines go to two workers in turn, and what they saw comes back in the order of the rows, so a report never
depends on which was faster. A row lives in a worker as long as its block: findings keep small plain data of it, nothing
else, so that 5 GB stream. Rows come in one sequence: those to train on, then evaluation, then test.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from finetop.core.data import sources
from finetop.core.data.formats import Kind, load as load_format
from finetop.core.data.prompts import open_asker
from finetop.core.errors import BadInput, FinetopError, NotFound, did_you_mean
from finetop.core.features.lint import findings as rules, fix as fixing, lines
from finetop.core.features.lint.findings import Finder, Fix
from finetop.core.features.lint.lines import Block, Read, Unread
from finetop.core.features.lint.report import (
    LEARNED,
    Finding,
    Lengths,
    LintRequest,
    Report,
    SourceFacts,
    SourceRole,
    Trouble,
)
from finetop.core.features.lint.row import Lens, format_of, kinds_for
from finetop.core.features.lint.second_pass import Whole
from finetop.core.features.lint.worker import BlockRunner, Seen, Setup
from finetop.core.features.lint.worker_pool import open_workers
from finetop.core.models.load import read_template
from finetop.core.plan import inputs
from finetop.core.plugins import OBJECTIVES
from finetop.core.protocol.runs import UNKNOWN
from finetop.core.recipe.load import recipe_from_resolved
from finetop.core.recipe.schema import Model, Recipe, Source
from finetop.core.runtime.home import Home
from finetop.core.runtime.parts import require
from finetop.core.text import plain

SEVERITIES = ("error", "warning", "note")
PASSED_OVER = 20  # unusable documents that are named
ORDER: tuple[SourceRole, ...] = ("train", "replay", "eval", "test")
Say = Callable[[str, float, float], None]  # phase, done, total


@dataclass
class _Counted:
    """Totals over the rows of all blocks so far."""

    rows: int = 0
    tokens: int = 0
    learned: int = 0
    kept: int = 0
    over: int = 0
    lengths: Counter[int] = field(default_factory=Counter)

    def add(self, seen: Seen, most: int | None, *, is_learned: bool) -> None:
        """Add a block; lengths are counted only for rows that are trained on."""
        self.rows += len(seen.counts)
        if not is_learned:
            return
        for tokens, learned, kept, is_read in seen.counts:
            if is_read:
                self.tokens += tokens
                self.learned += learned
                self.kept += kept
                self.lengths[tokens] += 1
                self.over += most is not None and tokens > most


def chosen(request: LintRequest) -> tuple[str, ...]:
    """Return the findings to run. Raises NotFound for unknown names."""
    names = rules.names()
    for name in (*request.only, *request.skip):
        if name not in names:
            raise NotFound(f"there is no finding {name[:60]!r}.", hint=did_you_mean(name[:60], names))
    wanted = [name for name in request.only or names if name not in request.skip]
    options = ("", *request.options)
    return tuple(name for name in names if name in wanted and rules.load(name).option in options)


def run(request: LintRequest, home: Home, say: Say) -> Report:
    """Check all rows, and return the report. Raises BadInput for data that can't be read at all."""
    began = time.monotonic()
    names = chosen(request)
    if "loss" in request.options and request.recipe is None and request.model is None:
        raise BadInput("--loss needs a model.", hint="Name a recipe, or --model ID.")
    recipe = None if request.recipe is None else recipe_from_resolved(request.recipe)
    reads = [lines.opened(source, role, request.most_rows) for source, role in _sources(request, recipe)]
    _tell_apart(reads)
    if request.fix is not None:
        fixing.require_place(Path(request.fix), reads)
    notes: list[str] = []
    lens, setup = _setup(request, recipe, names, reads, home, notes)
    notes += _documents(recipe, home)
    finders = {name: (rule := rules.load(name)).finder(rule, lens) for name in names}
    hearers: dict[Any, list[Finder]] = {}
    for name in names:  # findings that share a `scan` get the same results
        hearers.setdefault(type(rules.load(name)).scan, []).append(finders[name])
    counted = _Counted()
    with open_workers(setup, request.workers, sum(map(lines.size_of, reads))) as looked:
        for seen in looked(_blocks(reads, home, lens, say)):
            counted.add(seen, lens.max_tokens, is_learned=reads[seen.source].role in LEARNED)
            for name, sights in seen.sights.items():
                for finder in hearers[type(rules.load(name)).scan]:
                    for index, sight in sights:
                        finder.add(seen.at + index, sight)
    notes += [f"{read.name}: not used: {', '.join(read.unused)}" for read in reads if read.unused]
    notes += [f"{read.name}: its first {read.rows:,} rows were checked" for read in reads if read.is_cut]
    scanner = BlockRunner(Setup((), setup.sources, lens))
    rows_of = partial(scanner.rows_of, measured=False)
    whole = Whole(reads, home, rows_of, say, request, notes, _model(request, recipe))
    findings: list[Finding] = []
    for finder in finders.values():
        findings += finder.finish(whole)
    fixed = unfixed = None
    if request.fix is not None:
        try:
            fixed = fixing.write(Path(request.fix), whole, _fixes(finders, whole))
        except FinetopError as error:  # such as a full disk: the findings are reported all the same
            unfixed = Trouble(error.message, error.hint, error.exit_code)
    findings = sorted(findings, key=_worst_first)
    return Report(
        sources=tuple(
            SourceFacts(read.name, read.role, read.format or "unknown", read.rows, read.bytes, read.sha256)
            for read in reads
        ),
        rows=counted.rows,
        lengths=_lengths(counted, lens, setup),
        findings=tuple(findings),
        looked_for=names,
        seconds=round(time.monotonic() - began, 3),
        notes=tuple(notes),
        fixed=fixed,
        unfixed=unfixed,
    )


def _tell_apart(reads: Sequence[Read]) -> None:
    """Name files by their paths if files in different folders have the same name."""
    names = Counter(name for name, _ in {(read.name, read.source.path) for read in reads})
    for read in reads:
        if names[read.name] > 1 and read.source.path is not None:
            read.name = read.source.path


def _documents(recipe: Recipe | None, home: Home) -> list[str]:
    """Return which documents for prompts can't be used. Raises BadInput if none can."""
    if recipe is None or not recipe.ask.documents:
        return []
    asker = open_asker(recipe.ask, recipe.data.train, home, shots=False)
    return [] if asker is None else asker.passed_over[:PASSED_OVER]


def _worst_first(finding: Finding) -> tuple[int, bool, int, str]:
    is_grave = rules.load(finding.name).is_grave
    return SEVERITIES.index(finding.severity), not is_grave, -finding.count, finding.name


def _fixes(finders: Mapping[str, Finder], whole: Whole) -> dict[int, list[tuple[str, Fix]]]:
    """Collect the fixes of each row, with the finding that wants them."""
    wanted: dict[int, list[tuple[str, Fix]]] = {}
    for name, finder in finders.items():
        for fix in finder.fixes(whole):
            wanted.setdefault(fix.at, []).append((name, fix))
    return wanted


def _sources(request: LintRequest, recipe: Recipe | None) -> list[tuple[Source, SourceRole]]:
    given: list[tuple[Source, SourceRole]] = []
    given += [(msgspec.convert(entry.settings, Source), entry.role) for entry in request.sources]
    if recipe is not None:
        given += [(source, source.role) for source in recipe.data.train]
        if isinstance(recipe.data.eval, tuple):
            given += [(source, "eval") for source in recipe.data.eval]
        if recipe.check.target is not None:
            given.append((recipe.check.target.source, "test"))
    if not given:
        raise BadInput("data.train: there is no data to check.", hint="Name a file: data.train: [{path: …}].")
    return sorted(given, key=lambda entry: ORDER.index(entry[1]))


def _setup(
    request: LintRequest,
    recipe: Recipe | None,
    names: Sequence[str],
    reads: Sequence[Read],
    home: Home,
    notes: list[str],
) -> tuple[Lens, Setup]:
    model = _model(request, recipe)
    tokenizer = None if model is None else _tokenizer_folder(model, home, notes)
    if model is None:
        notes.append("tokens are estimated, four characters each: name a recipe or --model to count them")
    has_tokenizer, most = tokenizer is not None, request.max_tokens
    lens = Lens(max_tokens=most, has_tokenizer=has_tokenizer, options=request.options, sample=request.sample)
    if recipe is not None and recipe.command is None:
        name, data = recipe.objective.name, recipe.data
        kinds, most = tuple(OBJECTIVES.load(name).rows), most or data.max_tokens
        lens = replace(lens, kinds=kinds, objective=name, max_tokens=most, on_long=data.on_long)
    template = None if model is None else read_template(model.chat_template)
    roles = tuple(read.role for read in reads)
    return lens, Setup(tuple(names), roles, lens, tokenizer, template, request.recipe, str(home.root))


def _model(request: LintRequest, recipe: Recipe | None) -> Model | None:
    if recipe is not None:
        return None if recipe.model.id == UNKNOWN else recipe.model
    if request.model is None:
        return None
    require("tokenizers")  # asked for; the tokens of a recipe's model are estimated without them
    return Model(id=request.model)


def _tokenizer_folder(model: Model, home: Home, notes: list[str]) -> str | None:
    """Return a model's local tokenizer folder, or note why there is none. Nothing is downloaded."""
    try:
        require("tokenizers")
        config_file = inputs.find_config(model, home)
    except FinetopError as error:
        notes.append(f"tokens are estimated, four characters each: {error.message}")
        return None
    if not (config_file.folder / "tokenizer.json").is_file():
        why = "has no tokenizer.json" if config_file.is_here else "is missing: the first run downloads it"
        notes.append(f"tokens are estimated, four characters each: {model.id} {why}")
        return None
    return str(config_file.folder)


def _blocks(reads: Sequence[Read], home: Home, lens: Lens, say: Say) -> Iterator[Block]:
    total, done, at, reported_at = sum(map(lines.size_of, reads)), 0, 0, 0.0
    for number, read in enumerate(reads):
        if read.source.format != "auto":
            read.format = read.source.format
        detect = partial(_format, read=read, kinds=kinds_for(lens, read.role), home=home)
        for block in lines.blocks(read, number, at, home, detect):
            yield block
            if time.monotonic() - reported_at > 0.2:
                reported_at = time.monotonic()
                say("reading rows", done + read.bytes, max(total, done + read.bytes))
        done += read.bytes
        at += read.rows
    say("reading rows", done, done)


def _format(given: Sequence[bytes | Unread], read: Read, kinds: Sequence[Kind], home: Home) -> str | None:
    """Return the format of the first row that has one. Raises BadData if none of a file's first rows is a valid row."""
    raws = [raw for line in given if isinstance(raw := lines.decoded(line), dict)]
    format_name = next((name for raw in raws if (name := format_of(raw, kinds))), None)
    if format_name is not None:
        shape = load_format(format_name)
        read.unused = tuple(plain(key) for key in sorted({key for raw in raws for key in shape.unused(raw)}))
    elif not read.rows:
        for place, raw in sources.rows(read.source, home):  # training stops at the first, with the reason
            sources.format_of(read.source, home, raw, place, kinds)
    return format_name


def _lengths(counted: _Counted, lens: Lens, setup: Setup) -> Lengths:
    ordered = sorted(counted.lengths.items())
    seen = list(accumulate(count for _, count in ordered))

    def quantile(share: float) -> int:
        return ordered[bisect_left(seen, share * seen[-1])][0] if ordered else 0

    bins: Counter[int] = Counter()
    for length, count in ordered:
        bins[1 << max(0, length - 1).bit_length()] += count
    how = "estimated, four characters a token"
    if setup.tokenizer is not None:
        how = f"counted by the tokenizer of {Path(setup.tokenizer).name}"
    return Lengths(
        how=how,
        tokens=counted.tokens,
        learned=counted.learned,
        kept=counted.kept,
        shortest=ordered[0][0] if ordered else 0,
        median=quantile(0.5),
        p90=quantile(0.9),
        p99=quantile(0.99),
        longest=ordered[-1][0] if ordered else 0,
        max_tokens=lens.max_tokens,
        on_long=lens.on_long,
        over=counted.over,
        histogram=tuple(sorted(bins.items())),
    )
