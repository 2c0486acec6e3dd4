"""Selectors: which rows of a data set to train on. One file each, found by listing this folder.

A selector has
- `ABOUT` (one line) and `PAPER` (where it comes from),
- `NEEDS_MODEL`: whether it asks a model for its loss on the rows,
- `Options`: a frozen struct of its own settings,
- `choose(pool, options, seed) -> Choice`: an order of the rows that may be taken, the best first.

What is taken is the beginning of that order, so that fewer rows are always a part of more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from finetop.core.errors import BadInput
from finetop.core.plugins import PluginKind

CONTROL = "random"  # what every other selector is held against


@dataclass(frozen=True, slots=True)
class Choice:
    """What a selector says of all rows: `order` are places in the pool, the best first; others may not be taken.

    `scores` is what the order comes from, for each row of the pool; None where a row has none. `why_not` says of
    the rows that may not be taken what is wrong with them: "are below 1".
    """

    order: Sequence[int]
    scores: Sequence[float | None] | None = None
    score: str = ""  # what the scores are
    may: str = ""  # of those that may be taken: "have an instruction that helps"


SELECTORS: PluginKind[Any] = PluginKind("selector", __name__)
names, load = SELECTORS.names, SELECTORS.load


def read_options(name: str, typed: dict[str, str]) -> Any:
    """Read a selector's own settings as they were typed. Raises BadInput, NotFound for an unknown selector."""
    struct = load(name).Options
    fields = struct.__struct_fields__
    unknown = next((key for key in typed if key not in fields), None)
    if unknown is not None:
        there = f"It has {', '.join(fields)}." if fields else "It has none."
        raise BadInput(f"--set: {name} has no setting {unknown[:60]!r}.", hint=there)
    try:
        return msgspec.convert(typed, struct, strict=False)
    except msgspec.ValidationError as error:
        said = str(error).replace(" - at `$.", ": ").rstrip("`")
        raise BadInput(f"--set: {said}.", hint=f"See `finetop select --list` for {name}.") from error
