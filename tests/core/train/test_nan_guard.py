"""The guard that ends a run with NaN numbers: what counts, and what is only a falling loss scale."""

import math
from types import SimpleNamespace

import pytest

from finetop.core.train.nan_guard import NanGuard


def stops_at(lines, limit=3):
    """Show the guard one log line per step; return the step at which it stops training."""
    watch, control = NanGuard(limit), SimpleNamespace(should_training_stop=False)
    for step, logs in enumerate(lines, start=1):
        watch.on_log(None, SimpleNamespace(global_step=step), control, logs=dict(logs))
        if control.should_training_stop:
            return step
    return None


@pytest.mark.parametrize(("lines", "stops"), [
    ([{"loss": 1.0, "grad_norm": math.inf}] * 9, 3),
    ([{"loss": 1.0, "grad_norm": math.inf, "loss_scale": 2.0**power} for power in range(16, -1, -1)], None),
    ([{"loss": 1.0, "grad_norm": math.nan, "loss_scale": 2.0**power} for power in range(2, -9, -1)], 6),
    ([{"loss": math.nan, "grad_norm": math.nan, "loss_scale": 65536.0}] * 9, 3),
], ids=["bfloat16", "the scale falls", "the scale is used up", "the loss itself"])  # fmt: skip
def test_what_ends_a_run(lines, stops):
    assert stops_at(lines) == stops
