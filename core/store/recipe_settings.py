"""The settings of recipes in the store: a row each, derived from runs.recipe, for filtering lists by them.

A run of another program has those of its own configuration too, as config.NAME.

With 100,000 runs one setting of all takes 13 ms of CPU this way, and 126 ms when read from the recipes' JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from finetop.core.protocol.run_columns import word_of
from finetop.core.protocol.run_filter import is_setting
from finetop.core.recipe.command import arguments_of, filled
from finetop.core.recipe.dotted import flat_settings
from finetop.core.store.database import append, read_as
from finetop.core.store.json_fields import number_pattern

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Connection

CONFIG = "config."  # begins the settings of a program's own configuration
_OF_PROGRAM = f"starts_with(key, '{CONFIG}')"
LONGEST = 1000  # characters of a value: nobody filters by a whole chat template
UNSET: tuple[Any, ...] = (None, "", {})  # an empty text counts as unset
_NEWEST = "> (SELECT max(id) FROM runs) - 200"  # runs whose settings and metrics are known names


def flat(recipe: dict[str, Any]) -> dict[str, float | str]:
    """Return a recipe's settings by dotted name. The values of a list's items are joined in order."""
    values_by_key: dict[str, list[float | str]] = {}
    for key, value in flat_settings(recipe, of_item=lambda key, _: key):
        if is_setting(key):
            items = value if isinstance(value, list) else [value]
            values_by_key.setdefault(key, []).extend(_word(item) for item in items if item not in UNSET)
    values_by_key |= {key: [_number(value)] for key, value in _arguments(recipe) if is_setting(key)}
    return {
        key: values[0] if len(values) == 1 else ", ".join(map(word_of, values))[:LONGEST]
        for key, values in values_by_key.items()
        if values
    }


def _arguments(recipe: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the arguments of another program's command, as args.NAME: what its author calls its configuration."""
    match recipe.get("command"):
        case {"run": list() as run, **rest}:  # a run.json may be damaged
            values = rest.get("values")
            words = [filled(str(word), values if isinstance(values, dict) else {}) for word in run]
            named = arguments_of(words)
            yield from ((f"args.{name}", value) for name, value in named.items() if not name.isdecimal())


def _number(text: str) -> float | str:
    try:
        return float(text) if isfinite(float(text)) else text
    except ValueError:
        return text[:LONGEST]


def _word(value: Any) -> float | str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return float(value) if isinstance(value, int | float) else str(value)[:LONGEST]


def store_settings(connection: Connection, run_id: int, recipe: dict[str, Any]) -> None:
    """Store the settings of a run's recipe, replacing earlier ones."""
    connection.execute(f"DELETE FROM settings WHERE run_id = ? AND NOT {_OF_PROGRAM}", [run_id])
    _append(connection, run_id, flat(recipe))


def store_configuration(connection: Connection, run_id: int, settings: Mapping[str, float | str]) -> None:
    """Store the configuration of another program, replacing an earlier one."""
    connection.execute(f"DELETE FROM settings WHERE run_id = ? AND {_OF_PROGRAM}", [run_id])
    named = {f"{CONFIG}{name}": value for name, value in settings.items()}
    _append(connection, run_id, {key: value for key, value in named.items() if is_setting(key)})


def _append(connection: Connection, run_id: int, settings: Mapping[str, float | str]) -> None:
    rows = [
        (run_id, key, word_of(value), value if isinstance(value, float) else None)
        for key, value in settings.items()
    ]
    append(connection, "settings", rows)


def of_runs(
    connection: Connection, run_ids: Sequence[int], keys: Sequence[str]
) -> dict[int, dict[str, float | str]]:
    """Read some settings of some runs."""
    by_run: dict[int, dict[str, float | str]] = {}
    if keys and run_ids:
        condition = "run_id IN (SELECT unnest(?)) AND key IN (SELECT unnest(?))"
        query = f"SELECT run_id, key, word, number FROM settings WHERE {condition}"
        for run_id, key, word, number in connection.execute(query, [list(run_ids), list(keys)]).fetchall():
            by_run.setdefault(run_id, {})[key] = word if number is None else number
    return by_run


def known_settings(connection: Connection, asked: Sequence[str]) -> set[str]:
    """Return the settings of the newest runs, and those in `asked` that any run has."""
    names = {*read_as(connection, str, f"SELECT DISTINCT key FROM settings WHERE run_id {_NEWEST}")}
    has_it = "SELECT 1 FROM settings WHERE key = ? LIMIT 1"
    return names | {key for key in set(asked) - names if connection.execute(has_it, [key]).fetchone()}


def known_metrics(connection: Connection, asked: Sequence[str]) -> set[str]:
    """Return the metrics of the newest runs, and those in `asked` that any run has; always includes loss."""
    newest = f"SELECT DISTINCT unnest(json_keys(last)) FROM runs WHERE id {_NEWEST}"
    names = {"loss", *read_as(connection, str, newest)}
    has_it = "SELECT 1 FROM runs WHERE regexp_matches(last, ?) LIMIT 1"
    unseen = set(asked) - names
    return names | {key for key in unseen if connection.execute(has_it, [number_pattern(key)]).fetchone()}
