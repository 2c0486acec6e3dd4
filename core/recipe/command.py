"""A recipe's command as it is started: its placeholders filled in, its folders resolved."""

from __future__ import annotations

import os
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from finetop.core.recipe.schema import Command, Recipe

CHECKPOINT = "{checkpoint}"  # in resume_command
_PLACE = re.compile(r"\{([A-Za-z_]\w*)\}")
_OPTION = re.compile(r"--?(?P<name>[A-Za-z][\w.-]*)")
_WITH_VALUE = re.compile(r"-{0,2}(?P<name>[A-Za-z][\w.-]*)=(?P<value>.*)", re.DOTALL)
VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)  # the name of one of the environment
# Options by which programs name the folder that they write their model to.
_OUTPUT = re.compile(r"-*(?:training_args\.|train\.)?output[_-]dir(?:=(?P<value>.+))?")


def filled(text: str, values: Mapping[str, object]) -> str:
    """Replace `{name}` by the value of that name; other braces stay."""
    return _PLACE.sub(lambda match: str(values.get(match[1], match[0])), text)


def argv(command: Command, *, resumed: bool = False) -> list[str]:
    """Return what is started: the program and its arguments; a shell alone if the recipe asks for one.

    In its line every value is quoted, so that none is read as more than a word.

    A resume_command with {checkpoint} starts at the newest one; before the first, all begins again.
    """
    words: Sequence[str] = command.run
    values: Mapping[str, object] = command.values
    if command.shell is not None:
        words = ("/bin/sh", "-c", command.shell)
        values = {name: shlex.quote(str(value)) for name, value in command.values.items()}
    if resumed and command.resume_command:
        newest = newest_checkpoint(output_of(command))
        if newest is not None or not any(CHECKPOINT in word for word in command.resume_command):
            words, values = command.resume_command, {"checkpoint": newest, **command.values}
    return [filled(word, values) for word in words]


def newest_checkpoint(output: Path | None) -> Path | None:
    """Return the newest complete checkpoint of a Hugging Face Trainer, which writes its state last."""
    if output is None:
        return None
    try:
        folders = [state.parent for state in output.glob("checkpoint-*/trainer_state.json")]
    except OSError:
        return None
    numbered = [folder for folder in folders if folder.name[len("checkpoint-") :].isdecimal()]
    return max(numbered, key=lambda folder: int(folder.name[len("checkpoint-") :]), default=None)


def resumed_step(command: Command) -> int:
    """Return the step of the checkpoint at which resume_command starts; 0 if it names none, or there is none yet."""
    named = any(CHECKPOINT in word for word in command.resume_command)
    newest = newest_checkpoint(output_of(command)) if named else None
    return 0 if newest is None else int(newest.name[len("checkpoint-") :])


def environment(command: Command) -> dict[str, str]:
    """Return the variables that it gets besides those of the job."""
    return {key: filled(str(value), command.values) for key, value in command.env.items()}


def output_of(command: Command) -> Path | None:
    """Return the folder that it writes its model to: as the recipe says, else as its own --output_dir says."""
    text = command.output or output_in(argv(command))
    return None if not text else Path(command.workdir) / filled(text, command.values)


def require_ours(recipe: Recipe, verb: str) -> None:
    """Require a recipe that our own trainers train; `verb` is the command that needs it. Raises BadInput."""
    if recipe.command is not None:
        message = f"{recipe.name} is trained by its own command, and {verb} is for finetop's trainers."
        raise BadInput(message, hint="Queue it with finetop run.")


def placeholders(command: Command) -> set[str]:
    """Return the names that stand in braces anywhere in a command."""
    texts = (*command.run, *command.resume_command, command.shell, command.output, *command.env.values())
    return {name for text in texts if isinstance(text, str) for name in _PLACE.findall(text)}


def files_in(command: Command) -> Iterator[tuple[str, Path, bool]]:
    """Yield the files of this machine that a command names: its key, its path, whether it is the program itself.

    A word that names a file as `--config=FILE` counts too; a line of a shell is not read.
    """
    for key in ("run", "resume_command"):
        words: Sequence[str] = getattr(command, key)
        for i, word in enumerate(filled(word, command.values) for word in words):
            names = (word, word.partition("=")[2]) if i or "/" in word else ()
            path = next((path for name in names if (path := _file(command.workdir, name)) is not None), None)
            if path is not None:
                yield f"command.{key}[{i}]", path, i == 0


def _file(workdir: str, name: str) -> Path | None:
    path = Path(os.path.normpath(Path(workdir) / name))
    try:
        return path if name and path.is_file() else None
    except (OSError, ValueError):
        return None


def arguments_of(words: Sequence[str]) -> dict[str, str]:
    """Return the arguments of a command by name: --lr 1e-4 and --lr=1e-4 as lr, lr=1e-4 too, a flag alone as true.

    What has no name, as the program and its files, is named by its place from 0. Of a repeated one, all values.
    """
    named: dict[str, list[str]] = {}
    option, places = "", 0
    for word in words:
        whole, alone = _WITH_VALUE.fullmatch(word), _OPTION.fullmatch(word)
        if (match := whole or alone) is not None:
            name = match["name"].replace("-", "_")
            named.setdefault(name, []).extend([] if whole is None else [whole["value"]])
            option = name if whole is None else ""
        elif option:
            named[option].append(word)
        else:
            named[str(places)] = [word]
            places += 1
    return {name: " ".join(values) or "true" for name, values in named.items()}


def output_in(words: Sequence[str]) -> str:
    """Return the folder that a command's own options name as its output; '' if none does."""
    for word, following in pairwise([*words, ""]):
        if match := _OUTPUT.fullmatch(word):
            return match["value"] or following
    return ""
