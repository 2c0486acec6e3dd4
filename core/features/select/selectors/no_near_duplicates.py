"""One row of each group of copies and near copies, drawn at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.data.formats import texts_of
from finetop.core.features.select.pool import Pool, answer_of
from finetop.core.features.select.selectors import Choice, NoSettings, Selector
from finetop.core.features.select.selectors.random import shuffled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from finetop.core.data.similarity.spill_file import Store

SAID_EVERY = 1000  # pairs


class NoNearDuplicates(Selector[NoSettings]):
    about = (
        "random rows, only the first of each group of copies and lightly edited copies"
        " (as `finetop lint` finds them)"
    )
    paper = "Lee et al. 2022, Deduplicating Training Data, arXiv:2107.06499"
    options = NoSettings

    def choose(self, pool: Pool, options: NoSettings, seed: int) -> Choice:
        """Leave out every row that is like an earlier one; the others come in the order of `random` with that seed.

        So the two differ in as few rows as possible, and a curve compares the effect of leaving out, not of the draw.
        """
        from finetop.core.data.similarity.spill_file import Store
        from finetop.core.data.similarity.word_codes import codes_of, fingerprint

        questions, answers = Store(), Store()
        first_of: dict[int, int] = {}
        for place, record in enumerate(pool.records("comparing rows")):
            texts, answer = texts_of(record), answer_of(record)
            first_of.setdefault(fingerprint(*texts), place)
            questions.add(codes_of("\n\n".join(text for text in texts if text != answer)).tobytes())
            answers.add(codes_of(answer).tobytes())
        single = sorted(first_of.values())
        gone = set(_near(single, questions, answers, pool))
        kept = set(single) - gone
        order = [place for place in shuffled(len(pool), seed) if place in kept]
        return Choice(order, may="are neither a copy nor a lightly edited copy of an earlier row")


def _near(places: Sequence[int], questions: Store, answers: Store, pool: Pool) -> Iterator[int]:
    """Yield the rows that are light edits of an earlier one, which may be one itself."""
    import numpy as np

    from finetop.core.data.similarity import edits, minhash

    counts = np.zeros(edits.TABLE, np.uint32)
    groups = []
    for at in range(0, len(places), 1000):
        some = places[at : at + 1000]
        word_codes = [np.concatenate([questions[place], answers[place]]) for place in some]
        edits.count_words(counts, word_codes)
        groups.append(minhash.shingles(word_codes))
        pool.report("comparing rows", at, len(places))
    table = minhash.tally(groups)
    signatures = [minhash.signatures(minhash.rare(group, table, len(places))) for group in groups]
    pairs: Any = minhash.pairs(np.concatenate(signatures)) if len(places) > 1 else ()
    for number, (first_place, second_place) in enumerate(pairs):
        first, second = places[first_place], places[second_place]
        question = edits.compare(questions[first], questions[second], counts)
        answer = edits.compare(answers[first], answers[second], counts)
        if number % SAID_EVERY == 0:
            pool.report("comparing pairs of rows", number, len(pairs))
        tells = question.is_sure or question.weight == 0 or answer.weight >= edits.TELLING
        if question.is_light and answer.is_light and not answer.swapped_names and tells:
            yield second


PLUGIN = NoNearDuplicates()
