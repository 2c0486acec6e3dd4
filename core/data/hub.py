"""Models of the Hugging Face hub: looked up, read from the cache or downloaded; never hangs without a network."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.protocol.events import Phase
from finetop.core.recipe.references import is_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.runtime.event_log import EventLog

ALIAS, HUB_ID = "smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"  # the demo model
HubKind = Literal["model", "dataset"]
ASK_S = 5.0  # for the hub's answer; a hanging name look-up has no time limit of its own
GIVE_UP_S = 8.0
_WANTED = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt"]
_NOT_WANTED = ["*/*", "consolidated*"]  # other formats of the same weights


def fetch(model_id: str, revision: str | None, trust_remote_code: bool, events: EventLog) -> tuple[Path, str]:
    """Return the folder and commit of a hub model: cached if the hub is silent. Raises BadInput, EnvironmentTrouble."""
    answer = commit_or_folder(model_id, revision)
    if isinstance(answer, Path):
        return answer, answer.name
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    place = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=model_id, repo_type="model")
    events.write(Phase("downloading model"))
    with showing_growth(place, events, "downloading model"):
        wanted = [*_WANTED, "*.py"] if trust_remote_code else _WANTED
        folder = snapshot_download(
            model_id, revision=answer, allow_patterns=wanted, ignore_patterns=_NOT_WANTED
        )
    return Path(folder), answer


def commit_or_folder(model_id: str, revision: str | None) -> str | Path:
    """Return a hub model's commit, or its cached folder if the hub is silent. Raises BadInput, EnvironmentTrouble."""
    answer = ask(model_id, revision)
    if isinstance(answer, str):
        return answer
    kept = cached(model_id, revision) if isinstance(answer, EnvironmentTrouble) else None
    if kept is None:
        raise answer
    return kept


def ask(
    repository: str, revision: str | None, kind: HubKind = "model"
) -> str | BadInput | EnvironmentTrouble:
    """Return the commit of a model or data set on the hub, or BadInput or EnvironmentTrouble, within 8 seconds."""
    from huggingface_hub import errors

    answer = _info(repository, revision, kind)
    if not isinstance(answer, Exception):
        return str(answer.sha)
    key = "model.id" if kind == "model" else "data"
    if isinstance(answer, errors.GatedRepoError):
        hint = f"Accept its terms on its hub page ({repository}), then log in with `hf auth login`."
        return BadInput(f"{key}: {repository} is available only after you accept its terms.", hint=hint)
    if isinstance(answer, errors.RevisionNotFoundError):
        hint = "Check the spelling."
        return BadInput(f"model.revision: {repository} has no revision {revision!r}.", hint=hint)
    if isinstance(answer, errors.RepositoryNotFoundError | errors.HFValidationError):
        hint = "Check the spelling (org/name), or give a folder (./ or /). If it is private: `hf auth login`."
        return BadInput(f"{key}: the hub has no {kind} {repository!r}.", hint=hint)
    reason = str(answer).splitlines()[0][:120] if str(answer) else f"no answer in {GIVE_UP_S:.0f} s"
    if type(answer).__name__ == "OfflineModeIsEnabled":
        reason = "HF_HUB_OFFLINE is set"
    why = f"{repository} is not here and the hub can't be reached ({reason})"
    hint = "Give a local folder instead, or download it where there is a network and copy the hub's cache."
    return EnvironmentTrouble(f"{key}: {why}.", hint=hint)


def licence(repository: str, kind: HubKind) -> str:
    """Return the licence that a repository's card names; empty if the hub is silent or it names none."""
    answer = _info(repository, None, kind)
    found = None if isinstance(answer, Exception) else getattr(answer.card_data, "license", None)
    return found if isinstance(found, str) else ""


def _info(repository: str, revision: str | None, kind: HubKind) -> Any:
    """Return what the hub knows of a repository, or the error, within 8 seconds."""
    from huggingface_hub import HfApi

    outcome: list[Any] = []

    def call() -> None:
        try:
            info = HfApi().model_info if kind == "model" else HfApi().dataset_info
            outcome.append(info(repository, revision=revision, timeout=ASK_S))
        except Exception as error:
            outcome.append(error)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(GIVE_UP_S)
    return outcome[0] if outcome else TimeoutError()


def cached(model_id: str, revision: str | None) -> Path | None:
    """Return the folder of a completely cached model; else None. The network is not used."""
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(snapshot_download(model_id, revision=revision, local_files_only=True))
    except (errors.LocalEntryNotFoundError, errors.HFValidationError):
        return None
    whole = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    return folder if whole else None


def snapshot_of(model_id: str, revision: str | None) -> Path | None:
    """Return the folder of a cached model's newest known commit; else None. Nothing is imported or downloaded."""
    variables = os.environ
    home = variables.get("HF_HOME") or f"{variables.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    cache = variables.get("HF_HUB_CACHE") or variables.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    folder = Path(cache).expanduser() / f"models--{model_id.replace('/', '--')}"
    name = revision or "main"
    with suppress(OSError, ValueError):  # a commit has no reference
        name = (folder / "refs" / name).read_text(encoding="utf-8").strip()
    snapshot = folder / "snapshots" / name
    return snapshot if model_id and snapshot.is_dir() else None


@contextmanager
def showing_growth(folder: Path, events: EventLog, name: str, most: float | None = None) -> Iterator[None]:
    """Report a download's growth on disk once a second, as Phase events in MB, of `most` in all."""
    over = threading.Event()
    before = _size_mb(folder)

    def watch() -> None:
        while not over.wait(1.0):
            done = _size_mb(folder) - before
            events.write(Phase(name, done=round(min(done, most or done), 1), total=most, unit="MB"))

    watcher: Any = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _size_mb(folder: Path) -> float:
    total = 0
    for file in folder.rglob("*"):
        try:
            if file.is_file() and not file.is_symlink():
                total += file.stat().st_size
        except OSError:
            continue  # renamed meanwhile
    return total / 1e6


def is_local(model_id: str) -> bool:
    """Return whether this is a folder, not a name on the hub: it starts with /, ./, ../ or ~."""
    return model_id.startswith(("/", "./", "../", "~")) or model_id in (".", "..")


def id_of(model_id: str) -> str:
    """Return a model's id on the hub; empty for a folder or a run."""
    if is_local(model_id) or is_reference(model_id):
        return ""
    return HUB_ID if model_id == ALIAS else model_id
