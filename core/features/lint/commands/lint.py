"""`finetop lint DATA|RECIPE`: problems in the data: how many, where, why they matter and how to fix them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_json
from finetop.core.commands.shared.status_line import status_line
from finetop.core.data import files
from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError
from finetop.core.features.lint.report import Given, LintMessage, LintRequest, Progress, Report, Trouble
from finetop.core.features.lint.report_text import report_lines
from finetop.core.runtime.child import asked_child
from finetop.core.runtime.files import given_path
from finetop.core.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finetop.core.recipe.stages import Chain
    from finetop.core.runtime.home import Home

SAMPLE = 2000  # rows: about 10 minutes for a model of 135M on two cores
WHOLE = ""  # the key of a request without stages


def arguments(parser: argparse.ArgumentParser) -> None:
    about = "files or folders of training rows, or one recipe with all its data"
    options.path(parser, "data", "DATA|RECIPE", about, nargs="+")
    about = "test rows: no training row may be among them"
    options.repeated(parser, "--test", "FILE", about, type=options.a_path)
    about = "a benchmark's file: no training row may contain its questions; repeatable"
    options.repeated(parser, "--against", "FILE", about, type=options.a_path)
    options.settings(parser, "change a setting of the recipe")
    options.columns(parser)
    about = "count tokens with this model's tokenizer (for files; a recipe sets its own)"
    options.path(parser, "--model", "ID", about)
    options.value(parser, "--max-tokens", "N", "longest row, in tokens (default: the recipe's)", type=int)
    options.repeated(parser, "--only", "NAME", "run only this check; repeatable")
    options.repeated(parser, "--skip", "NAME", "skip this check; repeatable")

    about = f"also score answers with the base model, on ROWS evenly spaced rows (default: {SAMPLE:,})"
    options.value(parser, "--loss", "ROWS", about, nargs="?", type=options.count, const=SAMPLE)
    about = (
        "write a new file with certain errors fixed or removed; each change is listed in OUT.manifest.jsonl"
    )
    options.path(parser, "--fix", "OUT", about)


def run(args: argparse.Namespace, home: Home) -> int:
    requests = requests_of(args)
    reports: dict[str, Report] = {}
    for stage, request in requests.items():
        reports[stage] = linted(request, home, shows=not args.json, stage=stage)
        if not args.json:
            for line in report_lines(reports[stage], stage=stage):
                print(line)
            print(end="\n" if len(reports) < len(requests) else "", flush=True)
    if args.json and WHOLE in reports:
        print_json({"lint": plain(reports[WHOLE])})
    elif args.json:
        print_json({"stages": [{"stage": stage, "lint": plain(report)} for stage, report in reports.items()]})
    for report in reports.values():
        if report.unfixed is not None:
            raise _error(report.unfixed)
    return 1 if any(report.matters for report in reports.values()) else 0


def require_new_file(text: str) -> None:
    """Require that --fix names a possible new file. Raises BadInput."""
    out = given_path(text)
    if text.endswith("/") or out.name in ("", "..") or out.is_dir():
        raise BadInput(f"--fix {quoted(text)}: not a file name.", hint="Try --fix fixed.jsonl.")


def requests_of(args: argparse.Namespace) -> dict[str, LintRequest]:
    """Return what to lint, by stage of a chain, or under WHOLE. Raises BadInput."""
    if args.max_tokens is not None and args.max_tokens < 8:
        raise BadInput(f"--max-tokens is {args.max_tokens}; it must be 8 or more.")
    columns = options.columns_of(args.columns)
    tests = tuple(Given("test", {"path": path, **columns}) for path in args.test)
    for path in args.against:
        files.require(given_path(path))
    if args.fix is not None:
        require_new_file(args.fix)
    common = {
        "against": tuple(args.against),
        "options": () if args.loss is None else ("loss",),
        "sample": args.loss or SAMPLE,
        "fix": args.fix,
        "max_tokens": args.max_tokens,
        "only": _names(args.only),
        "skip": _names(args.skip),
    }
    if all(_is_data(word) for word in args.data):
        if args.set:
            hint = "Name a recipe, or leave it out."
            raise BadInput("--set changes a recipe, but files were given.", hint=hint)
        named = tuple(Given("train", {"path": path, **columns}) for path in args.data)
        return {WHOLE: LintRequest((*named, *tests), model=args.model, **common)}
    if len(args.data) > 1:
        raise BadInput("several names: give files of rows, or one recipe.")
    from finetop.core.recipe.load import load_recipe
    from finetop.core.recipe.stages import load_chain

    if columns:
        hint = "Set it next to path in the recipe."
        raise BadInput("--columns is for files; a recipe names its own.", hint=hint)
    chain = load_chain(args.data[0], args.set)
    if args.model is not None:
        raise BadInput("--model is for files; a recipe names its own.", hint="Use --set model.id=ID.")
    if chain is None:
        return {WHOLE: LintRequest(tests, recipe=load_recipe(args.data[0], args.set).resolved, **common)}
    if args.fix is not None:
        hint = "Fix the files of a stage one by one: finetop lint FILE.jsonl --fix OUT"
        stages = f"{args.data[0]} has {len(chain.stages)} stages"
        raise BadInput(f"--fix writes one file, but {stages}.", hint=hint)
    return _of_stages(chain, tests, common)


def _of_stages(chain: Chain, tests: tuple[Given, ...], common: Mapping[str, Any]) -> dict[str, LintRequest]:
    """Return a request for each stage, with the chain's first model, and the tests of all stages."""
    from finetop.core.recipe.dotted import with_settings
    from finetop.core.recipe.references import is_reference, parse

    requests: dict[str, LintRequest] = {}
    models: dict[str, str] = {}
    targets = [target for stage in chain.stages if (target := stage.loaded.recipe.check.target) is not None]
    for stage in chain.stages:
        recipe, model = stage.loaded.resolved, stage.loaded.recipe.model.id
        if is_reference(model) and (reference := parse(model, "model.id")).kind == "stage":
            model = models[reference.name]
        models[stage.name] = model
        own = stage.loaded.recipe.check.target
        others = {target.path: target.source for target in targets if target != own}
        others = others if stage.loaded.recipe.data.train else {}
        elsewhere = [Given("test", msgspec.to_builtins(others[path])) for path in sorted(others)]
        recipe = with_settings(recipe, {"model.id": model})
        requests[stage.name] = LintRequest((*tests, *elsewhere), recipe=recipe, **common)
    return requests


def _names(given: list[str]) -> tuple[str, ...]:
    return tuple(name for word in given for name in word.split(",") if name)


def _is_data(word: str) -> bool:
    path = Path(word)
    if path.suffix in (".yaml", ".yml"):
        return False
    return files.ending_of(path.name) in files.endings() or files.is_there(path)


def linted(request: LintRequest, home: Home, *, shows: bool, stage: str = "") -> Report:
    """Lint in a separate process, showing progress. Raises the error it reports, or EnvironmentTrouble if it dies."""
    of_stage = f"stage {stage}: " if stage else ""
    child = asked_child("finetop.core.features.lint", str(home.root), asked=msgspec.json.encode(request))
    with status_line(of_stage, shows=shows) as show, child as (process, lines):
        for line in lines:
            message = msgspec.json.decode(line, type=LintMessage)
            if message.progress is not None:
                show(progress_words(message.progress))
            if message.report is not None:
                return message.report
            if message.trouble is not None:
                raise _error(message.trouble, of_stage)
        raise EnvironmentTrouble(f"lint ended before its report (exit {process.wait()}).")


def _error(trouble: Trouble, before: str = "") -> FinetopError:
    error = FinetopError(before + trouble.message, hint=trouble.hint)
    error.exit_code = trouble.exit_code
    return error


def progress_words(progress: Progress) -> str:
    share = 100 * progress.done / progress.total if progress.total else 0
    return f"{progress.phase} {share:.0f} %"


PLUGIN = Command("find problems in data before a run trains on them", "data", run, arguments, is_remote=False)
