"""`finetop check RUN[@STEP]` or `--model PATH --base PATH`: did it forget? Exit 0 ok, 1 regressed, 3 no verdict."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from finetop.core.check.tasks.suite import find_suite
from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import check_curve, ci_reports, follow, imports, options
from finetop.core.commands.shared.output import print_json, warn
from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError, NotFound
from finetop.core.models.imports.recipe import adopted
from finetop.core.protocol.check_result import CheckResult, read
from finetop.core.protocol.messages.checks import Check, CheckAnswer, Checks
from finetop.core.recipe.schema import General
from finetop.core.recipe.type_words import type_words
from finetop.core.runtime.files import given_path
from finetop.core.runtime.home import Home
from finetop.core.wording.durations import ago
from finetop.core.wording.verdicts import report

Reuse = Literal["none", "under_way", "made"]
MODEL_OPTIONS = ("base", "name", "data", "quantize")  # describe --model and don't apply to a run


@dataclass(frozen=True)
class WantedCheck:
    """What to check, the settings of this check alone, and whether stdout is reserved for a report."""

    name: str
    step: int | None
    settings: dict[str, Any]
    silent: bool
    more: list[str] | None = None

    @property
    def text(self) -> str:
        """RUN or RUN@STEP."""
        return self.name if self.step is None else f"{self.name}@{self.step}"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN[@STEP]", "a run, or one of its checkpoints", nargs="?")
    about = "a model not trained by finetop, instead of RUN: see finetop import"
    options.path(parser, "--model", "PATH", about)
    imports.arguments(parser)
    options.path(parser, "--suite", "NAME|FILE.yaml", "suite to check on (default: the recipe's)")
    about = "a drop of this or more is REGRESSED (default: the recipe's)"
    options.value(parser, "--margin", "POINTS", about, type=float)
    options.value(parser, "--seed", "N", "random seed for drawing items (default: the recipe's)", type=int)
    about = "continue after the verdict until all items (of these tasks) are scored: same claim, more items"
    options.value(parser, "--more", "TASK", about, nargs="*")
    options.flag(parser, "--again", "check again even though there is a verdict")
    options.flag(parser, "--last", "print the newest check and run nothing")
    ci_reports.arguments(parser)
    check_curve.arguments(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    try:
        return checked(args, home)
    except FinetopError as error:
        # exit code 1 says that a model forgot, never that there was no check
        if error.exit_code == ci_reports.CODES["regressed"]:
            error.exit_code = EnvironmentTrouble.exit_code
        raise


def checked(args: argparse.Namespace, home: Home) -> int:
    """Check, and return the verdict's exit code."""
    silent = ci_reports.on_stdout(args) or args.json
    settings = settings_of(args, home)
    require_compatible(args, settings, home)
    if args.model:
        wanted = WantedCheck(adopt(args, home, silent), None, settings, silent, args.more)
    else:
        name, step = options.run_and_step(args.run)
        wanted = WantedCheck(name, step, settings, silent, args.more)
    if args.curve:
        return curve(home, wanted, every=args.all)
    wants_new = args.again or args.more is not None
    answer = None if args.last else check_now(home, wanted, "under_way" if wants_new else "made")
    result = newest(home, wanted) if answer is None else result_of(home, answer)
    ci_reports.write(args, wanted.name, read(result))
    is_new = answer is not None and answer.stands != "made"
    is_outdated = result.get("weights_now", "same") != "same"  # only with --last
    if args.json:
        print_json({"run": wanted.name, "check": result, "new": is_new})
    elif not silent:
        print(report(wanted.name, read(result)))
        if is_outdated:
            print(
                f"\nThe weights changed since this check, so it says nothing of them: finetop check {wanted.text}"
            )
        elif not is_new:
            print(f"\n{reused_line(wanted, read(result), result['at'])}")
    return ci_reports.CODES["no_verdict" if is_outdated else str(result["verdict"])]


def reused_line(wanted: WantedCheck, result: CheckResult, at: float) -> str:
    """Return when a check was made, and how to request more."""
    has_more = result.items_used < result.items_total
    more = f"; score the remaining items: finetop check {wanted.text} --more" if has_more else ""
    return f"Checked {ago(at)} ago. Check again: finetop check {wanted.text} --again{more}"


def settings_of(args: argparse.Namespace, home: Home) -> dict[str, Any]:
    """Gather the settings of these checks alone. Raises BadInput, and NotFound for an unknown suite."""
    given: dict[str, Any] = {}
    if args.suite:
        if home.link is None:  # on another machine, the job there looks for the suite
            find_suite(args.suite, home)
        is_file = args.suite.startswith(("/", "./", "../", "~"))
        given["suite"] = str(given_path(args.suite).absolute()) if is_file else args.suite
    types = {field.name: field.type for field in msgspec.structs.fields(General)}
    for key in ("margin", "seed"):
        value = getattr(args, key)
        if value is None:
            continue
        try:
            given[key] = msgspec.convert(value, types[key])
        except msgspec.ValidationError as error:
            raise BadInput(f"--{key} is {value}; it must be {type_words(types[key])}.") from error
    return given


def require_compatible(args: argparse.Namespace, settings: dict[str, Any], home: Home) -> None:
    """Refuse options that contradict each other. Raises BadInput."""
    if bool(args.run) == bool(args.model):
        given = f"both {args.run} and --model" if args.run else "neither a run nor --model"
        hint = "`finetop check RUN` or `finetop check --model PATH`."
        raise BadInput(f"{given}: name what to check.", hint=hint)
    if args.model and home.link is not None:
        hint = f"Run it there: ssh {home.label} finetop check --model …"
        where = f"a folder on this machine, but {home.label} is another"
        raise BadInput(f"--model {args.model} is {where}.", hint=hint)
    unset: tuple[object, ...] = (None, "", [], "none")
    of_model = [f"--{option}" for option in MODEL_OPTIONS if getattr(args, option) not in unset]
    if args.run and of_model:
        hint = "Leave it out, or check the folder that it made: finetop check --model FOLDER --base …"
        raise BadInput(f"{of_model[0]} works only with --model; a run has its own.", hint=hint)
    if args.all and not args.curve:
        hint = f"Try `finetop check {args.run or 'RUN'} --curve --all`."
        raise BadInput("--all works only with --curve.", hint=hint)
    if args.curve and (args.last or "@" in (args.run or "")):
        option = "--last" if args.last else f"step {args.run.partition('@')[2]}"
        name = (args.run or "RUN").partition("@")[0]
        hint = f"Try `finetop check {name} --curve`."
        raise BadInput(f"--curve checks a whole run, not {option}.", hint=hint)
    if args.curve and (args.junit or args.markdown):
        raise BadInput("--junit and --markdown report one check, not a curve.", hint="Leave --curve out.")
    hint = "Leave one of them out."
    others = [option for option, given in (("--last", args.last), ("--curve", args.curve)) if given]
    has_more = args.more is not None
    if args.again and (others or has_more):
        raise BadInput(f"--again starts a new check; {[*others, '--more'][0]} does not.", hint=hint)
    if has_more and others:
        raise BadInput(f"--more continues a check; {others[0]} does not.", hint=hint)
    if args.last and settings:
        unused = next(iter(settings))
        raise BadInput(f"--last only prints the newest check; it can't use --{unused}.", hint=hint)


def adopt(args: argparse.Namespace, home: Home, silent: bool) -> str:
    """Adopt the model, or find the run that it was adopted as, and return the run's name."""
    adoption = imports.queue(home, adopted(imports.request_of(args, args.model)), reuse=True)
    imports.until_adopted(home, adoption.name, quiet=silent)
    return adoption.name


def newest(home: Home, wanted: WantedCheck) -> dict[str, Any]:
    """Return the newest check of a run, or of the step that was named. Raises NotFound if there is none."""
    checks: list[dict[str, Any]] = ask_once(home, Checks(wanted.name)).checks
    checks = [check for check in checks if wanted.step in (None, check["step"])]
    if not checks:
        raise NotFound(f"{wanted.text} has no check yet.", hint=f"Run `finetop check {wanted.text}`.")
    return checks[0]


def curve(home: Home, wanted: WantedCheck, *, every: bool) -> int:
    """Check several checkpoints under the same settings."""

    name, settings, silent = wanted.name, wanted.settings, wanted.silent

    def measure_step(step: int, watch: bool) -> None:
        check_now(home, WantedCheck(name, step, settings, silent), "under_way", watch=watch)

    return check_curve.run(home, name, measure_step, settings=settings, every=every, as_json=silent)


def check_now(home: Home, wanted: WantedCheck, reuse: Reuse, *, watch: bool = False) -> CheckAnswer:
    """Wait for a check, a new or the existing one, showing progress. Raises FinetopError when its job fails."""
    name, progress = wanted.name, follow.JobProgress(sys.stderr if wanted.silent else sys.stdout)
    message = Check(name, wanted.step, watch=watch, general=wanted.settings, more=wanted.more, reuse=reuse)
    while True:
        answer = ask_once(home, message)
        if answer.stands == "made":
            return answer
        if answer.has_changed:
            progress.say(f"the weights of {wanted.text} changed since its last check: checking them now")
        if waiting := waiting_line(wanted, answer):
            progress.say(waiting)
        try:
            job = follow.until_ended(home, name, answer.job_id, progress)
        except KeyboardInterrupt:
            job_text = name if answer.stands == "after" and not answer.step else f"the check of {name}"
            warn(f"{job_text} keeps running. To follow it again: finetop check {wanted.text}")
            raise
        if answer.stands != "after":
            what = f"the check of {name} ended without a verdict"
            imports.require_finished(job.state, what, f"See `finetop tail --log {name}`.")
            return answer


def waiting_line(wanted: WantedCheck, answer: CheckAnswer) -> str:
    """Return what the check waits for; empty if it is the one just requested."""
    name = wanted.name
    match answer.stands:
        case "after" if answer.step:
            later = f"the check of {wanted.text} comes after it."
            return f"{name} is being checked at step {answer.step}; {later}"
        case "after":
            now = f"To check a saved checkpoint now: finetop check {name}@STEP"
            return f"waiting for {name} to train and be checked. {now}"
        case "under_way":
            return f"{name} is already being checked; following that check."
    return ""


def result_of(home: Home, answer: CheckAnswer) -> dict[str, Any]:
    """Return the check that was made. Raises FinetopError if there is none."""
    checks = ask_once(home, Checks(answer.run)).checks
    by, wanted = ("step", answer.step) if answer.check_id is None else ("check_id", answer.check_id)
    if (result := next((check for check in checks if check[by] == wanted), None)) is not None:
        return result
    hint = f"See `finetop tail --log {answer.run}`."
    raise EnvironmentTrouble(f"the check of {answer.run} left no result.", hint=hint)


PLUGIN = Command("did a run forget? 0 ok, 1 regressed, 3 no verdict", "check", run, arguments)
