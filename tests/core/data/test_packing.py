"""Packed sequences are counted from lengths only, and equal what TRL's own packing makes of the rows."""

from __future__ import annotations

import random

import pytest

from finetop.core.data import packing


@pytest.mark.parametrize("strategy", ["bfd", "bfd_split", "wrapped"])
@pytest.mark.parametrize(
    ("rows", "max_tokens"), [(1, 64), (7, 8), (300, 64), (999, 37), (1000, 128), (1001, 50), (2600, 512)]
)
def test_it_counts_what_trl_packs(strategy: str, rows: int, max_tokens: int) -> None:
    from datasets import Dataset, disable_progress_bars
    from trl import pack_dataset

    disable_progress_bars()
    random.seed(rows * max_tokens)
    lengths = [min(max_tokens, 1 + int(random.expovariate(3 / max_tokens))) for _ in range(rows)]
    ids = [[1] * length for length in lengths]
    packed = pack_dataset(Dataset.from_dict({"input_ids": ids, "labels": ids}), max_tokens, strategy)
    assert packing.sequences(lengths, max_tokens, strategy) == len(packed)


def test_rows_that_fill_a_sequence_stand_alone() -> None:
    assert packing.sequences([8, 8, 4, 3, 1, 5], 8) == 4
    assert packing.sequences([], 8) == 0
