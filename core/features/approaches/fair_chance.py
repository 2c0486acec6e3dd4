"""Whether training had a fair chance: a bad score after a few rows, or with an unsettled loss, says little about it."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.features.approaches import wording as words
from finetop.core.features.approaches.messages import ApproachRow

LEAST_ROWS = 50  # distinct rows seen: with fewer, a bad score may be due to them, not to training
LEAST_EPOCHS = 0.995  # one, up to the rounding of steps
STILL_FALLS = 0.25  # share of the loss's whole fall, from the middle third of the steps to the last,
LEAST_FALL = 0.01  # and of the loss itself


def against_training(done: Sequence[ApproachRow]) -> str:
    """Return which trained approaches had no fair chance, so that nothing here counts against training."""
    trained = [row for row in done if row.trains and row.name != "from-scratch"]
    return "; ".join(filter(None, map(_no_fair_chance, trained)))


def _no_fair_chance(row: ApproachRow) -> str:
    """Return why this approach's score says little about training, and what to do; empty if it had a fair chance.

    A fair chance is a whole epoch over at least LEAST_ROWS rows, with a loss that did not rise and no longer falls.
    """
    if row.rows_seen is None or row.epochs_seen is None:
        return f"how much {row.name} read is not known"
    short, few = row.epochs_seen < LEAST_EPOCHS, row.rows_seen < LEAST_ROWS
    rose, falls = loss_rose(row), _still_falls(row)
    if not (short or few or rose or falls):
        return ""
    loss = " and its loss rose" if rose else " and its loss was still falling" if falls else ""
    more = "on more rows" if few and not short else "longer" if short or falls else ""
    how = " or ".join(filter(None, (more, "with a lower train.learning_rate" if rose else "")))
    return f"{row.name} saw {rows_read(row)}{loss}: train it {how} before you decide"


def loss_rose(row: ApproachRow) -> bool:
    return row.losses is not None and row.losses[1] > row.losses[0]


def _still_falls(row: ApproachRow) -> bool:
    """Return True if the loss had not settled: e^-x has once x is about 3.3, a straight line never does."""
    if row.losses is None or row.loss_midway is None:
        return False
    (first, last), midway = row.losses, row.loss_midway
    return midway - last > max(STILL_FALLS * (first - last), LEAST_FALL * abs(midway))


def rows_read(row: ApproachRow) -> str:
    """Return how much an approach read in training: '16 of 70 rows, 0.23 epochs'."""
    given = "" if row.rows_given is None else f" of {row.rows_given:,}"
    rows = f"{row.rows_seen:,}{given} {'row' if not given and row.rows_seen == 1 else 'rows'}"
    if row.epochs_seen is None:
        return rows
    epochs = words.epochs(row)
    return f"{rows}, {epochs} {'epoch' if epochs == '1' else 'epochs'}"
