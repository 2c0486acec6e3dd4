"""The push job: completes the card of an exported folder, looks for what must not leave, and uploads it."""

from __future__ import annotations

import msgspec

from finetop.core.errors import BadInput
from finetop.core.models.push import folder, leaks, upload
from finetop.core.models.push.folder import PushRequest
from finetop.core.protocol.events import Ended, Phase
from finetop.core.protocol.messages.push import Card
from finetop.core.recipe.job import Job
from finetop.core.runtime.files import read_given
from finetop.core.text import counted
from finetop.core.wording.units import size_word

PACKAGES = ("finetop", "huggingface_hub")
IF_STOPPED = "asked to stop; nothing was published, and what was uploaded is not sent again"


def work(job: Job) -> Ended:
    """Write the card and check the folder; list the files, and upload them unless it is a dry run."""
    request = request_of(job)
    job.started("", "", PACKAGES)
    job.events.write(Phase("writing the card"))
    folder.complete(request)
    job.events.write(Phase("looking for secrets and local paths"))
    files = folder.files_of(request.folder)
    leaks.require_none(request.folder, files, job.home.root, (request.repo, request.base_id))
    sizes = {file: (request.folder / file).stat().st_size for file in files}
    for file, size in sizes.items():
        print(f"push, {size_word(size):>9}  {file}")
    print(
        f"push, {counted(len(files), 'file')}, {size_word(sum(sizes.values()))}, in {request.folder}",
        flush=True,
    )
    if request.dry_run:
        print(f"push, a dry run: nothing was sent to {request.repo}")
        print((request.folder / folder.README).read_text(encoding="utf-8"), flush=True)
        return Ended("finished")
    print(f"push, {upload.upload(request, sizes, job.events)}", flush=True)
    return Ended("finished")


def request_of(job: Job) -> PushRequest:
    """Read what to publish, and where. Raises BadInput."""
    args = job.args
    try:
        card = msgspec.json.decode(read_given(job.inside(args.get("card"), "card")), type=Card)
        return msgspec.convert(
            {
                "run_name": job.spec.run_name,
                "base_id": job.spec.recipe["model"]["id"],
                **{
                    name: args[name]
                    for name in ("step", "repo", "kind", "remedy", "quants", "public", "dry_run")
                },
                "folder": job.absolute("folder"),
                "card": card,
            },
            PushRequest,
        )
    except (KeyError, TypeError, msgspec.ValidationError, msgspec.DecodeError) as error:
        raise BadInput(f"job.json: the push can't be read ({error}).") from error
