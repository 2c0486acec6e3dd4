"""`finetop check RUN[@STEP]`: did it forget? Exit 0 ok, 1 regressed, 3 no verdict."""

from __future__ import annotations

import argparse

from finetop.core import protocol
from finetop.core.check.result import report
from finetop.core.client import Client
from finetop.core.commands import curve_of, follow
from finetop.core.commands.output import print_json
from finetop.core.errors import BadInput, FinetopError
from finetop.core.home import Home

CODES = {"ok": 0, "regressed": 1, "no_verdict": 3}
ABOUT = "did a run forget? 0 ok, 1 regressed, 3 no verdict"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN[@STEP]", help="a run, or one of its checkpoints")
    parser.add_argument("--last", action="store_true", help="print the newest check there is; run none")
    curve_of.arguments(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    name, _, step_text = args.run.partition("@")
    if step_text and not step_text.isdecimal():
        raise BadInput(f"{args.run}: {step_text!r} is not a step.", hint="Try RUN@120.")
    if args.curve or args.all:
        return curve(args, home, name, step_text)
    if not args.last:
        check_now(home, name, int(step_text) if step_text else None, quiet=args.json)
    with Client(home) as client:
        found: list[dict[str, object]] = client.ask(protocol.Checks(name)).checks
    if step_text:
        found = [check for check in found if check["step"] == int(step_text)]
    if not found:
        raise FinetopError(f"{args.run} has no check yet.", hint=f"Run `finetop check {args.run}`.")
    if args.json:
        print_json({"run": name, "check": found[0]})
    else:
        print(report(name, found[0]))
    return CODES[str(found[0]["verdict"])]


def curve(args: argparse.Namespace, home: Home, name: str, step_text: str) -> int:
    """Look at several checkpoints. Raises BadInput where the words don't go together."""
    if not args.curve:
        raise BadInput("--all goes with --curve.", hint=f"Try `finetop check {name} --curve --all`.")
    if step_text or args.last:
        raise BadInput(
            f"--curve looks at all of a run, not at {'--last' if args.last else f'step {step_text}'}.",
            hint=f"Try `finetop check {name} --curve`.",
        )

    def look(step: int, is_look: bool) -> None:
        check_now(home, name, step, quiet=args.json, watch=is_look)

    return curve_of.run(home, name, look, settings={}, every=args.all, as_json=args.json)


def check_now(home: Home, name: str, step: int | None, *, quiet: bool, watch: bool = False) -> None:
    """Queue a check and wait for it. Raises FinetopError with the cause when its job fails."""
    with Client(home) as client:
        asked: protocol.CheckAnswer = client.ask(protocol.Check(name, step, watch=watch))
    follow.until_over(home, name, (lambda new: None) if quiet else follow.Progress(steps=False))
    with Client(home) as client:
        jobs = client.ask(protocol.GetRun(name)).jobs
    job = next(job for job in jobs if job.id == asked.job_id)
    cause = getattr(job.state, "cause", "")
    if cause or getattr(job.state, "how", ""):
        error = FinetopError(
            f"the check of {name} ended without a verdict: {cause or 'it was stopped'}.",
            hint=getattr(job.state, "hint", "") or f"See `finetop tail --log {name}`.",
        )
        code = getattr(job.state, "exit_code", None)
        error.exit_code = code if code in (2, 3, 4) else 4
        raise error
