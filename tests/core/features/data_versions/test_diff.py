"""How two lists of rows differ: compared with a slow and simple count, and the text for it."""

import random
from collections import Counter
from difflib import SequenceMatcher

import numpy as np
import pytest
from tui_fakes import FakeSupervisor, make_row

from finetop.core.features.data_versions import wording as data_versions
from finetop.core.features.data_versions.diff import compare
from finetop.core.protocol.data_diff import Difference
from finetop.core.protocol.runs import Finished, Queued


def hashes(rows):
    return np.array(rows, dtype="<u8")


def differ(before, after, examples=0):
    return compare(hashes(before), hashes(after), examples)


@pytest.mark.parametrize("seed", range(40))
def test_what_both_have_is_what_a_plain_count_says(seed):
    chance = random.Random(seed)
    before = [chance.randrange(30) for _ in range(chance.randrange(40))]
    after = [chance.randrange(30) for _ in range(chance.randrange(40))]
    found = differ(before, after, 3)
    both = sum((Counter(before) & Counter(after)).values())
    assert found.difference.both == both
    assert found.difference.gone + found.difference.changed == len(before) - both
    assert found.difference.new + found.difference.changed == len(after) - both
    own_before, own_after = set(before) - set(after), set(after) - set(before)
    assert {before[at] for at in found.gone} <= own_before and {after[at] for at in found.new} <= own_after
    assert all(before[a] in own_before and after[b] in own_after for a, b in found.changed)


@pytest.mark.parametrize("seed", range(20))
def test_edits_in_place_are_told_from_new_rows_as_difflib_tells_them(seed):
    chance = random.Random(seed)
    before = list(range(100))
    after = list(before)
    for at in chance.sample(range(100), 12):
        after[at] = 1000 + at
    for _ in range(5):
        after.insert(chance.randrange(len(after)), chance.randrange(2000, 9000))
    for row in chance.sample([row for row in after if row < 100], 4):
        after.remove(row)
    changed = sum(
        min(b - a, d - c)
        for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        if kind == "replace"
    )
    found = differ(before, after, 200)
    assert found.difference.changed == changed == len(found.changed)
    assert found.difference.same_order


def test_of_a_run_without_rows_it_is_said_why():
    done, waits = Finished(0.0, 1.0), Queued(1)
    runs = [make_row(1, "one", done, method="none"), make_row(2, "two", waits), make_row(3, "three", done)]
    details = [FakeSupervisor(runs)._detail(row.name) for row in runs]
    words = [data_versions.unknown_rows(detail) for detail in details]
    assert words == [data_versions.NO_TRAINING, data_versions.NOT_STARTED, data_versions.NO_ROWS]


def test_another_order_is_said_and_a_difference_in_words():
    found = differ([1, 2, 3, 4], [4, 2, 3, 1]).difference
    assert (found.both, found.changed, found.gone, found.new, found.same_order) == (4, 0, 0, 0, False)
    assert data_versions.changes(found) == "the same rows in another order"
    assert not differ([1, 1, 2], [1, 2, 1]).difference.same_order
    assert differ([1, 2], [1, 2]).difference.is_same
    assert data_versions.changes(differ([1, 2], [5, 6, 7]).difference) == "other rows, all 3"
    assert differ([], [1]).difference == Difference(0, 0, 0, 1)
    found = differ([1, 2, 3, 4, 5], [1, 9, 3, 4, 5, 6, 7]).difference
    assert data_versions.changes(found) == "1 changed, 2 new"
    assert data_versions.shared(found, "A", "B") == "4 in both, 1 changed, 2 only in B"
