"""`finetop import PATH`: adopt an adapter, a full model or a Trainer's output folder from elsewhere."""

from __future__ import annotations

import argparse

from finetop.core.check.tasks.jsonl import require_items
from finetop.core.commands import Command
from finetop.core.commands.shared import imports, options
from finetop.core.commands.shared.output import plain, print_json
from finetop.core.models.imports.recipe import adopted
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    options.path(parser, "path", "PATH", "a PEFT adapter, a full model, or a Trainer's output folder")
    imports.arguments(parser)
    options.path(parser, "--suite", "NAME|FILE.yaml", "suite to check it on (quick)")
    options.flag(parser, "--copy", "copy the weights into the home (default: link them)")
    options.flag(parser, "--check", "queue a check too")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.suite:
        require_items(args.suite, home)
    general = {"suite": args.suite} if args.suite else {}
    wanted = imports.request_of(args, args.path, general=general, at_end=args.check)
    adoption = imports.queue(home, adopted(wanted), copy=args.copy)
    detail = imports.until_adopted(home, adoption.name, quiet=args.json)
    if args.json:
        print_json({"run": plain(detail.row), "checkpoints": plain(detail.checkpoints)})
        return 0
    steps = ", ".join(str(checkpoint.step) for checkpoint in detail.checkpoints)
    kept = "copied" if args.copy else "linked"
    print(f"{adoption.name}: {detail.row.method} on {detail.row.model}, {kept}, at step {steps}")
    print(f"next: finetop check {adoption.name}{' --last' if args.check else ''}")
    return 0


PLUGIN = Command("import a model trained elsewhere, as a run", "check", run, arguments, is_remote=False)
