"""Training rows that contain items of benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from finetop.core.data.similarity.containment import Items
from finetop.core.data.similarity.word_codes import codes_of
from finetop.core.preflight.lint import benchmarks, pair_index, row_hashes
from finetop.core.preflight.lint.pair_findings import Comparing, Like

if TYPE_CHECKING:
    from finetop.core.preflight.lint.second_pass import Whole

ABOUT = "training rows that contain items of a benchmark"
WHY = (
    "A model that has learned a benchmark by heart scores well on it whatever else it has forgotten. A check leaves "
    "such items out, and so has fewer to decide by."
)
FIX = "remove the rows"
DO = "remove the rows that contain items of a benchmark"
SEVERITY = "warning"

look = row_hashes.look


class Finder(Comparing):
    """Finds the items of the recipe's suite, and of the files of --against."""

    ROLES = pair_index.SIDES[0]

    def find(self, whole: Whole) -> list[Like]:
        """Find the rows. Raises BadInput for a benchmark's file that has no questions."""
        seen = self._seen
        items = list(benchmarks.read(whole))
        wanted = Items([codes_of(text) for *_, text in items])
        is_trained = np.zeros(len(seen), bool)
        is_trained[seen.members(whole, pair_index.SIDES[0])] = True
        found: dict[int, Like] = {}
        for first, texts in seen.blocks():
            whole.say("benchmarks", first, len(seen))
            for hit in wanted.search(texts, 2 * first):
                number = hit.text // 2
                if is_trained[number]:
                    name, item, _ = items[hit.item]
                    how = "" if hit.is_verbatim else ", lightly edited"
                    found.setdefault(number, Like(number, name, f"{name} {item}{how}"))
        for which, text in wanted.in_pieces():
            if is_trained[text // 2]:
                name, item, _ = items[which]
                found.setdefault(text // 2, Like(text // 2, name, f"{name} {item}, in part"))
        return list(found.values())
