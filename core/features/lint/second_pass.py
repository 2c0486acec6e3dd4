"""What findings can use after all rows were seen: counts, places, reading rows again, and progress."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from finetop.core.features.lint import lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from finetop.core.features.lint.lines import Block, Read
    from finetop.core.features.lint.report import LintRequest, SourceRole
    from finetop.core.features.lint.row import Row
    from finetop.core.recipe.schema import Model
    from finetop.core.runtime.home import Home


@dataclass
class Whole:
    """All rows, held only as offsets into their files. Row numbers count over all sources, from 0."""

    reads: list[Read]
    home: Home
    rows_of: Callable[[Block], list[Row]]
    say: Callable[[str, float, float], None]  # phase, done, total
    asked: LintRequest
    notes: list[str]  # what could not be checked, and why: findings add to them
    model: Model | None  # the model to be trained on the rows
    _kept: tuple[int, int, Block] | None = None  # the block read last: its source, its index

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(read.rows for read in self.reads)

    def rows_in(self, *roles: SourceRole) -> int:
        """Return the number of rows in these roles."""
        return sum(read.rows for read in self.reads if read.role in roles)

    def place(self, at: int) -> str:
        """Return where row number `at` was written: faq.jsonl:17."""
        block = self._block(at)
        return block.place(at - block.at)

    def again(self, ats: Iterable[int]) -> Iterator[Row]:
        """Read rows again, in the given order (rising is fastest); their tokens are not counted."""
        for at in ats:
            block = self._block(at)
            index = at - block.at
            single = replace(block, at=at, numbers=[block.numbers[index]], lines=[block.lines[index]])
            yield self.rows_of(single)[0]

    def _block(self, at: int) -> Block:
        source = bisect_right(self.reads, at, key=lambda read: read.starts[0][0]) - 1
        read = self.reads[source]
        index = bisect_right(read.starts, at, key=lambda start: start[0]) - 1
        if self._kept is None or self._kept[:2] != (source, index):
            self._kept = (source, index, lines.block_again(read, source, index))
        return self._kept[2]
