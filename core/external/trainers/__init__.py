"""Other trainers by their own configuration files: a file each, found by listing this folder."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from finetop.core.errors import BadInput
from finetop.core.plugins import TRAINERS, Plugin, PluginKind
from finetop.core.text import plain

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 1 << 20  # bytes of a configuration


@dataclass(frozen=True)
class Known:
    """What a configuration tells. Paths are as written there, relative to the working folder."""

    words: tuple[str, ...]  # how the trainer is started with it
    output: str = ""
    base: str = ""
    data: tuple[str, ...] = ()  # local files of training rows
    resume: tuple[str, ...] = ()


class Trainer(Plugin):
    """A trainer with a configuration file."""

    @abstractmethod
    def read(self, config: dict[str, Any], path: Path, cwd: Path, kind: str) -> Known:
        """Return what a configuration tells; `kind` is the part after `:` in --with, '' if none. Raises BadInput."""


KIND: PluginKind[Trainer] = TRAINERS.of(Trainer)
names, load = KIND.names, KIND.load


def known(trainer: str, file: str, cwd: Path) -> Known:
    """Read a configuration of a trainer, given as NAME or NAME:KIND. Raises BadInput, NotFound."""
    name, _, kind = trainer.partition(":")
    plugin, path = load(name), cwd / file
    try:
        text = path.read_bytes()[:LONGEST].decode()
        config = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        what = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise BadInput(
            f"{plain(file)} can't be read: {plain(what)[:200]}.", hint=f"Give {name}'s YAML file."
        ) from error
    if not isinstance(config, dict):
        raise BadInput(f"{plain(file)} is no mapping of settings.", hint=f"Give {name}'s YAML file.")
    return plugin.read(config, path, cwd, kind)


def text(config: dict[str, Any], key: str) -> str:
    """Return a setting that is a text; '' if there is none."""
    value = config.get(key)
    return value if isinstance(value, str) else ""


def is_here(name: str, cwd: Path) -> bool:
    """Return whether the name of a data set is a file or folder of this machine."""
    try:
        return bool(name) and (cwd / name).exists()
    except OSError:
        return False
