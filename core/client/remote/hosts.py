"""The machines that `--on` names: its words, and the usual machines in HOME/hosts.yaml.

# hosts.yaml: a name for `--on`, how ssh reaches it, and where finetop and its home are on that machine
lab: {ssh: ana@gpu-box-3.lab.example, command: ~/venv/bin/finetop, home: /scratch/ana/finetop}
box: {}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

from finetop.core.errors import BadInput, RecipeError, did_you_mean
from finetop.core.runtime.files import read_if_there
from finetop.core.runtime.home import HERE
from finetop.core.text import clean_line, quoted

COMMAND = "finetop"
THIS_MACHINE = "."
SETTINGS = ("ssh", "command", "home")

# [ssh://][user@]host[:port]: nothing that ssh could take for an option, or that a ProxyCommand's shell would expand
_DESTINATION = re.compile(
    r"(?:ssh://)?(?:[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{1,40})"
    r"(?::[0-9]{1,5})?",
    re.ASCII,
)
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class Place:
    """One machine: its label, how ssh reaches it, and what to run there."""

    label: str
    destination: str  # empty: this machine
    command: str = COMMAND  # for the shell on that machine
    home: str = ""  # a path on that machine; empty: finetop's default there
    word: str = ""  # the value of `--on`


def read_places(
    host_words: Sequence[str], usual: Mapping[str, Place], *, command: str = "", home: str = ""
) -> list[Place]:
    """Parse the values of `--on`, each with a label of its own; `command` and `home` apply to all. Raises BadInput."""
    places: list[Place] = []
    for word in host_words:
        place = usual.get(word) or _place(word)
        place = replace(place, command=command or place.command, home=home or place.home, word=word)
        if any(place.destination == other.destination and place.home == other.home for other in places):
            raise BadInput(f"--on {clean_line(word, limit=80)} is given twice.", hint="Leave one out.")
        places.append(_with_unique_label(place, [other.label for other in places]))
    return places


def _place(word: str) -> Place:
    if word in (THIS_MACHINE, HERE):
        return Place(HERE, "")
    match = _DESTINATION.fullmatch(word)
    if match is None:
        hint = "Give what ssh takes: host, user@host, a name of ~/.ssh/config or hosts.yaml; `.` is this machine."
        raise BadInput(f"--on {clean_line(word, limit=80)!r} is not a host.", hint=hint)
    return Place(_label(match["host"]), word)


def _label(host: str) -> str:
    """Return a short label for a machine: the first part of its name, or a whole address."""
    is_address = ":" in host or host.replace(".", "").isdecimal()
    short = re.sub(r"[^A-Za-z0-9._-]+", "-", host).strip("-.") if is_address else host.partition(".")[0]
    return short or host


def _with_unique_label(place: Place, labels: Sequence[str]) -> Place:
    """Return a place with a unique label: user and whole host if the short one is taken."""
    if place.label not in labels:
        return place
    whole = re.sub(r"[^A-Za-z0-9._-]+", "-", place.destination).strip("-.")
    numbered = (f"{place.label}-{number}" for number in count(2))
    return replace(place, label=next(label for label in chain([whole], numbered) if label not in labels))


def usual_places(file: Path) -> dict[str, Place]:
    """Read HOME/hosts.yaml; empty if there is no such file. Raises RecipeError with file and line."""
    from finetop.core.recipe.strict_yaml import MAX_BYTES, Origin, parse

    try:
        content = read_if_there(file, MAX_BYTES)
        if content is None:
            return {}
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} can't be read: {getattr(error, 'strerror', None) or 'not UTF-8'}.") from error
    least = "Write `lab: {ssh: user@host}`, or remove the file."
    root = parse(text, Origin(str(file), file.parent), least=least)
    if root.value is None:
        return {}
    if not isinstance(root.value, dict):
        hint = "Write `lab: {ssh: user@host}`."
        raise RecipeError("is not a mapping of names.", place=root.place, hint=hint)
    places: dict[str, Place] = {}
    for name, node in root.value.items():
        if not _LABEL.fullmatch(name) or name == HERE:
            hint = "Use letters, digits, . _ or -, and not `here`."
            raise RecipeError(f"{quoted(name)} can't be the name of a host.", place=node.place, hint=hint)
        given: dict[str, str] = {}
        entries = {} if node.value is None else node.value
        if not isinstance(entries, dict):
            hint = "Write `lab: {ssh: user@host}`."
            raise RecipeError(f"{name} is {quoted(entries)}.", place=node.place, hint=hint)
        for key, setting in entries.items():
            if key not in SETTINGS:
                hint = did_you_mean(key, SETTINGS)
                raise RecipeError(f"{name}.{key} is not a setting of a host.", place=setting.place, hint=hint)
            value = setting.value
            if not isinstance(value, str) or not value.isprintable() or not value:
                raise RecipeError(f"{name}.{key} is {quoted(value)}; it must be text.", place=setting.place)
            given[key] = value
        destination = given.get("ssh", name)
        if not _DESTINATION.fullmatch(destination):
            place = entries.get("ssh", node).place
            hint = "Give what ssh takes: host, user@host, or a name of ~/.ssh/config."
            fault = f"{name}.ssh is {quoted(destination)}; it must be a host."
            raise RecipeError(fault, place=place, hint=hint)
        places[name] = Place(name, destination, given.get("command", COMMAND), given.get("home", ""))
    return places
