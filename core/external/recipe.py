"""The recipe of a command given on the command line, and what a command needs of the machine where it is queued."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import BadInput, RecipeError
from finetop.core.recipe.command import filled, output_in
from finetop.core.recipe.load import Loaded, resolve_text
from finetop.core.runtime.files import given_path
from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A supervisor may have been started in another environment than the command's, so these come with it.
OF_THE_SHELL: tuple[str, ...] = ("PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH")
OF_THE_SHELL += ("LD_LIBRARY_PATH", "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_HUB_OFFLINE")
OF_THE_SHELL += ("WANDB_MODE", "WANDB_DIR", "TRACKIO_DIR", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
HERE = "Give its path, or activate its environment first: the command gets this shell's PATH."
ENDINGS = (".py", ".sh")  # of scripts
_INTERPRETER = re.compile(r"python[\d.]*|(?:ba|z)?sh")
LAUNCHERS = re.compile(r"python[\d.]*|accelerate|torchrun|deepspeed|uv|env|launch|run|-m")
PATTERN = "pattern:"  # of --metrics: what is printed, in place of a kind of file
LABEL = "command"  # of the recipe, as a place of its faults
_WRITTEN = re.compile(rf"^{LABEL}:\d+: ")


@dataclass(frozen=True)
class CommandRequest:
    """A command as typed. Paths are relative to `cwd`, where it starts too unless `workdir` is another folder.

    An empty text means not given.
    """

    words: tuple[str, ...]
    cwd: Path
    workdir: str = ""
    name: str = ""
    output: str = ""
    base: str = ""
    metrics: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    objective: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)  # more sections


def command_recipe(request: CommandRequest, sets: Sequence[str] = ()) -> Loaded:
    """Return the recipe of a command. Raises BadInput, which names no line: nobody wrote this recipe."""
    command: dict[str, Any] = {"run": list(request.words), "workdir": request.workdir or str(request.cwd)}
    patterns = [text.removeprefix(PATTERN) for text in request.metrics if text.startswith(PATTERN)]
    metrics = [text for text in request.metrics if not text.startswith(PATTERN)]
    if len(patterns) > 1:
        raise BadInput("--metrics: only one pattern can be given.", hint="Join them: (?:first|second).")
    named = {"output": request.output, "metrics": metrics, "pattern": "".join(patterns)}
    given = {**named, "resume_command": list(request.resume)}
    command.update({key: value for key, value in given.items() if value})
    sections: dict[str, Any] = {
        "recipe": 1,
        "name": request.name or name_of(request.words, request.output),
        "command": command,
    }
    if request.objective:
        sections["objective"] = sections["method"] = {"name": request.objective}
    if request.base:
        sections["model"] = {"id": base_in(request.base, request.cwd)}
    if request.data:
        sections["data"] = {"train": [{"path": path} for path in request.data]}
    lines = [
        f"{key}: {msgspec.json.encode(value).decode()}"
        for key, value in {**sections, **request.settings}.items()
    ]
    text = "\n".join(("# Another program's training, started by finetop.", *lines, ""))
    try:
        return replace(resolve_text(text, sets, request.cwd, label=LABEL, to_train=False), places={})
    except RecipeError as error:
        raise BadInput(_WRITTEN.sub("", error.message), hint=error.hint) from error


def base_in(base: str, folder: Path) -> str:
    """Return a base model: its absolute folder if `folder` has one of that name, else as given."""
    place = folder / given_path(base)
    return str(place.resolve()) if place.is_dir() else base


def name_of(words: Sequence[str], folder: str = "") -> str:
    """Return a run's name after the command: that of its output folder, its script or its program.

    Without a command, as of a watched folder, it is the folder's.
    """
    output = Path(output_in(words) if words else folder).name
    script = next((Path(word).stem for word in words if word.endswith((".py", ".sh", ".yaml", ".yml"))), "")
    names = (Path(word).name for word in words)
    program = next((name for name in names if not LAUNCHERS.fullmatch(name)), "command")
    text = output or script or program
    safe = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in text)
    return safe.strip(".-")[:60] or "command"


def with_environment(resolved: dict[str, Any], environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Add what a command needs of the shell that queues it to its own environment, which stays as it is.

    Raises BadInput if its program is not found.
    """
    command = resolved.get("command")
    if command is None:
        return resolved
    env = {**{key: environment[key] for key in OF_THE_SHELL if key in environment}, **command["env"]}
    if command["run"] and not command["shell"]:
        words = [filled(word, command["values"]) for word in command["run"]]
        require_program(words, command["workdir"], env.get("PATH"), HERE)
    return {**resolved, "command": {**command, "env": env}}


def require_program(command: Sequence[str], workdir: str, path: str | None, hint: str) -> None:
    """Require the program of a command, and an interpreter's script. Raises BadInput, with `hint` on the program."""
    program, *words = command
    named = str(Path(workdir) / program) if "/" in program else program
    if shutil.which(named, path=path) is None:
        raise BadInput(f"command: there is no program {plain(program)[:100]}.", hint=hint)
    script = next((word for word in words if not word.startswith("-") or word in ("-c", "-m")), "")
    is_file = script.endswith(ENDINGS) and _INTERPRETER.fullmatch(Path(program).name) is not None
    if is_file and not (Path(workdir) / script).exists():
        raise BadInput(
            f"command: there is no file {plain(script)[:100]} in {plain(workdir)}.",
            hint="Check its name, or cd to its folder.",
        )
