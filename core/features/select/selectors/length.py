"""The longest answers first."""

from __future__ import annotations

from finetop.core.features.select.pool import Pool, answer_of
from finetop.core.features.select.selectors import Choice, NoSettings, Selector


class Length(Selector[NoSettings]):
    about = "the longest answers first, in characters"
    paper = "Zhao et al. 2024, Long Is More for Alignment, arXiv:2402.04833"
    options = NoSettings

    def choose(self, pool: Pool, options: NoSettings, seed: int) -> Choice:
        """Order rows by the length of what is learned; of equally long ones the first in the file comes first."""
        lengths = [float(len(answer_of(record))) for record in pool.records("measuring answers")]
        order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
        return Choice(order, lengths, "characters of the answer")


PLUGIN = Length()
