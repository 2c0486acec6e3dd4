"""Adopting a folder from the command line: shared by `finetop import` and `finetop check --model`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from finetop.core.client.connection import ask_once
from finetop.core.commands.shared import follow, options
from finetop.core.errors import FinetopError
from finetop.core.models.imports.recipe import Adopted, ImportRequest
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.runs import EventsAnswer, GetRun
from finetop.core.protocol.messages.submit import Import, ImportAnswer
from finetop.core.recipe import weight_formats
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of both: the base, the name, the training rows, the quantization."""
    about = "the model it was tuned from (default: the one that an adapter names)"
    options.path(parser, "--base", "ID|FOLDER", about)
    parser.add_argument("--name", default="", help="the run's name (default: the folder's)")
    about = "rows it was trained on: benchmark items among them are not counted; repeatable"
    options.repeated(parser, "--data", "FILE", about, type=options.a_path)
    about = "load both models' linear layers in fewer bits"
    options.choice(parser, "--quantize", weight_formats.NAMES, about)


def request_of(
    args: argparse.Namespace, path: str, *, general: Mapping[str, Any] | None = None, at_end: bool = False
) -> ImportRequest:
    """Return the import request for the folder at `path`."""
    base, rows, more = args.base or "", tuple(args.data), general or {}
    return ImportRequest(path, Path.cwd(), base, args.name, rows, args.quantize, more, at_end)


def queue(home: Home, adopted: Adopted, *, copy: bool = False, reuse: bool = False) -> ImportAnswer:
    """Queue the import of a folder; with `reuse` return its existing run."""
    loaded, folder = adopted.recipe, adopted.folder
    name, path = loaded.recipe.name, str(folder.path)
    return ask_once(
        home, Import(loaded.resolved, loaded.text, name, path, folder.steps, copy=copy, reuse=reuse)
    )


def until_adopted(home: Home, name: str, *, quiet: bool) -> data.RunDetail:
    """Wait until a folder has been examined. Raises FinetopError with the cause if it can't be adopted."""
    show: Callable[[EventsAnswer], None] = (lambda new: None) if quiet else follow.Progress(steps=False)
    for new in follow.new_events(home, name):
        if not isinstance(new.row.state, data.Queued | data.Running):
            break
        show(new)
    detail = ask_once(home, GetRun(name))
    require_finished(detail.row.state, f"the import of {name} failed", f"See `finetop tail --log {name}`.")
    return detail


def require_finished(state: data.State, what: str, hint: str, *, may_deny: bool = False) -> None:
    """Raise what ended a job as an error with its exit code; return if it finished.

    `may_deny`: 1 is an answer of this job; of any other it stands for a fault in the environment's code.
    """
    if isinstance(state, data.Finished):
        return
    cause = getattr(state, "cause", "") or "it was stopped"
    error = FinetopError(f"{what}: {cause.rstrip('.')}.", hint=getattr(state, "hint", "") or hint)
    code = getattr(state, "exit_code", None)
    error.exit_code = code if code in (2, 3, 4) or (may_deny and code == 1) else 4
    raise error
