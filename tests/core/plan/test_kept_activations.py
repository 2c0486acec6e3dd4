"""The plan's activations beside what autograd keeps, on fake tensors: families, methods, objectives, attention."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))
try:
    import kept_activations
finally:
    sys.path.remove(str(BENCH))

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("cell", kept_activations.CELLS, ids=lambda cell: cell.title)
def test_the_plan_keeps_what_a_step_keeps(cell):
    compared = kept_activations.compare(cell)
    assert compared.planned == pytest.approx(compared.kept, rel=0.05)


def test_the_table_is_wide():
    assert len(set(kept_activations.CELLS)) == len(kept_activations.CELLS) >= 60
