"""Other trainers by their own configuration files: a file each, found by listing this folder."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, RecipeError
from finetop.core.plugins import TRAINERS, Plugin, PluginKind
from finetop.core.recipe.find import read_text
from finetop.core.recipe.strict_yaml import Origin, parse, to_plain
from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Config:
    """A trainer's configuration, as given: `--with NAME:KIND FILE`, started in `cwd`."""

    path: Path
    cwd: Path
    kind: str  # '' if none is given
    text: str
    settings: dict[str, Any]

    def required(self, key: str) -> str:
        """Return a setting that every configuration of this trainer has. Raises BadInput."""
        value = text(self.settings, key)
        if not value:
            hint = "Give the trainer's own file, or start it as it is: finetop run -- COMMAND."
            raise BadInput(f"{plain(self.path.name)} has no {key}.", hint=hint)
        return value

    def no_kind(self) -> None:
        """Require that no kind is given. Raises BadInput."""
        if self.kind:
            hint = f"Leave :{plain(self.kind)[:60]} out; the file says the rest."
            raise BadInput("--with: this trainer has no kinds.", hint=hint)


@dataclass(frozen=True)
class Known:
    """What a configuration says of its run. Paths are as written there, relative to the working folder."""

    words: tuple[str, ...]  # how the trainer is started with it
    output: str = ""
    base: str = ""
    data: tuple[str, ...] = ()  # local files of training rows
    resume: tuple[str, ...] = ()


class Trainer(Plugin):
    """A trainer with a configuration file."""

    @abstractmethod
    def read(self, config: Config) -> Known:
        """Return what a configuration says of its run. Raises BadInput."""


KIND: PluginKind[Trainer] = TRAINERS.of(Trainer)
names, load = KIND.names, KIND.load


def known(trainer: str, file: str, cwd: Path) -> Known:
    """Read a configuration of a trainer, given as NAME or NAME:KIND. Raises BadInput, NotFound."""
    name, _, kind = trainer.partition(":")
    plugin, path = load(name), cwd / file
    try:
        content = read_text(path, plain(file))
        settings = to_plain(parse(content, Origin(plain(file), path.parent)))
    except RecipeError as error:
        hint = f"Give {name}'s YAML file, or start the trainer as it is: finetop run -- COMMAND."
        raise BadInput(error.message, hint=hint) from error
    if not isinstance(settings, dict):
        raise BadInput(f"{plain(file)} is not a mapping of settings.", hint=f"Give {name}'s YAML file.")
    return plugin.read(Config(path, cwd, kind, content, settings))


def text(settings: dict[str, Any], key: str) -> str:
    """Return a setting that is a text; '' if there is none."""
    value = settings.get(key)
    return value if isinstance(value, str) else ""


def texts(value: Any) -> list[str]:
    """Return a text, or the texts of a list; none of anything else."""
    listed = value if isinstance(value, list) else [value]
    return [entry for entry in listed if isinstance(entry, str)]


def data_sets(settings: dict[str, Any]) -> list[str]:
    """Return the names and files in a list of `datasets`, which Axolotl and TRL have alike."""
    listed = settings.get("datasets")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return [name for entry in entries for name in (text(entry, "path"), *texts(entry.get("data_files")))]


def files(names: Iterable[str], cwd: Path) -> tuple[str, ...]:
    """Return those names of data sets that are files or folders of this machine, each once."""
    return tuple(name for name in dict.fromkeys(names) if is_here(name, cwd))


def is_here(name: str, cwd: Path) -> bool:
    try:
        return bool(name) and (cwd / name).exists()
    except (OSError, ValueError):
        return False
