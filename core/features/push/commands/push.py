"""`finetop push RUN[@STEP] ORG/NAME`: publish a run's model on the Hugging Face hub, with a card written from the run.

The upload is a job on the run's machine: it goes on if the connection drops, and run again continues where it was cut.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from msgspec import structs

from finetop.core.client.connection import Client, ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.follow import until_done
from finetop.core.commands.shared.imports import require_finished
from finetop.core.commands.shared.output import print_json
from finetop.core.data import hub
from finetop.core.errors import BadInput, EnvironmentTrouble, NotFound, did_you_mean
from finetop.core.features.export.commands.export import step_of, target_of
from finetop.core.features.export.messages import Export
from finetop.core.features.lint.pii_patterns import personal_in
from finetop.core.features.push.messages import Kind, Push, PushAnswer
from finetop.core.features.push.model_card import Pushed, card_of, refusal
from finetop.core.features.remedies.messages import Remedies
from finetop.core.features.report.load import RunFacts, load_facts
from finetop.core.models.llama_cpp.quants import quants_of
from finetop.core.plugins import keeps_base
from finetop.core.protocol import runs as data
from finetop.core.protocol.check_result import read
from finetop.core.protocol.messages.checks import Checks
from finetop.core.protocol.messages.runs import GetRun, ReadLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.parts import own_version
from finetop.core.runtime.secrets import locate
from finetop.core.text import clean

ABOUT = "publish a run's model on the Hugging Face hub, with a card written from the run"
SENT = ("push, private:", "push, public:")
LONGEST_PROMPT = 1500  # characters of an example that the card has room for
LOG_END = -65_536  # bytes of the job's log that hold the list of files and the card


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN[@STEP]", "a run: its best or newest checkpoint, or STEP's")
    options.value(parser, "repo", "ORG/NAME", "the repository on the hub; created if it does not exist")
    forms = parser.add_mutually_exclusive_group()
    options.flag(forms, "--adapter", "the adapter alone (default, if it has one on a base of the hub)")
    options.flag(forms, "--merged", "the whole model")
    options.value(forms, "--gguf", "FORMAT", "GGUF files: q8_0, q4_k_m …, several by commas", default="")
    options.optional(parser, "--remedy", "NAME", "the model of this remedy: see `finetop remedy`")
    options.flag(parser, "--public", "for all to see (default: private)")
    options.flag(parser, "--dry-run", "write the folder and the card, and send nothing")
    options.flag(parser, "--anyway", "even if it regressed, or has no verdict")
    options.path(parser, "--to", "DIR", "folder of the files, which stays (default: ./RUN-STEP-KIND-push)")


def run(args: argparse.Namespace, home: Home) -> int:
    name, step = options.run_and_step(args.run)
    quants = ",".join(quants_of(args.gguf)) if args.gguf else ""
    with Client(home) as client:
        detail = client.ask(GetRun(name))
        if (step := step_of(detail, step)) is None:
            raise NotFound(f"{detail.row.name} has no checkpoint.")
        pushed = Pushed(args.repo, step, kind_of(args, detail), quants, remedy_of(client, args, step))
        facts = at_step(client, load_facts(client.ask, name), step)
        if not args.anyway and (error := refusal(facts, pushed)) is not None:
            raise error
        form = f"{pushed.kind}-{pushed.quants.replace(',', '-')}".rstrip("-")
        what = "-".join(filter(None, (detail.row.name, str(step), args.remedy, form, "push")))
        target = target_of(args.to or "", what, home)
        card = card_of(facts, pushed, own_version(), example_prompt(facts.detail))
        order = Push(
            run=name,
            folder=str(target),
            repo=args.repo,
            kind=pushed.kind,
            card=card,
            step=step,
            remedy=args.remedy,
            quants=pushed.quants,
            public=args.public,
            dry_run=args.dry_run,
        )
        queued = client.ask(order)
    if queued.job_id is None:
        export(home, args, pushed, str(target))
        queued = ask_once(home, order)
    if queued.job_id is None:
        raise EnvironmentTrouble(
            f"the export is gone from {target}.", hint="Push again: that exports it again."
        )
    return finish(home, args, queued, target)


def kind_of(args: argparse.Namespace, detail: data.RunDetail) -> Kind:
    """Return the form that was asked for; without one, the adapter if others can load it. Raises BadInput."""
    if args.gguf:
        return "gguf"
    if args.adapter and args.remedy:
        raise BadInput("a remedy changes the whole model.", hint="Use --merged, or leave --remedy out.")
    is_local = not hub.id_of(str(detail.recipe["model"]["id"]))
    if args.adapter and is_local:
        base = "is a folder or a run of this machine, so nobody else can load its adapter."
        raise BadInput(f"the base of {detail.row.name} {base}", hint="Push the whole model: --merged.")
    if args.adapter:
        return "adapter"
    is_whole = args.merged or args.remedy or is_local or not keeps_base(detail.row.method)
    return "merged" if is_whole else "adapter"


def remedy_of(client: Client, args: argparse.Namespace, step: int) -> data.RemedyRow | None:
    """Return the result of --remedy. Raises NotFound."""
    if not args.remedy:
        return None
    rows = {row.name: row for row in client.ask(Remedies(args.run.partition("@")[0], step)).rows}
    if args.remedy not in rows:
        raise NotFound(f"there is no remedy {args.remedy[:60]!r}.", hint=did_you_mean(args.remedy[:60], rows))
    return rows[args.remedy]


def at_step(client: Client, facts: RunFacts, step: int) -> RunFacts:
    """Take the verdict from the newest check of the published step, which may not be the run's own."""
    if facts.outcome is None or facts.outcome.step == step:
        return facts
    checks = client.ask(Checks(facts.detail.row.name)).checks
    own = [result for result in map(read, checks) if result.step == step and not result.watch]
    return replace(facts, outcome=own[0] if own else None)  # the newest first


def example_prompt(detail: data.RunDetail) -> str:
    """Return the prompt of the first training row, without its answer, as the model reads it.

    Empty if the rows have no prompt, or it holds a secret or personal data.
    """
    prompt = "".join(text for text, _ in takewhile(lambda piece: not piece[1], detail.first_row)).strip()
    has_answer = any(is_learned for _, is_learned in detail.first_row)
    if not has_answer or len(prompt) > LONGEST_PROMPT:
        return ""
    is_private = locate(prompt) is not None or any(personal_in(prompt))
    return "" if is_private else prompt


def export(home: Home, args: argparse.Namespace, pushed: Pushed, target: str) -> None:
    """Write the folder by an export, and wait for it. Raises FinetopError if its outputs differ."""
    name = args.run.partition("@")[0]
    is_adapter = pushed.kind == "adapter"
    order = Export(name, target, pushed.step, remedy=args.remedy, adapter=is_adapter, quants=pushed.quants)
    queued = ask_once(home, structs.replace(order, anyway=args.anyway and bool(pushed.quants)))
    job = until_done(home, queued, quiet=args.json)
    hint = f"See `finetop tail --log {name}`."
    require_finished(job.state, f"the export of {name} failed", hint, may_deny=True)


def finish(home: Home, args: argparse.Namespace, queued: PushAnswer, target: Path) -> int:
    """Wait for the upload, and print its files and address."""
    job = until_done(home, queued, quiet=args.json)
    hint = f"See `finetop tail --log {queued.run}`; the files are in {target}."
    require_finished(job.state, f"the push of {queued.run} failed", hint)
    log = clean(ask_once(home, ReadLog(queued.run, job.id, LOG_END)).text)
    lines = log.splitlines()
    if args.json:
        urls = [line.rpartition(" ")[2] for line in lines if line.startswith(SENT)]
        facts = {"run": queued.run, "step": queued.step, "repo": args.repo, "folder": str(target)}
        print_json({**facts, "url": "".join(urls)})
        return 0
    shown = [at for at, line in enumerate(lines) if line.startswith(("push, ", "warning: "))]
    if args.dry_run and shown:
        print("\n".join(lines[shown[0] : -1]))  # the card follows; the last line is how the job ended
        return 0
    print("\n".join(lines[at] for at in shown))
    return 0


PLUGIN = Command(ABOUT, "run", run, arguments)
