"""Tasks of the lm-evaluation-harness (0.4.13), by name or by YAML file, with their data sets.

The harness resolves a YAML's relative `data_files` against the working directory. Here they are searched for
beside the YAML and in the folders above it, wherever the command runs.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, EnvironmentTrouble, did_you_mean, near
from finetop.core.runtime.files import read_given

if TYPE_CHECKING:
    from finetop.core.check.tasks.suite import SuiteTask

LEVELS_UP = 4  # folders above a YAML that are searched for its data files
SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")
# how the harness refuses a task
REFUSALS = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    SyntaxError,
    AssertionError,
    FileNotFoundError,
)
LOCAL_LOADERS = ("json", "csv", "parquet", "arrow", "text")


def load(task: SuiteTask, place: str) -> tuple[Any, ...]:
    """Return a task's parts: itself alone, or the members of a group or tag, with their data sets.

    Raises BadInput for an unknown name or file, EnvironmentTrouble naming the data set that can't be reached.
    """
    if task.yaml is not None:
        return (_from_yaml(task, place),)
    assert task.task is not None
    manager = task_manager()
    if task.task not in manager.task_index:
        meant = near(task.task, manager.all_tasks)
        hint = f"Did you mean {meant}?" if meant else "All of them: `lm-eval ls tasks`."
        raise BadInput(f"{place}: the harness has no task {task.task!r}.", hint=hint)
    if task.lm_eval:
        return (_with_own_settings(task, manager.task_index[task.task].yaml_path, place),)
    with faults(task, place, task.task), hub_if_it_answers():
        parts = tuple(manager.load([task.task])["tasks"].values())
    if not task.trust_code:
        refuse_code_of_models(parts, place)
    return parts


@lru_cache(maxsize=1)
def task_manager() -> Any:
    """Return the harness's task manager: it reads 14,000 files, which takes about 5 s."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def refuse_code_of_models(parts: Sequence[Any], place: str) -> None:
    """Refuse tasks that run code written by a model, unless the suite trusts them. Raises BadInput."""
    for part in parts:
        if getattr(part, "UNSAFE_CODE", False):
            raise _runs_code(part.task_name, place)


def _runs_code(name: str, place: str) -> BadInput:
    hint = "Set trust_code: true there if this machine may do that."
    return BadInput(f"{place}: {name} runs code that a model generates.", hint=hint)


def _with_own_settings(task: SuiteTask, file: Path | None, place: str) -> Any:
    """Return a task of the harness with some of its settings replaced by the suite's. Raises BadInput for a group."""
    config = read_yaml(file, True, place) if file is not None else {}
    if "class" in config or not isinstance(config.get("task"), str):
        message = f"{place}: {task.task} is not a single task; lm_eval replaces the settings of one."
        raise BadInput(message, hint="Give its members one by one, or leave lm_eval out.")
    settings = {key: value for key, value in config.items() if key not in ("tag", "group", "task_list")}
    own = with_absolute_paths(task.lm_eval, Path(place.rpartition(":")[0]))
    return _open({**settings, **_without_absent_splits(settings, own), **own}, task, place)


def _without_absent_splits(settings: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Drop the splits of a task's data set that a local copy of it does not have."""
    if "dataset_path" not in own:
        return {}
    files = (own.get("dataset_kwargs") or {}).get("data_files")
    there = set(files) if isinstance(files, dict) else {"train"}
    absent = [key for key in SPLITS if settings.get(key) is not None and settings[key] not in there]
    return {"dataset_name": None, **dict.fromkeys(absent)}


def _from_yaml(task: SuiteTask, place: str) -> Any:
    assert task.yaml is not None
    file = Path(task.yaml)
    return _open(with_absolute_paths(read_yaml(file, task.trust_code, place), file), task, place)


def _open(config: dict[str, Any], task: SuiteTask, place: str) -> Any:
    """Make the harness's task from a configuration, and read its data set."""
    from lm_eval.api.task import ConfigurableTask, TaskConfig

    known = set(TaskConfig.__dataclass_fields__)
    for key in config:
        if key not in known:
            hint = "Give its members one by one." if key == "group" else did_you_mean(key[:60], known)
            raise BadInput(f"{place}: {key} is not a setting of a harness task.", hint=hint)
    if config.get("unsafe_code") and not task.trust_code:
        raise _runs_code(task.name, place)
    source = str(config.get("dataset_path"))
    is_local = source in LOCAL_LOADERS or Path(source).is_dir()
    with faults(task, place, source), nullcontext() if is_local else hub_if_it_answers():
        return ConfigurableTask(config=config)


def read_yaml(file: Path, trust_code: bool, place: str) -> dict[str, Any]:
    """Read a task's YAML as the harness does, with includes. Raises BadInput for a faulty one, or one with code."""
    import yaml
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        if not trust_code and b"!function" in read_given(file):
            hint = "Read that code, then set trust_code: true for this task."
            raise BadInput(f"{place}: {file} runs Python from files next to it (!function).", hint=hint)
        config: dict[str, Any] = load_yaml(file, resolve_func=trust_code)
    except (OSError, ValueError, ImportError, AttributeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BadInput(f"{place}: can't read the task {file}: {reason}", hint="Fix that file.") from error
    if not trust_code and any(callable(value) for value in config.values()):
        raise BadInput(f"{place}: a file that {file} includes runs Python.", hint="Set trust_code: true.")
    return config


def with_absolute_paths(config: dict[str, Any], file: Path) -> dict[str, Any]:
    """Make a task's local data files absolute. Raises BadInput for one that does not exist."""
    settings = dict(config.get("dataset_kwargs") or {})
    for key in ("data_files", "data_dir"):
        if settings.get(key) is not None:
            settings[key] = _absolute(settings[key], file)
    result = {**config}
    if settings:
        result["dataset_kwargs"] = settings
    path = config.get("dataset_path")
    if isinstance(path, str) and path.startswith(("./", "../")):
        result["dataset_path"] = _absolute(path, file)
    return result


def _absolute(paths: Any, file: Path) -> Any:
    if isinstance(paths, dict):
        return {split: _absolute(path, file) for split, path in paths.items()}
    if isinstance(paths, list):
        return [_absolute(path, file) for path in paths]
    if "://" in str(paths):
        return paths
    folders = [file.parent, *list(file.parents)[1 : LEVELS_UP + 1]]
    for folder in folders:
        if "*" in str(paths):
            if any(folder.glob(str(paths))):
                return str(folder / paths)
        elif (folder / paths).exists():
            return str(folder / paths)
    raise BadInput(
        f"{file}: data_files names {paths}, which is neither next to it nor in the {LEVELS_UP} folders above.",
        hint="Write the path from the YAML's own folder, or an absolute one.",
    )


@contextmanager
def faults(task: SuiteTask, place: str, source: str) -> Iterator[None]:
    """Turn errors of the harness and its data library into one line: what is wrong, or what can't be reached."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from jinja2 import TemplateError

    quiet()
    try:
        yield
    except (ConnectionError, DatasetNotFoundError, OfflineModeIsEnabled, HfHubHTTPError) as error:
        raise out_of_reach(task, source, error) from error
    except ModuleNotFoundError as error:
        message = f"{place}: the task {task.name} needs the Python package {error.name}."
        hint = f"Install it: `pip install {error.name}` (or lm_eval's extra for this task)."
        raise EnvironmentTrouble(message, hint=hint) from error
    except (*REFUSALS, TemplateError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        if "find cache" in reason or "Hub" in reason:
            raise out_of_reach(task, source, error) from error
        hint = "Fix lm_eval there." if task.data else "Fix the task, or leave it out."
        raise BadInput(f"{place}: the harness refuses the task {task.name}: {reason}", hint=hint) from error


def out_of_reach(task: SuiteTask, source: str, error: Exception) -> EnvironmentTrouble:
    """Return an error that names the data set that can't be reached, with a way out."""
    named = re.search(r"'?([\w.-]+/[\w.-]+)'?", str(error))
    data_set = named.group(1) if named else source
    return EnvironmentTrouble(
        f"the data set of {task.name} ({data_set}) is not here and the hub can't be reached.",
        hint="Fetch it where there is a network (`finetop suites SUITE --fetch`) and copy the hub's cache"
        " (~/.cache/huggingface) here; or copy the suite and give it a local file: under lm_eval (dataset_path: json,"
        " dataset_kwargs: {data_files: …}), or as rows of your own (data: FILE.jsonl).",
    )


def quiet() -> None:
    """Silence the harness and its libraries in the log, except for errors."""
    import datasets

    datasets.disable_progress_bars()
    for name in ("lm_eval", "lm-eval", "datasets", "huggingface_hub", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def hub_if_it_answers() -> Iterator[None]:
    """Keep data libraries from waiting minutes for an absent hub: what was downloaded before comes from its cache."""
    import datasets
    import huggingface_hub.constants as hub

    if hub_answers():
        yield
        return
    before = hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


@lru_cache(maxsize=1)
def hub_answers() -> bool:
    """Return whether the hub answers: one request for a small data set, for at most 8 seconds, once per process."""
    from finetop.core.data import hub

    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    return not isinstance(hub.ask("allenai/ai2_arc", None, "dataset"), EnvironmentTrouble)
