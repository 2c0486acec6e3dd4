"""How often alarms are wrong, and what they find: simulated runs, healthy and with planted faults, and real logs.

    python tests/bench/alarms.py [--runs 1000] [--faults 200] [--seed 1] [EVENTS.jsonl …]

Healthy runs of six families (tests/bench/simulation/training.py): alarms of each kind per thousand runs. Then faults
planted into runs of the families whose loss falls: the share found by the right kind of alarm, and after how many
steps. Loss faults also by how far they stand out: the planted rise, in deviations of the steps before it. Event files
of real runs are replayed and their alarms listed. Targets: at most 5 false alarms per thousand runs and kind, and 90 %
of each fault found; 75 % of spikes and of runs that never learn, a third of which are within the noise of their run
(docs/alarms.md). Exits 1 if a rate misses its target by more than the Monte-Carlo error, all cells considered.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING

import bench
import msgspec
import numpy as np
from simulation.streams import surely_above
from simulation.training import CHECKPOINT, DISK, FAMILIES, FAULTS, Log

from finetop.core.protocol import events
from finetop.core.train import alarms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_FALSE = 5.0  # per thousand runs
LEAST_FOUND = 0.9
LEAST_OF_HIDDEN = {"spike": 0.75, "stuck from the start": 0.75}
Found = tuple[str, int, str, bool]  # kind, step, text, whether it is over


def watches(run: alarms.Run) -> dict[str, alarms.Watch]:
    """Return all alarms with a recipe's default options."""
    by_name = {name: alarms.load(name).watch(alarms.load(name).options(), run) for name in alarms.names()}
    return {name: watch for name, watch in by_name.items() if watch is not None}


def replay(log: Log) -> Iterator[Found]:
    seconds, own = 0.0, watches(alarms.Run(log.steps, log.loss_falls))
    rows = zip(*log.values.values(), strict=True)
    for step, row in enumerate(rows, 1):
        values = {
            name: float(value)
            for name, value in zip(log.values, row, strict=True)
            if name not in ("drift", "free_bytes") or not math.isnan(value)
        }
        if "free_bytes" in values:
            values |= {"disk_bytes": DISK, "checkpoint_bytes": CHECKPOINT}
        seconds += values["step_s"]
        yield from look(own, step, seconds, values)


def look(
    own: Mapping[str, alarms.Watch], step: int, seconds: float, values: Mapping[str, float]
) -> Iterator[Found]:
    for kind, watch in own.items():
        said = watch.check(step, seconds, values)
        if said is not None:
            yield kind, step, said.text, said.is_over


def false_alarms(runs: int, seed: int) -> bool:
    print(f"healthy runs, {runs} a family: runs with an alarm, a thousand runs")
    print(f"{'family':<14}" + "".join(f"{kind:>15}" for kind in alarms.names()))
    whole: Counter[str] = Counter()
    for number, (family, draw) in enumerate(FAMILIES.items()):
        wrong: Counter[str] = Counter()
        for run in range(runs):
            log = draw(np.random.default_rng((seed, number, run)))
            wrong.update({kind for kind, _, _, over in replay(log) if not over})
        whole.update(wrong)
        print(
            f"{family:<14}" + "".join(f"{1000 * wrong[k] / runs:>15.1f}" for k in alarms.names()), flush=True
        )
    rates = {kind: 1000 * whole[kind] / runs / len(FAMILIES) for kind in alarms.names()}
    print(f"{'all':<14}" + "".join(f"{rate:>15.1f}" for rate in rates.values()))
    every = runs * len(FAMILIES)
    return not any(surely_above(whole[kind], every, MOST_FALSE / 1000, len(rates)) for kind in rates)


def detection(runs: int, seed: int) -> bool:
    print(
        f"\nplanted faults, {runs} each: found by their kind, after how many steps (median), and said to be over"
    )
    drawn = [draw for family, draw in FAMILIES.items() if family != "paid"]
    fine = True
    for number, (fault, (kind, plant)) in enumerate(FAULTS.items()):
        delays: list[int] = []
        over, sizes = 0, []
        for run in range(runs):
            random = np.random.default_rng((seed, 99, number, run))
            healthy = drawn[run % len(drawn)](random)
            log = plant(healthy, random)
            assert log.fault_at is not None
            told = [
                (step, is_over) for k, step, _, is_over in replay(log) if k == kind and step > log.fault_at
            ]
            first = next((step for step, is_over in told if not is_over), None)
            sizes.append((stands_out(healthy, log) if kind == "spike" else math.nan, first is not None))
            if first is not None:
                delays.append(first - log.fault_at)
                over += any(is_over for step, is_over in told if step > first)
        most_missed = 1 - LEAST_OF_HIDDEN.get(fault, LEAST_FOUND)
        fine = fine and not surely_above(runs - len(delays), runs, most_missed, len(FAULTS))
        print(
            f"{fault:<22}{100 * len(delays) / runs:>6.1f} %   after {median(delays or [0]):>6.0f} steps   over {over}",
            flush=True,
        )
        for least, most in ((0, 1.5), (1.5, 3), (3, math.inf)):
            among = [is_found for size, is_found in sizes if least <= size < most]
            if among:
                share = sum(among) / len(among)
                print(f"  {least:g} to {most:g} deviations {100 * share:>6.1f} %   of {len(among)}")
    return fine


def stands_out(healthy: Log, log: Log) -> float:
    """Return how far a planted fault lifts the log loss for at least 20 steps, in deviations of the 64 steps before."""
    assert log.fault_at is not None
    before, after = healthy.values["loss"][: log.fault_at][-64:], slice(log.fault_at, log.fault_at + 150)
    lifted = np.sort(np.log(log.values["loss"][after] / healthy.values["loss"][after]))[::-1]
    spread = 1.4826 * np.median(np.abs(np.diff(np.log(before)))) / math.sqrt(2)
    return float(lifted[min(19, len(lifted) - 1)] / spread)


def real(files: list[str]) -> None:
    """Replay the metrics of real runs, at the times at which their events were written."""
    raised: Counter[str] = Counter()
    for file in files:
        steps, own, began = 0, {}, 0.0
        for line in open(file, "rb"):  # noqa: SIM115, PTH123
            try:
                event = events.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if isinstance(event.e, events.Planned):
                steps, began, before = event.e.steps, event.t, event.t
                own = watches(alarms.Run(steps))
            if isinstance(event.e, events.Metrics) and own:
                values = {k: math.nan if v is None else v for k, v in event.e.values.items()}
                if "loss" in values:
                    values["step_s"], before = event.t - before, event.t
                for kind, step, text, _ in look(own, event.e.step, event.t - began, values):
                    raised[kind] += 1
                    print(f"  {file} of {steps} steps: step {step} {kind}: {text}")
    print(f"{len(files)} real runs: {dict(raised) or 'no alarm'}")


def main() -> int:
    args = bench.options(__doc__, ("events", "*"), runs=1000, faults=200, seed=1)
    quiet, detected = false_alarms(args.runs, args.seed), detection(args.faults, args.seed)
    if args.events:
        real(args.events)
    return 0 if quiet and detected else 1


if __name__ == "__main__":
    sys.exit(main())
