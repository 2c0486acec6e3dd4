"""What the betting test is compared with: correctly computed Gaussian group-sequential tests and the fixed-sample test.

The same question (is the drop over all N items the margin or more?), looks, error rates per side and arithmetic. At n
of N items drawn without replacement, Z = (mean + margin) / (sd sqrt(1/n - 1/N)) is, in the Gaussian limit and if the
drop is exactly the margin, a Brownian motion at time 1 / (1/n - 1/N) over its standard deviation. Bounds spend alpha
by Lan-DeMets 1983 at the share n/N, O'Brien-Fleming-like or Pocock-like, found by numerical integration (Armitage,
McPherson and Rowe 1969). All N items decide by arithmetic. The limit is asymptotic: with few flips their error rates
are those of the simulation, not the requested ones.
"""

from __future__ import annotations

from math import ceil, e, pi, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from simulation.streams import ALPHA, LOOK_ITEMS, MARGIN_PERCENT, Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from simulation.streams import Suite

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Spending = Literal["O'Brien-Fleming", "Pocock"]
GRID, WIDEST = 401, 6.0  # points of the density, in standard deviations to the unbounded side
LEAST = 1e-11  # alpha too small to need a bound


def spent(alpha: float, share: Floats, spending: Spending) -> Floats:
    """Return the alpha that is spent when this share of the items has been seen."""
    if spending == "Pocock":
        return alpha * np.log1p((e - 1) * share)
    return 2 * ndtr(ndtri(alpha / 2) / np.sqrt(share))


def bounds_of_looks(looks: Ints, items: int, alpha: float, spending: Spending) -> Floats:
    """Return the Z that proves an answer at each look (items seen so far, all below `items`)."""
    times = 1 / (1 / looks - 1 / items)
    allowances = np.diff(spent(alpha, looks / items, spending), prepend=0.0)
    limits = np.full(len(looks), np.inf)
    points, mass = np.zeros(1), np.ones(1)  # the process so far, among those that did not stop
    for look, (now, step) in enumerate(zip(times, np.diff(times, prepend=0.0), strict=True)):
        deviation = sqrt(step)
        top = WIDEST * sqrt(now)
        if allowances[look] > LEAST and _beyond(top, points, mass, deviation) < allowances[look]:
            top = _bound(allowances[look], points, mass, deviation, top)
            limits[look] = top / sqrt(now)
        after = np.linspace(-WIDEST * sqrt(now), top, GRID)
        steps = (after[:, None] - points) / deviation
        density = np.exp(-0.5 * steps**2) @ mass / (deviation * sqrt(2 * pi))
        widths = np.full(GRID, after[1] - after[0])
        widths[[0, -1]] /= 2
        points, mass = after, density * widths
    return limits


def _beyond(bound: float, points: Floats, mass: Floats, deviation: float) -> float:
    """Return the chance of a step from `points` to beyond the bound."""
    return float(mass @ ndtr((points - bound) / deviation))


def _bound(allowance: float, points: Floats, mass: Floats, deviation: float, top: float) -> float:
    """Return the bound that is passed with the allowed chance."""
    return float(
        brentq(lambda bound: _beyond(bound, points, mass, deviation) - allowance, -top, top, xtol=1e-9)
    )


def run_gaussian(suite: Suite, order: Ints, to_regressed: Floats, to_ok: Floats) -> Runs:
    """Run a group-sequential test over orders of single items, [streams, items]; bounds are those of the looks."""
    items = len(suite.sums)
    looks = looks_before_the_end(items)
    drawn = suite.sums[order].astype(np.float64)
    ends = np.append(looks, items)
    totals = np.add.reduceat(drawn, np.append(0, looks), axis=1).cumsum(axis=1)
    squares = np.add.reduceat(drawn**2, np.append(0, looks), axis=1).cumsum(axis=1)
    mean = totals / ends
    variance = np.maximum(squares / ends - mean**2, 0.0) * ends / (ends - 1)
    spread = np.sqrt(variance[:, :-1] * (1 / looks - 1 / items))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(
            spread > 0, (mean[:, :-1] + MARGIN_PERCENT / 100) / spread, 0.0
        )  # no flip yet: no answer
    left = items - ends
    regressed = -100 * (totals + left) >= MARGIN_PERCENT * items
    ok = -100 * (totals - left) < MARGIN_PERCENT * items
    regressed[:, :-1] |= (z <= -to_regressed) & ~ok[:, :-1]
    ok[:, :-1] |= (z >= to_ok) & ~regressed[:, :-1]
    first = (regressed | ok).argmax(axis=1)
    streams = np.arange(len(order))
    return Runs(regressed[streams, first], ok[streams, first], ends[first])


def looks_before_the_end(items: int) -> Ints:
    return np.arange(LOOK_ITEMS, items, LOOK_ITEMS)


def items_of_fixed_sample(suite: Suite, *, wrong: float = ALPHA) -> int:
    """Return the n of N at which one z-test proves the true answer in all but `wrong` of the samples, at most all N.

    It knows the drop and the flips beforehand, which nobody does. At alpha for OK and alpha/2 for REGRESSED.
    """
    items = len(suite.sums)
    alpha = ALPHA / 2 if suite.fallen else ALPHA
    distance = abs(suite.drop - MARGIN_PERCENT / 100)
    variance = float(np.mean(suite.sums**2) - suite.drop**2)
    if not distance:
        return items
    endless = (float(ndtri(1 - alpha)) + float(ndtri(1 - wrong))) ** 2 * variance / distance**2
    return min(items, ceil(1 / (1 / endless + 1 / items)))
