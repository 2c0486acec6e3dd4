"""Selectors: which rows of a data set to train on. One file each, found by listing this folder.

What is taken is the beginning of that order, so that fewer rows are always a part of more.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import BadInput
from finetop.core.plugins import Configured, Options, PluginKind

if TYPE_CHECKING:
    from finetop.core.features.select.pool import Pool


@dataclass(frozen=True, slots=True)
class Choice:
    """A selector's ranking of all rows."""

    order: Sequence[int]  # places in the pool, best first; other rows are not eligible
    scores: Sequence[float | None] | None = None  # what the order comes from, one per row of the pool
    score: str = ""  # what the scores are
    may: str = ""  # describes the eligible rows: "have an instruction that helps"


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of a selector that has no settings."""


class Selector(Configured[Options]):
    """A way to choose the rows to train on."""

    paper: str  # where it comes from
    needs_model = False  # it asks a model for its loss on the rows

    @abstractmethod
    def choose(self, pool: Pool, options: Options, seed: int) -> Choice:
        """Return an order of the rows that may be taken, the best first."""


KIND: PluginKind[Selector[Any]] = PluginKind("selector", __name__, base=Selector)
names, load = KIND.names, KIND.load


def read_options(name: str, typed: dict[str, str]) -> Any:
    """Read a selector's own settings from typed text. Raises BadInput, NotFound for an unknown selector."""
    struct = load(name).options
    fields = struct.__struct_fields__
    unknown = next((key for key in typed if key not in fields), None)
    if unknown is not None:
        there = f"Settings: {', '.join(fields)}." if fields else "It has no settings."
        raise BadInput(f"--set: {name} has no setting {unknown[:60]!r}.", hint=there)
    try:
        return msgspec.convert(typed, struct, strict=False)
    except msgspec.ValidationError as error:
        reason = str(error).replace(" - at `$.", ": ").rstrip("`")
        raise BadInput(f"--set: {reason}.", hint=f"See `finetop select --list` for {name}.") from error
