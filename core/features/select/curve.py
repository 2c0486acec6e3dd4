"""Curves: one recipe on rows chosen by each selector, ever fewer of them, over seeds. Returns the runs to make.

The runs differ only in rows and seed. By default all take as many steps as the recipe would on all rows: with equal
epochs fewer rows would also mean fewer steps, and an undertrained model would look as if it lacked rows. At equal
rows, selectors compare fairly either way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from finetop.core.errors import BadInput, RecipeError
from finetop.core.features.select import selectors as select
from finetop.core.features.select.request import Selected, TooFew, Wanted
from finetop.core.protocol import tags
from finetop.core.protocol.tags import ALL, BY, ROWS
from finetop.core.recipe.length import count_steps
from finetop.core.recipe.schema import EvalShare, Recipe
from finetop.core.recipe.sweeps import LONGEST_NAME, MOST_RUNS, SweepPoint, seeds_of
from finetop.core.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from finetop.core.recipe.load import Loaded

Equal = Literal["steps", "epochs"]
AMOUNTS = "1/8,1/4,1/2,all"
_SHARE = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of rows, or a share of all. A share of 1 is all rows, which needs no selection."""

    rows: int = 0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Planned:
    """A run of a curve; `tags` name the selectors that chose its rows, and their number."""

    point: SweepPoint
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows to train on: those of `path`, chosen by each of `by` (two may choose the same)."""

    by: tuple[str, ...]
    rows: int
    seed: int
    path: str  # empty: the unchanged source


def amounts_of(text: str) -> tuple[Amount, ...]:
    """Read `1/8,1/4,200,all`. Raises BadInput."""
    amounts = []
    for word in (word.strip() for word in text.split(",")):
        share = _SHARE.fullmatch(word)
        if word == ALL:
            amounts.append(Amount(share=1.0))
        elif share is not None and int(share[1]) <= int(share[2]):
            amounts.append(Amount(share=int(share[1]) / int(share[2])))
        elif word.isascii() and word.isdigit() and 0 < int(word[:20]) < 2**31:
            amounts.append(Amount(rows=int(word)))
        else:
            hint = f"Write {AMOUNTS}, or numbers."
            raise BadInput(f"--rows: {quoted(word)} is not a number of rows.", hint=hint)
    if all(amount.share == 1 for amount in amounts):
        raise BadInput("--rows: with all rows there is nothing to choose.", hint=f"Write {AMOUNTS}.")
    return tuple(dict.fromkeys(amounts))


def selectors_of(text: str) -> tuple[str, ...]:
    """Read `all`, or names of selectors; the control comes first, named or not. Raises NotFound."""
    names = select.names() if text == ALL else [word.strip() for word in text.split(",")]
    for name in names:
        select.load(name)
    return tuple(dict.fromkeys([tags.CONTROL, *names]))


def source_of(recipe: Recipe) -> int:
    """Return the place of the source that rows are selected from: the only one with role train. Raises BadInput."""
    places = [at for at, source in enumerate(recipe.data.train) if source.role == "train"]
    if len(places) != 1:
        has = f"{len(places)} sources to select from, but a curve needs one"
        raise BadInput(f"data.train has {has}.", hint="Keep one; sources with role: replay may stay.")
    source, key = recipe.data.train[places[0]], f"data.train[{places[0]}]"
    if source.path is None:
        hint = "Save it first, datasets.load_dataset(…).to_json(FILE), and give it as path."
        fault = "is not a file; rows are selected from the lines of a file"
        raise BadInput(f"{key}: {quoted(source.id)} {fault}.", hint=hint)
    for setting in ("rows", "share"):
        if getattr(source, setting) is not None:
            raise BadInput(f"{key}.{setting} is set, but a curve sets it.", hint="Leave it out.")
    return places[0]


def wanted_of(bys: Sequence[str], amounts: Sequence[Amount], seeds: int) -> list[Wanted]:
    """Return the files that a curve needs; none for all rows. Raises BadInput if there are too many runs."""
    settings = {by: msgspec.to_builtins(select.load(by).options()) for by in bys}
    chosen = [amount for amount in amounts if amount.share != 1]
    wanted = [
        Wanted(by, int(seed), amount.rows, amount.share, settings=settings[by])
        for by in bys
        for seed in seeds_of(seeds).values
        for amount in chosen
    ]
    if len(wanted) + seeds > MOST_RUNS:
        hint = "Use fewer selectors (--by), amounts (--rows) or seeds (--seeds)."
        runs = f"{len(wanted) + seeds:,} runs, and at most {MOST_RUNS} are queued at once"
        raise BadInput(f"that is {runs}.", hint=hint)
    return wanted


def points(
    base: Loaded,
    selections: Sequence[Selected],
    every: int,
    seeds: int,
    load: Callable[[list[str]], Loaded],
    *,
    equal: Equal,
    with_all: bool,
) -> list[Planned]:
    """Return the recipe of each run; rows that two selectors chose alike are trained on once. Raises BadInput."""
    at = source_of(base.recipe)
    fixed = [] if equal == "epochs" else [f"train.max_steps={steps_on(base.recipe, every)}", "train.epochs="]
    planned: list[Planned] = []
    all_rows = [_Rows((ALL,), every, seed, "") for seed in range(1, seeds + 1)]
    for chosen in _distinct(selections) + all_rows * with_all:
        ending = f"-{chosen.by[0]}-{chosen.rows}-s{chosen.seed}"
        name = base.recipe.name[: LONGEST_NAME - len(ending)] + ending
        sets = [*fixed, f"train.seed={chosen.seed}", f'name="{name}"']
        sets += [f"data.train[{at}].path={msgspec.json.encode(chosen.path).decode()}"] * bool(chosen.path)
        try:
            point = SweepPoint(name, load(sets))
        except RecipeError as error:
            raise BadInput(f"the run {quoted(name)}: {error.message}", hint=error.hint) from error
        planned.append(Planned(point, (*(f"{BY}/{by}" for by in chosen.by), f"{ROWS}/{chosen.rows}")))
    return planned


def _distinct(selections: Sequence[Selected]) -> list[_Rows]:
    """Merge those that chose the same rows for the same seed."""
    kept: dict[tuple[int, str], _Rows] = {}
    for selection in selections:
        same = kept.get((selection.seed, selection.sha256))
        bys = (selection.by,) if same is None else (*same.by, selection.by)
        path = selection.path if same is None else same.path
        kept[selection.seed, selection.sha256] = _Rows(bys, selection.rows, selection.seed, path)
    return list(kept.values())


def steps_on(recipe: Recipe, rows: int) -> int:
    """Return the steps that a recipe takes on this many rows."""
    held_back = recipe.data.eval
    if isinstance(held_back, EvalShare):
        rows -= round(rows * held_back.share)
    return count_steps(recipe.train, rows)


def left_out(too_few: TooFew) -> str:
    """Return why a point of a curve is missing."""
    most = f"it takes only rows that {too_few.may}, {too_few.most:,} of {too_few.of:,}"
    return f"{too_few.by} on {too_few.rows:,} rows is left out: {most}."
