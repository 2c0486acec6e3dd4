"""Queues the publication of an exported folder on the hub; the card waits in the run's folder for the job."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from finetop.core.errors import BadInput
from finetop.core.features.push.messages import Push, PushAnswer
from finetop.core.protocol import runs as data
from finetop.core.runtime import parts
from finetop.core.runtime.files import make_inside, write_whole
from finetop.core.store import checks, jobs, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.requests.submit import absolute
from finetop.core.supervisor.state import Supervisor
from finetop.core.text import quoted

CARDS = "cards"  # folder of a run
LONGEST = 96  # characters of ORG/NAME: the hub's limit
_PART = re.compile(r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?", re.ASCII)


def push(supervisor: Supervisor, ask: Push) -> PushAnswer:
    """Queue the upload of a folder, or answer without a job if the folder does not exist yet.

    The same request again, while the upload is under way, is answered with its job.

    Raises NotFound for an unknown run or checkpoint, BadInput for an invalid name or folder.
    """
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    require_repo(ask.repo)
    parts.require("huggingface_hub")
    step, _ = checks.newest_checkpoint(connection, run_id, ask.step)
    folder = absolute(ask.folder, "folder")
    if not folder.exists() and not folder.is_symlink():
        return PushAnswer(None, name, step)
    args: dict[str, Any] = {
        "step": step, "folder": str(folder), "repo": ask.repo, "kind": ask.kind, "remedy": ask.remedy,
        "quants": ask.quants, "public": ask.public, "dry_run": ask.dry_run,
    }  # fmt: skip
    card = msgspec.json.encode(ask.card)
    run_folder = supervisor.home.root / runs.detail(connection, run_id).folder
    make_inside(run_folder / CARDS, run_folder)
    args["card"] = f"{CARDS}/{hashlib.sha256(card).hexdigest()[:16]}.json"
    for job in jobs.of_run(connection, run_id, "push"):
        if job.args == args and not isinstance(job.state, data.Ended):
            return PushAnswer(job.id, name, step)  # sent again: its upload goes on
    write_whole(run_folder / args["card"], card)
    with transaction(connection):
        job_id, _ = jobs.add_job(connection, run_id=run_id, verb="push", args=args)
    supervisor.touch()
    return PushAnswer(job_id, name, step)


def require_repo(repo: str) -> None:
    """Require a name that the hub accepts for a model. Raises BadInput."""
    org, slash, name = repo.partition("/")
    is_valid = all(_PART.fullmatch(part) for part in (org, name)) and len(repo) <= LONGEST
    if not slash or not is_valid or ".." in repo or "--" in repo or name.endswith(".git"):
        raise BadInput(
            f"{quoted(repo[:120])} is not a repository of the Hugging Face hub.",
            hint="Give ORG/NAME: letters, digits and - _ . between them, at most 96 characters.",
        )


ANSWERS = {Push: push}
