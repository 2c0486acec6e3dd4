"""Options by which the launcher of a command would take GPUs that the command does not have."""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.errors import BadInput
from finetop.core.recipe.command import filled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from finetop.core.recipe.schema import Command

TORCHRUN = ("torchrun", "torch.distributed.run", "torch.distributed.launch")
DEEPSPEED = ("deepspeed", "deepspeed.launcher.runner")
ACCELERATE = ("accelerate", "accelerate.commands.launch")
# With one of these deepspeed drops CUDA_VISIBLE_DEVICES and counts all GPUs of the machine.
IGNORES_OURS = ("num_gpus", "num_nodes", "include", "i", "exclude", "e")
SCRIPTS = (".py", ".sh")


def require_own_gpus(command: Command, gpus: int) -> None:
    """Require that a command's launcher keeps to the `gpus` of its budget. Raises BadInput."""
    lines = [command.run, command.resume_command, _words(command.shell or "")]
    for line in lines:
        words = [filled(word, command.values) for word in line]
        for place, word in enumerate(words):
            _require(Path(word).name, words[place + 1 :], gpus)


def _require(launcher: str, words: Sequence[str], gpus: int) -> None:
    own = "Leave it out, and set budget.gpus: it uses all GPUs that finetop gives it."
    for name, word, value in _options(words):
        if launcher in DEEPSPEED and name in IGNORES_OURS:
            message = (
                f"command: deepspeed with {word} ignores CUDA_VISIBLE_DEVICES and takes the GPUs of others."
            )
            raise BadInput(message, hint=own)
        if launcher in ACCELERATE and name == "gpu_ids" and value != "all":
            raise BadInput(f"command: {word} {value} names GPUs that may be those of others.", hint=own)
        counts = (launcher in TORCHRUN and name == "nproc_per_node") or (
            launcher in ACCELERATE and name == "num_processes"
        )
        if counts and value.isdecimal() and int(value) > gpus:
            message = f"command: {word} {value} starts more processes than budget.gpus ({gpus}) has GPUs."
            raise BadInput(message, hint=f"Set budget.gpus to {value}, or lower {word}.")


def _options(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the launcher's own options, those before its script: name, as written, value."""
    for word, following in pairwise([*words, ""]):
        if word.endswith(SCRIPTS):
            return
        if word.startswith("-"):
            written, _, value = word.partition("=")
            yield written.lstrip("-").replace("-", "_"), written, value or following


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # an open quote: the shell will say so
        return line.split()
