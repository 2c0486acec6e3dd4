"""Rows are trees without padding, evenly filled; in a packed row a token attends only to its ancestors."""

import random

import pytest

from finetop.core.check.scoring.packing import TokenSequence, pack, packed_batches


def test_shared_beginnings_are_packed_once_and_the_head_runs_on_little_more_than_what_predicts():
    texts = (((1, 2, 3, 4), 3), ((1, 2, 3, 5), 3), ((1, 2, 9, 9, 9), 2))
    (row,) = pack([TokenSequence(*text) for text in texts], 100)
    assert row.tokens == [1, 2, 3, 9, 9]
    assert row.depths == [0, 1, 2, 2, 3]
    seen = row.visible()
    assert not seen[3, 2] and seen[4, 3] and seen[4, 0]
    sequences = [
        TokenSequence((*range(100 * item, 100 * item + 40), 90_000 + choice, 7), 40)
        for item in range(6)
        for choice in range(4)
    ]
    for packed in packed_batches(pack(sequences, 150), sequences, 300):
        assert packed.kept <= 5 * 3  # one node that predicts all four choices, and these themselves


def test_rows_keep_to_their_length_are_filled_evenly_and_do_not_grow_without_end():
    rng = random.Random(1)
    sequences = [TokenSequence(tuple(rng.randrange(10_000) for _ in range(21)), 10) for _ in range(20)]
    rows = pack(sequences, 150)
    lengths = [len(row.tokens) for row in rows]
    assert len(rows) == 3
    assert min(lengths) >= 120 and max(lengths) <= 150
    assert sorted(place for row in rows for place in row.paths) == list(range(20))
    context = tuple(range(1_000))
    sequences = [TokenSequence((*context, *[5_000 + choice] * 400), 1_000) for choice in range(10)]
    rows = pack(sequences, 512)
    assert max(len(row.tokens) for row in rows) <= 1.5 * 1_400
    assert sorted(place for row in rows for place in row.paths) == list(range(10))


@pytest.mark.parametrize("context", [90, 100, 130, 400])
def test_choices_stay_with_their_context_though_it_is_longer_than_a_row(context):
    sequences = [
        TokenSequence((*range(first, first + context), first + 5_000 + choice, 1, 2, 3), context)
        for first in (10_000, 20_000)
        for choice in range(4)
    ]
    rows = pack(sequences, 100)
    assert sum(len(row.tokens) for row in rows) == 2 * (context + 4 * 3)


def test_every_predicting_column_sees_its_sequence_and_nothing_else():
    rng = random.Random(4)
    header = [rng.randrange(50) for _ in range(8)]
    sequences = []
    for _ in range(30):
        length = rng.randint(2, 20)
        tokens = (*(header if rng.random() < 0.5 else []), *(rng.randrange(50) for _ in range(length)))
        sequences.append(TokenSequence(tokens, rng.randint(1, len(tokens) - 1)))
    batches = list(packed_batches(pack(sequences, 60), sequences, 130))
    assert len(batches) > 1 and any(len(packed.tokens) > 1 for packed in batches)
    met = []
    for packed in batches:
        columns = packed.tokens.shape[1]
        for place, (row, kept) in packed.predicting.items():
            sequence = sequences[place]
            met.append(place)
            for at, column in zip(range(sequence.scored_from, len(sequence.tokens)), kept, strict=True):
                seen = packed.visible[row, columns - packed.kept + column].nonzero()[0]
                seen = sorted(seen, key=lambda node: packed.depths[row, node])
                assert [int(packed.tokens[row, node]) for node in seen] == list(sequence.tokens[:at])
                assert [int(packed.depths[row, node]) for node in seen] == list(range(at))
    assert sorted(met) == list(range(30))
