"""`finetop remedy RUN`: fix a run without retraining, confirming the best remedy. Exit 0: one is confirmed, 1: none."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import Client, ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.follow import until_done
from finetop.core.commands.shared.imports import require_finished
from finetop.core.commands.shared.options import run_and_step
from finetop.core.commands.shared.output import plain, print_columns, print_json, reply
from finetop.core.errors import BadInput, NotFound, Refused, did_you_mean
from finetop.core.features.remedies import columns, wording
from finetop.core.features.remedies.messages import Remedies, RemediesAnswer, Remedy
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.submit import Submit
from finetop.core.recipe.dotted import with_settings
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, counted
from finetop.core.wording.durations import long_span
from finetop.core.wording.verdicts import outdated


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN[@STEP]", "a run: its best or newest checkpoint, or STEP's")
    about = "try only these: interpolate, interpolate-0.5 …"
    options.value(parser, "--only", "NAME", about, nargs="+", default=[])
    options.flag(parser, "--wait", "wait for the result; it is the exit code")
    options.flag(parser, "--list", "list the remedies and their results; try nothing")
    options.optional(parser, "--rerun", "NAME", "queue a run that retrains with a change: lower-rate …")


def run(args: argparse.Namespace, home: Home) -> int:
    if sum(map(bool, (args.list, args.rerun, args.only or args.wait))) > 1:
        raise BadInput("--list, --rerun and --only --wait can't be combined.", hint="Use one of them.")
    name, step = run_and_step(args.run)
    if args.rerun:
        return rerun(args, home, name)
    if args.list:
        return print_remedies(args, home, name, step)
    queued = ask_once(home, Remedy(name, step, args.only))
    if not args.wait:
        number = counted(len(queued.names), "remedy", "remedies")
        text = f"{number} queued for {queued.run}: {', '.join(queued.names)}."
        text += f"\nSee them: finetop remedy {queued.run} --list"
        document = {"run": queued.run, "step": queued.step, "remedies": queued.names, "job": queued.job_id}
        return reply(args, document, text)
    job = until_done(home, queued, quiet=args.json)
    hint = f"See `finetop tail --log {queued.run}`."
    require_finished(job.state, f"the remedies of {queued.run} were not all tried", hint)
    return print_remedies(args, home, name, step)


def print_remedies(args: argparse.Namespace, home: Home, name: str, step: int | None) -> int:
    """Print the remedies and their results. Returns 0 if one is confirmed or none was tried, else 1."""
    answer = ask_once(home, Remedies(name, step))
    if args.json:
        print_json({"remedies": plain(answer)})
    else:
        print_answer(answer, clean_line(args.run))
    tried = [row for row in answer.rows if row.verdict]
    return 0 if not tried or any(row.confirmation == "ok" for row in tried) else 1


def print_answer(answer: RemediesAnswer, run: str) -> None:
    """Print the table, the best remedy, the ones that need training, and the next command for the run as typed."""
    print(f"remedies for {clean_line(answer.run)}@{answer.step}   {wording.now(answer)}")
    if answer.weights_now != "same":
        print(outdated(f"{clean_line(answer.run)}@{answer.step}", answer.weights_now))
    print_columns(columns.table(answer), answer.rows)
    if isinstance(answer.job, data.Failed | data.Lost):
        print(f"the job failed: {clean_line(answer.job.cause)}")
    for line in (*wording.reasons(answer), *wording.best(answer)):
        print(line)
    print("needs training:")
    for retraining in answer.retrainings:
        if retraining.why_not:
            print(f"  {retraining.label}: not available, {retraining.why_not}")
            continue
        price = "" if retraining.price_s is None else f", about {long_span(retraining.price_s)}"
        command = f"finetop remedy {clean_line(answer.run)} --rerun {retraining.name}"
        print(f"  {retraining.label}{price}: {command}")
    if not answer.is_under_way:
        print_next(answer, run)


def print_next(answer: RemediesAnswer, run: str) -> None:
    """Print the recommended command, with its reason."""
    step = wording.next_step(answer)
    comments = [step.why]
    match step.do:
        case "nothing":
            print(f"next: nothing left to try: {clean_line(step.why)}")
            return
        case "check":
            command = f"finetop check {clean_line(answer.run)}@{answer.step}"
        case "export":
            command = f"finetop export {run} --remedy {step.name} --to DIR"
        case "confirm":
            command = f"finetop remedy {run} --only {step.name} --wait"
        case "try":
            command = f"finetop remedy {run} --wait"
            comments.append(wording.price(answer).removeprefix(": "))
        case "retrain":
            command = f"finetop remedy {clean_line(answer.run)} --rerun {step.name}"
    comment = clean_line("; ".join(filter(None, comments)))
    print(f"next: {command}{f'   # {comment}' if comment else ''}")
    if step.do == "retrain" and (left := wording.left(answer)):
        print(f"or: finetop remedy {run} --only {' '.join(left)} --wait")
    if step.do == "retrain" and any(row.confirmation == "ok" for row in answer.rows):
        print(f"or: finetop export {run} --remedy {answer.best} --to DIR")


def rerun(args: argparse.Namespace, home: Home, name: str) -> int:
    """Queue a copy of the run with the settings that a remedy changes."""
    with Client(home) as client:
        answer = client.ask(Remedies(name))
        detail = client.ask(GetRun(name))
        retrainings = {retraining.name: retraining for retraining in answer.retrainings}
        retraining = retrainings.get(args.rerun)
        if retraining is None:
            hint = did_you_mean(args.rerun, retrainings)
            raise NotFound(f"--rerun {args.rerun}: there is no such remedy.", hint=hint)
        if retraining.why_not:
            hint = "Try another: `finetop remedy RUN --list`."
            raise Refused(f"{retraining.label}: {retraining.why_not}.", hint=hint)
        recipe = with_settings(detail.recipe, retraining.settings)
        host, colon, own_name = detail.row.name.rpartition(":")
        wanted = f"{own_name}-{retraining.name}"
        source = f"# {detail.row.name} with {retraining.label}\n{detail.recipe_source}"
        queued = client.ask(Submit({**recipe, "name": wanted}, source, f"{host}{colon}{wanted}"))
    text = f"{queued.name} is queued, place {queued.place}. Follow it: finetop tail {queued.name}"
    document = {"run": queued.name, "run_id": queued.run_id, "settings": retraining.settings}
    return reply(args, document, text)


PLUGIN = Command("fix a run that forgot, without retraining it", "fix", run, arguments)
