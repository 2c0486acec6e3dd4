"""`finetop export RUN[@STEP]`: write a whole model, GGUF files, or the adapter alone, and verify its outputs.

Exit code 1 if its outputs differ, or a GGUF file lost too much against what was trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from finetop.core.client.connection import Client, ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.follow import until_done
from finetop.core.commands.shared.imports import require_finished
from finetop.core.commands.shared.output import print_json
from finetop.core.errors import BadInput, FinetopError, near
from finetop.core.features.export.gguf_log import facts_in
from finetop.core.features.export.messages import Export, ExportAnswer
from finetop.core.features.export.wording import DETAIL
from finetop.core.models.llama_cpp.quants import DEFAULT, quants_of
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.runs import GetRun, ReadLog
from finetop.core.runtime.files import given_path
from finetop.core.runtime.home import Home
from finetop.core.text import clean

ABOUT = "write a run's model, or only its adapter, to a folder, and verify that its outputs are the same"
GGUF = "gguf"
LOG_BYTES = 32_768


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN[@STEP]", "a run: its best or newest checkpoint, or STEP's")
    about = "a new folder (default: ./RUN-STEP), or gguf: ./RUN-STEP-gguf, in --quant f16"
    options.path(parser, "--to", "DIR", about)
    about = "GGUF files for llama.cpp and Ollama: q8_0, q4_k_m …, several by commas, or all"
    options.optional(parser, "--quant", "FORMAT", about)
    about = "number format of the written weights (default: the base model's)"
    options.choice(parser, "--dtype", ("auto", "float32", "bfloat16", "float16"), about)
    options.flag(parser, "--adapter", "only the adapter, unmerged, for PEFT")
    options.optional(parser, "--remedy", "NAME", "the model of this remedy: see `finetop remedy`")
    options.flag(parser, "--no-check", "don't ask GGUF files the items of the run's check")
    options.flag(parser, "--anyway", "write a GGUF file even if it is REGRESSED against what was trained")


def run(args: argparse.Namespace, home: Home) -> int:
    name, step = options.run_and_step(args.run)
    if (
        args.to
        and args.to != GGUF
        and "/" not in args.to
        and abs(len(args.to) - len(GGUF)) < 2
        and near(args.to, [GGUF])
    ):
        hint = f"Did you mean --to {GGUF}? A folder of that name: --to ./{args.to}."
        raise BadInput(f"--to {args.to} is like {GGUF}.", hint=hint)
    quants = ",".join(quants_of(args.quant or DEFAULT)) if args.quant or args.to == GGUF else ""
    with Client(home) as client:
        detail = client.ask(GetRun(name))
        step = step_of(detail, step)
        kinds = [args.remedy, "adapter" if args.adapter else "", GGUF if quants else ""]
        wanted = "-".join([detail.row.name, str(step or 0), *filter(None, kinds)])
        given = "" if args.to is None or args.to == GGUF else args.to
        target = target_of(given, wanted, home)
        order = Export(name, str(target), step, args.dtype, args.remedy, args.adapter, quants)
        order = replace(order, unchecked=args.no_check, anyway=args.anyway)
        queued = client.ask(order)
    if queued.warning and not args.json:
        print(f"warning: {queued.warning}", flush=True)
    job = until_done(home, queued, quiet=args.json)
    log = closing_log(home, replace(queued, job_id=job.id))
    facts = facts_in(log) if quants else {}
    is_refused = any(file.get("standing") == "refused" for file in facts.get("files", ()))
    failed = f"the export of {name} failed"
    if not is_refused:
        require_finished(job.state, failed, f"See `finetop tail --log {name}`.", may_deny=True)
    if args.json:
        more: dict[str, Any] = {"remedy": args.remedy} if args.remedy else {}
        more |= {"adapter": True} if args.adapter else {}
        more |= {"warning": queued.warning} if queued.warning else {}
        print_json({"run": queued.run, "step": queued.step, "folder": str(target), **more, **facts})
    else:
        print("\n".join(what_was_written(log)))
    if is_refused and isinstance(job.state, data.Failed):
        raise FinetopError(job.state.cause, hint=job.state.hint)
    return 0


def what_was_written(log: str) -> Iterator[str]:
    """Yield the lines of a log for the user: warnings, what was exported, and the details below that."""
    is_below = False
    for line in log.splitlines():
        is_below = is_below or line.startswith("exported ")
        if line.startswith(("export", "warning")) or (is_below and line.startswith(DETAIL)):
            yield line


def step_of(detail: data.RunDetail, step: int | None) -> int | None:
    """Return the step to write: the given one, else the best, else the newest."""
    if step is None and detail.best is not None:
        return detail.best.step
    return max((saved.step for saved in detail.checkpoints), default=None) if step is None else step


def target_of(given: str, name: str, home: Home) -> Path:
    """Return the folder to write to; on another machine it must be an absolute path. Raises BadInput."""
    if home.link is not None and not given.startswith("/"):
        hint = "Give its whole path there: --to /path/there."
        raise BadInput(f"--to {given or 'is missing'}: the folder is created on {home.label}.", hint=hint)
    return given_path(given or name).absolute()


def closing_log(home: Home, queued: ExportAnswer) -> str:
    """Return the end of the job's log: how well the outputs agree, and where the model is."""
    log = ask_once(home, ReadLog(queued.run, queued.job_id, -LOG_BYTES)).text
    return clean(log, limit=LOG_BYTES)  # the facts about files are one long line


PLUGIN = Command(ABOUT, "run", run, arguments)
