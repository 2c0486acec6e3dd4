"""A program's own configuration as settings: flat, few, short and without secrets, whatever its file holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from finetop.core.protocol.events import LARGEST
from finetop.core.protocol.numbers_from import LONGEST_SETTING, MOST_SETTINGS
from finetop.core.runtime.secrets import masked_value
from finetop.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Settings = dict[str, float | str]
DEEPEST = 4  # levels of names
MOST_ITEMS = 20  # of a list
LONGEST_NAME = 60  # characters of each level of a name
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


def settings_of(config: Mapping[str, Any]) -> Settings:
    """Return a configuration's settings by dotted name: {"lora": {"r": 8}} -> {"lora.r": 8.0}.

    Left out are empty values and names that begin with _, which are a tracker's own.
    """
    settings: Settings = {}
    for name, value in _flat(config, "", DEEPEST):
        if len(settings) >= MOST_SETTINGS:
            break
        settings[name] = value
    return settings


def add(settings: Settings, more: Settings) -> None:
    """Add settings of another file, which replace those of the same name; never more than MOST_SETTINGS in all."""
    for name, value in more.items():
        if name in settings or len(settings) < MOST_SETTINGS:
            settings[name] = value


def _flat(config: Mapping[str, Any], above: str, depth: int) -> Iterator[tuple[str, float | str]]:
    for key, value in config.items():
        part = _NOT_IN_NAMES.sub("_", str(key)[:LONGEST_NAME])
        if not part or part.startswith("_"):
            continue
        name = f"{above}.{part}" if above else part
        if isinstance(value, dict):
            yield from _flat(value, name, depth - 1) if depth > 1 else ()
        elif (shown := _value(part, value)) != "":
            yield name, shown


def _value(name: str, value: Any) -> float | str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and abs(value) <= LARGEST:
        return float(value)
    if isinstance(value, list):
        items = [item for item in value[:MOST_ITEMS] if not isinstance(item, dict | list)]
        shown = [(item, _value(name, item)) for item in items]
        value = ", ".join(str(item) if isinstance(text, float) else text for item, text in shown)
    text = "" if value is None else " ".join(safe(str(value)[:LONGEST_SETTING]).split())
    return masked_value(name, text)
