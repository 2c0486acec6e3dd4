"""The push job: completes the card of an exported folder, looks for what must not leave, and uploads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from finetop.core.errors import BadInput, EnvironmentTrouble, first_line
from finetop.core.features.push import folder, leaks
from finetop.core.features.push.folder import PushRequest
from finetop.core.features.push.messages import Card
from finetop.core.protocol.events import Ended, Phase
from finetop.core.recipe.job import Job
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.files import read_given
from finetop.core.runtime.parts import own_version
from finetop.core.text import counted
from finetop.core.wording.units import size_word

PACKAGES = ("finetop", "huggingface_hub")
FROM_ARGS = ("step", "repo", "kind", "remedy", "quants", "public", "dry_run")
IF_STOPPED = "asked to stop; nothing was published, and what was uploaded is not sent again"
AGAIN = "Run the same command again: what the hub has already is not sent twice."
LOG_IN = "Log in on the machine of the run, with a token that may write: hf auth login."
BESIDE = (".gitattributes",)  # files that the hub makes itself


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
    print(f"push, {upload(request, sizes, job.events)}", flush=True)
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
                **{name: args[name] for name in FROM_ARGS},
                "folder": job.absolute("folder"),
                "card": card,
            },
            PushRequest,
        )
    except (KeyError, TypeError, msgspec.ValidationError, msgspec.DecodeError) as error:
        raise BadInput(f"job.json: the push can't be read ({error}).") from error


# --- the upload, by huggingface_hub's own code: large files one by one, then one commit that shows all of it ------


def upload(request: PushRequest, sizes: Mapping[str, int], events: EventLog) -> str:
    """Upload files by name and size, and return who can see the commit, and its address.

    The token is huggingface_hub's own, which reads it for each request: it is never passed on or kept.
    Raises BadInput without a token or permission and for a public repository that was to be private,
    EnvironmentTrouble for a hub that can't be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if not get_token():
        raise BadInput("there is no token for the Hugging Face hub.", hint=LOG_IN)
    api, repo = HfApi(library_name="finetop", library_version=own_version()), request.repo
    with explained(repo):
        events.write(Phase("creating the repository"))
        api.create_repo(repo, private=not request.public, exist_ok=True)
        is_private = bool(api.model_info(repo).private)
        require_visibility(request, is_private)
        there = [name for name in api.list_repo_files(repo) if name not in sizes and name not in BESIDE]
        if there:
            more = f" and {len(there) - 5} more" if len(there) > 5 else ""
            print(f"warning: {repo} keeps files that are not of this push: {', '.join(there[:5])}{more}")
        additions = [CommitOperationAdd(name, request.folder / name) for name in sizes]
        done, total = 0, sum(sizes.values())
        for addition in additions:
            events.write(Phase("uploading", done / 1e9, total / 1e9, "GB"))
            api.preupload_lfs_files(repo, [addition])
            done += sizes[addition.path_in_repo]
        events.write(Phase("committing"))
        message = f"{request.run_name}@{request.step}, {request.kind}: finetop {own_version()}"
        commit = api.create_commit(repo, additions, commit_message=message)
    return f"{'private' if is_private else 'public'}: {commit.commit_url}"


def require_visibility(request: PushRequest, is_private: bool) -> None:
    """Require that a repository is no more public than it was asked to be. Raises BadInput."""
    if is_private and request.public:
        print(f"warning: {request.repo} exists and stays private; its settings on the hub change that")
    if is_private or request.public:
        return
    hint = "Push with --public, to another name, or make it private in its settings on the hub."
    raise BadInput(f"{request.repo} exists and is public.", hint=hint)


@contextmanager
def explained(repo: str) -> Iterator[None]:
    """Turn the errors of the hub and the network into one line each."""
    from huggingface_hub import errors

    network: Any = errors.HfHubHTTPError.__bases__[0]  # of the HTTP library, which depends on huggingface_hub
    try:
        yield
    except errors.HFValidationError as error:
        raise BadInput(f"{repo}: {first_line(error)}") from error
    except errors.HfHubHTTPError as error:
        raise _refusal(repo, error.response.status_code, error.server_message or "") from error
    except (network, OSError, RuntimeError) as error:  # RuntimeError: of one file, with the cause behind it
        cause = error.__cause__ or error
        is_offline = isinstance(error, errors.OfflineModeIsEnabled)
        reason = "HF_HUB_OFFLINE is set" if is_offline else first_line(cause)[:200].rstrip(".")
        raise EnvironmentTrouble(f"the upload to {repo} was cut: {reason}.", hint=AGAIN) from error
    except ValueError as error:
        text = " ".join(str(error).split())[:300]
        if "README.md" in text:  # of the hub's check of the card
            raise BadInput(f"the hub refuses the card: {text}") from error
        raise EnvironmentTrouble(f"the hub's answer can't be read: {text}.", hint=AGAIN) from error


def _refusal(repo: str, status: int, message: str) -> BadInput | EnvironmentTrouble:
    """Return the error for the hub's answer."""
    said = f" ({' '.join(message.split())[:200]})" if message else ""
    match status:
        case 401:
            return BadInput(f"the hub does not accept the token{said}.", hint=LOG_IN)
        case 403:
            return BadInput(f"the token may not write to {repo}{said}.", hint=LOG_IN)
        case 404:
            org = repo.partition("/")[0]
            return BadInput(
                f"the hub has no {repo} for this token{said}.", hint=f"Check the spelling of {org}."
            )
        case 400 | 409 | 413 | 422:
            return BadInput(f"the hub refuses the upload to {repo}{said or f' ({status})'}.")
    return EnvironmentTrouble(f"the hub answers {status} to the upload to {repo}{said}.", hint=AGAIN)
