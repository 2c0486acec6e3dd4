"""`finetop select DATA --rows N --by SELECTOR --to FILE`: write the rows to train on to a new file, with a manifest.

`finetop select RECIPE --curve` trains on each selector's rows, in decreasing amounts; `--show` prints the results.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from finetop.core.client.connection import ask_once
from finetop.core.client.remote.recipe_files import require_files
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_json, reply
from finetop.core.data import files
from finetop.core.errors import BadInput
from finetop.core.features.select import curve, selectors as select
from finetop.core.features.select.output import manifest_of
from finetop.core.features.select.request import Ask, Doing, Selected, TooFew, Wanted, select as asked
from finetop.core.features.sweeps.commands import sweep
from finetop.core.protocol import tags
from finetop.core.protocol.messages.submit import SubmitSweep, SweepRun
from finetop.core.recipe.command import require_ours
from finetop.core.recipe.load import Loaded, check_files, load_recipe
from finetop.core.recipe.schema import Model
from finetop.core.runtime.files import given_path
from finetop.core.runtime.home import Home, prepare
from finetop.core.text import plain as shown

ABOUT = "choose rows to train on: at random, diverse, by the base model's loss …"
DEFAULT_MODEL = Model().id
SAY_EVERY_S = 2.0


def arguments(parser: argparse.ArgumentParser) -> None:
    options.path(parser, "data", "DATA", "a file of rows; with --curve a recipe's name or file", nargs="?")
    options.flag(parser, "--list", "describe each selector, with its source")
    about = f"how many rows; with --curve, several amounts (default: {curve.AMOUNTS})"
    options.value(parser, "--rows", "N", about)
    about = f"{', '.join(select.names())} (default: random); with --curve, several or all (default: all)"
    options.value(parser, "--by", "SELECTOR", about)
    options.value(parser, "--seed", "S", "random seed (1)", type=options.count_or_none, default=1)
    options.settings(parser, "a setting of the selector: see --list")
    about = "model that computes the loss: a hub id, a folder, run:NAME"
    options.path(parser, "--model", "MODEL", about, default=DEFAULT_MODEL)
    parser.add_argument("--format", default="auto", help="format of the rows (default: that of the first)")
    options.columns(parser)
    options.path(parser, "--to", "FILE", "the new file; a manifest is written next to it")
    options.flag(parser, "--curve", "train on the rows of each selector, at several amounts, as one sweep")
    options.value(parser, "--seeds", "N", "with --curve: runs per point (3)", type=options.count, default=3)
    about = "with --curve: train all runs for equal steps or equal epochs (steps)"
    options.choice(parser, "--equal", ("steps", "epochs"), about)
    options.name(parser, "with --curve: the sweep's name")
    options.flag(parser, "--hold", "with --curve: hold it until `finetop queue release`")
    options.value(parser, "--show", "NAME", "show a curve's results, as `finetop sweep NAME` does")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.list:
        return print_selectors(as_json=args.json)
    if args.show is not None:
        return sweep.run(argparse.Namespace(sweep=args.show, json=args.json), home)
    if args.curve:
        return run_curve(args, home)
    wanted = wanted_of(args)
    columns = options.columns_of(args.columns)
    source = {"path": str(source_of(args.data)), "format": args.format, **columns}
    message = Ask(source, [wanted], {"id": args.model})
    prepare(home)
    for selection in shown_progress(asked(message, home)):
        if isinstance(selection, TooFew):
            raise too_few(selection)
        rows = f"{selection.rows:,} of {selection.of:,} rows"
        text = f"{rows}, by {selection.by}, in {shown(selection.path)}"
        text += f"\nThe rows, and how they were chosen: {shown(selection.manifest)}"
        reply(args, {"selected": plain(selection)}, text)
    return 0


def run_curve(args: argparse.Namespace, home: Home) -> int:
    """Select the rows of every point of the curve, and queue the runs as one sweep."""
    if not args.data:
        raise BadInput("--curve needs a recipe.", hint="finetop select tone.yaml --curve")
    if Path(args.data).is_file() and not args.data.endswith((".yaml", ".yml")):
        hint = "Name the recipe that trains on it: finetop select tone.yaml --curve"
        raise BadInput(f"--curve needs a recipe, but {shown(args.data)} is a file of rows.", hint=hint)
    sets = [*args.set, *options.name_set(args)]
    base = load_recipe(args.data, sets)
    require_ours(base.recipe, "finetop select --curve")
    check_files(base)
    amounts = curve.amounts_of(args.rows or curve.AMOUNTS)
    wanted = curve.wanted_of(curve.selectors_of(args.by or "all"), amounts, args.seeds)
    source = base.recipe.data.train[curve.source_of(base.recipe)]
    message = Ask(msgspec.to_builtins(source), wanted, msgspec.to_builtins(base.recipe.model))
    prepare(home)
    selections: list[Selected] = []
    every = 0
    for selection in shown_progress(asked(message, home)):
        every = selection.of
        if isinstance(selection, Selected):
            selections.append(selection)
        elif selection.seed == 1:
            print(curve.left_out(selection), file=sys.stderr)

    def load(own_sets: list[str]) -> Loaded:
        return load_recipe(args.data, [*sets, *own_sets])

    with_all = any(amount.share == 1 for amount in amounts)
    planned = curve.points(base, selections, every, args.seeds, load, equal=args.equal, with_all=with_all)
    points = [(run.point, list(run.tags)) for run in planned]
    runs = [SweepRun(point.name, require_files(point.loaded, home), tags) for point, tags in points]
    queued = ask_once(home, SubmitSweep(base.recipe.name, runs, base.text, args.hold))
    how = f"{curve.steps_on(base.recipe, every):,} steps each" if args.equal == "steps" else "equal epochs"
    text = f"{len(runs)} runs in the sweep {queued.sweep}, {how}."
    text += f" Results: finetop select --show {queued.sweep}"
    return reply(args, {"sweep": queued.sweep, "runs": plain(queued.runs)}, text)


def print_selectors(*, as_json: bool) -> int:
    """Print what each selector does, its source, and its settings."""
    selectors = {name: select.load(name) for name in select.names()}
    if as_json:
        documents = {}
        for name, selector in selectors.items():
            facts = {key: getattr(selector, key) for key in ("about", "paper", "needs_model")}
            documents[name] = {**facts, "settings": dict(settings_of(name))}
        print_json({"selectors": documents})
        return 0
    for name, selector in selectors.items():
        print(f"{name}{'  (runs the model)' if selector.needs_model else ''}")
        print(f"    {selector.about}")
        print(f"    {selector.paper}")
        for key, about in settings_of(name):
            print(f"    --set {key}={about}")
    return 0


def settings_of(name: str) -> Iterator[tuple[str, str]]:
    """Yield a selector's settings, each with its default and description."""
    for field in msgspec.structs.fields(select.load(name).options):
        note = msgspec.inspect.type_info(field.type)
        schema = note.extra_json_schema if isinstance(note, msgspec.inspect.Metadata) else None
        yield field.name, f"{field.default}  {(schema or {}).get('description', '')}"


def wanted_of(args: argparse.Namespace) -> Wanted:
    """Return what to select. Raises BadInput, NotFound for an unknown selector."""
    if not args.data:
        hint = "finetop select faq.jsonl --rows 200 --by diversity --to few.jsonl"
        raise BadInput("select from what?", hint=hint)
    if args.rows is None:
        raise BadInput("--rows is missing.", hint="Add the number of rows: --rows 200.")
    if not (args.rows.isascii() and args.rows.isdigit() and 0 < int(args.rows[:20]) <= options.MOST):
        raise BadInput(f"--rows is {args.rows[:40]!r}; it must be a whole number, 1 or more.")
    by = args.by or tags.CONTROL
    settings = select.read_options(by, typed_settings(args.set))
    if not args.to:
        raise BadInput("--to is missing.", hint="Name the new file: --to few.jsonl.")
    to = Path(args.to).absolute()
    if to.is_dir() or not to.name:
        raise BadInput(f"--to: {shown(str(to))} is a folder.", hint="Name the new file: --to few.jsonl.")
    for file in (to, manifest_of(to)):
        if file.exists() or file.is_symlink():
            hint = "Give another file."
            raise BadInput(f"--to: {shown(str(file))} already exists and is not overwritten.", hint=hint)
    if not to.parent.is_dir():
        raise BadInput(f"--to: no folder {shown(str(to.parent))}.", hint="Create it, or give another file.")
    return Wanted(by, args.seed, rows=int(args.rows), to=str(to), settings=msgspec.to_builtins(settings))


def typed_settings(sets: Iterable[str]) -> dict[str, str]:
    """Parse `KEY=VALUE` texts. Raises BadInput."""
    typed = {}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals:
            raise BadInput(f"--set: {text[:60]!r} is not KEY=VALUE.", hint="Write it as --set centre=0.3.")
        typed[key.strip()] = value.strip()
    return typed


def source_of(text: str) -> Path:
    """Return the file to take rows from. Raises BadInput."""
    path = given_path(text)
    if path.is_file():
        return path.absolute()
    if path.is_dir():
        raise BadInput(f"{shown(text)} is a folder.", hint="Rows are taken from one file: name it.")
    hint = "Give a file of rows."
    is_name = text.count("/") == 1 and not text.startswith((".", "/", "~"))
    if is_name and Path(text).suffix not in files.endings():
        hint = "Save a hub data set to a file first: datasets.load_dataset(…).to_json(FILE)."
    raise BadInput(f"there is no file {shown(text)}.", hint=hint)


def too_few(short: TooFew) -> BadInput:
    """Return the error for a selector that has fewer rows than requested."""
    has = f"takes only rows that {short.may}: {short.most:,} of {short.of:,}"
    hint = f"Request {short.most:,} or fewer." if short.most else "Choose by another selector."
    return BadInput(f"{short.by} {has}, but {short.rows:,} were requested.", hint=hint)


def shown_progress(messages: Iterable[Doing | Selected | TooFew]) -> Iterator[Selected | TooFew]:
    """Yield the finished selections, printing progress every few seconds and nothing if it is quick."""
    last_print = time.monotonic()
    for message in messages:
        if not isinstance(message, Doing):
            yield message
        elif time.monotonic() - last_print >= SAY_EVERY_S:
            last_print = time.monotonic()
            of = f" of {message.total:,}" if message.total else ""
            rows = f": {message.done:,}{of} rows" if message.done or message.total else ""
            print(f"{message.what}{rows}", file=sys.stderr)


PLUGIN = Command(ABOUT, "data", run, arguments, is_remote=False)
