"""The recipe of a command given on the command line, and what a command needs of the machine where it is queued."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import BadInput
from finetop.core.recipe.command import filled, output_in
from finetop.core.recipe.load import Loaded, resolve_text
from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A supervisor may have been started in another environment than the command's, so these come with it.
OF_THE_SHELL = (
    *("PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH", "LD_LIBRARY_PATH"),
    *(
        "HF_HOME",
        "HF_HUB_CACHE",
        "HF_DATASETS_CACHE",
        "HF_HUB_OFFLINE",
        "WANDB_MODE",
        "WANDB_DIR",
        "TRACKIO_DIR",
    ),
)
HERE = "Give its path, or activate its environment first: the command gets this shell's PATH."
LAUNCHERS = ("python", "python3", "accelerate", "torchrun", "deepspeed", "uv", "env", "launch", "run", "-m")


@dataclass(frozen=True)
class CommandRequest:
    """A command as typed. Paths are relative to `cwd`; an empty text means not given."""

    words: tuple[str, ...]
    cwd: Path
    name: str = ""
    output: str = ""
    base: str = ""
    metrics: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    objective: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)  # more sections


def command_recipe(request: CommandRequest, sets: Sequence[str] = ()) -> Loaded:
    """Return the recipe of a command. Raises RecipeError."""
    command: dict[str, Any] = {"run": list(request.words), "workdir": str(request.cwd)}
    given = {
        "output": request.output,
        "metrics": list(request.metrics),
        "resume_command": list(request.resume),
    }
    command.update({key: value for key, value in given.items() if value})
    sections: dict[str, Any] = {
        "recipe": 1,
        "name": request.name or name_of(request.words),
        "command": command,
    }
    if request.objective:
        sections["objective"] = sections["method"] = {"name": request.objective}
    if request.base:
        sections["model"] = {"id": request.base}
    if request.data:
        sections["data"] = {"train": [{"path": path} for path in request.data]}
    lines = [
        f"{key}: {msgspec.json.encode(value).decode()}"
        for key, value in {**sections, **request.settings}.items()
    ]
    text = "\n".join(("# Another program's training, started by finetop.", *lines, ""))
    return resolve_text(text, sets, request.cwd, label="command", to_train=False)


def name_of(words: Sequence[str]) -> str:
    """Return a run's name after the command: that of its output folder, its script or its program."""
    output = Path(output_in(words)).name
    script = next((Path(word).stem for word in words if word.endswith((".py", ".sh", ".yaml", ".yml"))), "")
    program = next((Path(word).name for word in words if Path(word).name not in LAUNCHERS), "command")
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
        require_program(
            filled(command["run"][0], command["values"]), command["workdir"], env.get("PATH"), HERE
        )
    return {**resolved, "command": {**command, "env": env}}


def require_program(program: str, workdir: str, path: str | None, hint: str) -> None:
    """Require that a program can be started; `hint` says how to name one. Raises BadInput."""
    named = str(Path(workdir) / program) if "/" in program else program
    if shutil.which(named, path=path) is None:
        raise BadInput(f"command: there is no program {plain(program)[:100]}.", hint=hint)
