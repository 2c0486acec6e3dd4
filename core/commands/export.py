"""`finetop export RUN[@STEP]`: write a whole model that others can load, or the adapter alone, and verify its outputs.

Exit code 1 if its outputs differ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from finetop.core.client.connection import Client, ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.imports import require_finished
from finetop.core.commands.shared.output import print_json
from finetop.core.errors import BadInput
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.push import PushAnswer
from finetop.core.protocol.messages.remedies import RemedyAnswer
from finetop.core.protocol.messages.runs import GetRun, ReadLog
from finetop.core.protocol.messages.session import Changes
from finetop.core.protocol.messages.submit import Export, ExportAnswer
from finetop.core.runtime.files import given_path
from finetop.core.runtime.home import Home
from finetop.core.text import clean

ABOUT = "write a run's model, or only its adapter, to a folder, and verify that its outputs are the same"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN[@STEP]", "a run: its best or newest checkpoint, or STEP's")
    options.path(parser, "--to", "DIR", "a new folder (default: ./RUN-STEP)")
    about = "number format of the written weights (default: the base model's)"
    options.choice(parser, "--dtype", ("auto", "float32", "bfloat16", "float16"), about)
    options.flag(parser, "--adapter", "only the adapter, unmerged, for PEFT")
    options.optional(parser, "--remedy", "NAME", "the model of this remedy: see `finetop remedy`")


def run(args: argparse.Namespace, home: Home) -> int:
    name, step = options.run_and_step(args.run)
    with Client(home) as client:
        detail = client.ask(GetRun(name))
        if step is None:
            steps = [checkpoint.step for checkpoint in detail.checkpoints]
            step = detail.best.step if detail.best is not None else max(steps, default=None)
        what = args.remedy or ("adapter" if args.adapter else "")
        wanted = f"{detail.row.name}-{step or 0}{f'-{what}' if what else ''}"
        target = target_of(args.to or "", wanted, home)
        queued = client.ask(Export(name, str(target), step, args.dtype, args.remedy, args.adapter))
    job = until_done(home, queued, quiet=args.json)
    require_finished(job.state, f"the export of {name} failed", f"See `finetop tail --log {name}`.")
    if args.json:
        more = {"remedy": args.remedy} if args.remedy else {"adapter": True} if args.adapter else {}
        print_json({"run": queued.run, "step": queued.step, "folder": str(target), **more})
        return 0
    print(closing_lines(home, queued))
    return 0


def target_of(given: str, name: str, home: Home) -> Path:
    """Return the folder to write to; on another machine it must be an absolute path. Raises BadInput."""
    if home.link is not None and not given.startswith("/"):
        hint = "Give its whole path there: --to /path/there."
        raise BadInput(f"--to {given or 'is missing'}: the folder is created on {home.label}.", hint=hint)
    return given_path(given or name).absolute()


def until_done(home: Home, queued: ExportAnswer | RemedyAnswer | PushAnswer, *, quiet: bool) -> data.JobRow:
    """Wait for the end of a job, printing its phases. Returns the job."""
    shown, revision = "", 0
    with Client(home) as client:
        while True:
            jobs = client.ask(GetRun(queued.run)).jobs
            job: data.JobRow = next(job_row for job_row in jobs if job_row.id == queued.job_id)
            if not job.is_under_way:
                return job
            phase = job.state.phase if isinstance(job.state, data.Running) else "queued"
            if phase != shown and not quiet:
                print(phase, flush=True)
                shown = phase
            revision = client.ask(Changes(revision, 10.0)).revision


def closing_lines(home: Home, queued: ExportAnswer) -> str:
    """Return the job's closing lines: how well the outputs agree, and where the model is."""
    log = ask_once(home, ReadLog(queued.run, queued.job_id, -8192))
    lines = [line for line in clean(log.text).splitlines() if line.startswith(("export", "warning"))]
    return "\n".join(lines)


PLUGIN = Command(ABOUT, "run", run, arguments)
