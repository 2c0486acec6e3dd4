"""Sweeps: one recipe over several values of some settings, and over seeds: the runs and their names."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetop.core.errors import BadInput, RecipeError
from finetop.core.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from finetop.core.recipe.load import Loaded

MOST_RUNS = 200  # largest number of runs in a sweep
MOST_SEEDS = 50
SEED = "train.seed"
SHORT = {"learning_rate": "lr", "seed": "s", "rank": "r", "batch_size": "bs", "epochs": "ep", "id": "model"}
LONGEST_VALUE_IN_NAME = 24  # characters of a value in a run's name
LONGEST_NAME = 80  # characters of a run's name
Pair = tuple[str, str]  # a key and its value as typed


@dataclass(frozen=True, slots=True)
class Axis:
    """A setting and its values, as typed."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One run of a sweep: its name, and its recipe with its values."""

    name: str
    loaded: Loaded


def axis_of(text: str) -> Axis:
    """Parse `train.learning_rate=1e-5,2e-5`. Raises BadInput."""
    key, equals, values = text.partition("=")
    if not equals or not key.strip():
        hint = "Write it as --sweep train.learning_rate=1e-5,2e-5."
        raise BadInput(f"--sweep: {quoted(text)} is not KEY=VALUE,VALUE.", hint=hint)
    return Axis(key.strip(), values_of(values, f"--sweep {key.strip()}"))


def seeds_of(count: int) -> Axis:
    """Return the axis of a run repeated over so many seeds. Raises BadInput."""
    if not 1 <= count <= MOST_SEEDS:
        raise BadInput(f"--seeds is {count}; it must be 1 to {MOST_SEEDS}.")
    return Axis(SEED, tuple(str(seed) for seed in range(1, count + 1)))


def values_of(text: str, place: str) -> tuple[str, ...]:
    """Split typed values at their commas, except inside brackets and quotes. Raises BadInput."""
    values = tuple(value.strip() for value in _split(text))
    if not all(values):
        raise BadInput(f"{place}: a value is empty in {quoted(text)}.", hint="Write 1e-5,2e-5,5e-5.")
    repeated = next((value for at, value in enumerate(values) if value in values[:at]), None)
    if repeated is not None:
        raise BadInput(f"{place}: {quoted(repeated)} is listed twice.", hint="Leave one out.")
    return values


def _split(text: str) -> list[str]:
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth <= 0:
            parts.append("")
            continue
        parts[-1] += letter
    return parts


def count_of(axes: Sequence[Axis]) -> int:
    """Count the runs: all combinations of the axes' values."""
    return math.prod(len(axis.values) for axis in axes)


def require_valid_axes(axes: Sequence[Axis]) -> None:
    """Refuse a setting that is swept twice, and too many runs. Raises BadInput."""
    keys = [axis.key for axis in axes]
    repeated = next((key for at, key in enumerate(keys) if key in keys[:at]), None)
    if repeated is not None:
        other = " (--seeds sweeps over it)" if repeated == SEED else ""
        hint = "Put all its values into one sweep."
        raise BadInput(f"{quoted(repeated)} is swept twice{other}.", hint=hint)
    if (number := count_of(axes)) > MOST_RUNS:
        message = f"that is {number:,} runs, and at most {MOST_RUNS} are queued at once."
        raise BadInput(message, hint="Sweep over less.")


def points(
    base: str, axes: Sequence[Axis], load: Callable[[Sequence[Pair]], Loaded]
) -> tuple[SweepPoint, ...]:
    """Return each run's name and recipe; `load` loads the recipe with these keys and typed values. Raises BadInput."""
    require_valid_axes(axes)
    shorts = _short_keys([axis.key for axis in axes])
    points_so_far: list[SweepPoint] = []
    for values in itertools.product(*(axis.values for axis in axes)):
        pairs = [(axis.key, value) for axis, value in zip(axes, values, strict=True)]
        ending = "".join(f"-{short}{_in_name(value)}" for short, value in zip(shorts, values, strict=True))
        wanted = base[: max(1, LONGEST_NAME - len(ending))] + ending
        name = _free(wanted, [point.name for point in points_so_far])
        try:
            points_so_far.append(SweepPoint(name, load([*pairs, ("name", name)])))
        except RecipeError as error:
            settings = ", ".join(f"{key}={value}" for key, value in pairs)
            raise BadInput(f"the run with {quoted(settings)}: {error.message}", hint=error.hint) from error
    return tuple(points_so_far)


def _short_keys(keys: Sequence[str]) -> list[str]:
    """Shorten keys for names, keeping them distinct: learning_rate is lr, weight_decay is wd."""
    last = [re.sub(r"\[\d+\]", "", key).rpartition(".")[2] for key in keys]
    short = [SHORT.get(word, _initials(word)) for word in last]
    return [
        short_key if short.count(short_key) == 1 else re.sub(r"[^A-Za-z0-9]+", "-", key)
        for short_key, key in zip(short, keys, strict=True)
    ]


def _initials(word: str) -> str:
    parts = word.split("_")
    return word if len(parts) == 1 else "".join(part[:1] for part in parts)


def _in_name(value: str) -> str:
    """Return a value as part of a name: the end of a path, in characters that a folder's name may have."""
    clean = re.sub(r"[^A-Za-z0-9._+-]+", "-", value.rstrip("/").rpartition("/")[2]).replace("+", "")
    return clean.strip("-.")[:LONGEST_VALUE_IN_NAME].rstrip("-.") or "x"


def _free(name: str, names: Sequence[str]) -> str:
    number, free_name = 2, name
    while free_name in names:
        free_name, number = f"{name[: LONGEST_NAME - 4]}-{number}", number + 1
    return free_name


def as_sets(pairs: Sequence[Pair]) -> list[str]:
    """Return keys and values as `--set` texts; a name is always text."""
    return [f'{key}="{value}"' if key == "name" else f"{key}={value}" for key, value in pairs]
