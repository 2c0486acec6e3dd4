"""The price of a query: single queries, one after the other, on a warm model, in several rounds.

On a CPU a query's price is the process's own CPU seconds on one thread. By wall-clock time the same query takes twice
as long beside other jobs (0.9 to 1.4 s alone, 2.3 to 2.7 s beside three, on two cores), and several threads burn CPU
time while they wait for each other (1.4 to 14 CPU seconds); on one thread it is 0.9 to 1.4 CPU seconds alone, 1.2 to
1.4 beside three.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from finetop.core.check.scoring import target
from finetop.core.check.scoring.batch_plan import Prompt
from finetop.core.check.scoring.generation import answer
from finetop.core.check.scoring.target import TargetRow
from finetop.core.data.prompts import Asker
from finetop.core.features.approaches.loaded import Loaded
from finetop.core.protocol.events import QueryPrice
from finetop.core.recipe.schema import Target

ROUNDS = 3  # of the same queries, one at a time, after a warm-up query
TIMED = 8  # queries per round,
TIMED_S = 60.0  # but only as many as fit into this time for all rounds, judged by the first,
TIMED_LEAST = 2  # and at least this many
GIB = 2**30


@dataclass(frozen=True)
class Prices:
    """The prices of queries, and the share of the machine's CPUs that other processes used meanwhile."""

    queries: list[QueryPrice]
    others: float


def price_queries(loaded: Loaded, rows: Sequence[TargetRow], settings: Target, asker: Asker | None) -> Prices:
    """Answer some evenly spaced rows one at a time, in rounds. The time of retrieval is added.

    Approaches have the same rows, so one with time for fewer queries answers the first of the same rows.
    """
    import torch

    if rows[0].text is not None:
        return Prices([], 0.0)  # plain texts have no queries
    most = target.longest_answer(rows, settings)
    count = min(TIMED, len(rows))
    priced_rows = [rows[at * len(rows) // count] for at in range(count)]
    looked_up = statistics.median(asker.spent) if asker is not None and asker.spent else 0.0
    on_gpu = loaded.device.startswith("cuda")
    clock = time.perf_counter if on_gpu else time.process_time

    def spent_on(row: TargetRow) -> float:
        began = clock()
        answer(loaded.model, loaded.tokenizer, [Prompt(row.prompt, (), most)], loaded.plan)
        return clock() - began + looked_up

    threads = torch.get_num_threads()
    if not on_gpu:
        torch.set_num_threads(1)
    try:
        began = time.monotonic()
        spent_on(priced_rows[0])
        first_s = time.monotonic() - began
        priced_rows = priced_rows[: max(TIMED_LEAST, int(TIMED_S / ROUNDS / max(first_s, 1e-3)))]
        load = Load()
        rounds = [[spent_on(row) for row in priced_rows] for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    spent = zip(*rounds, strict=True)
    pairs = zip(priced_rows, spent, strict=True)
    return Prices([QueryPrice(row.item, list(seconds)) for row, seconds in pairs], load.others())


class Load:
    """The use of the machine's CPUs by other processes since its creation."""

    def __init__(self) -> None:
        self._began = self._now()

    def others(self) -> float:
        """Return the others' share of all CPUs, 0 to 1."""
        moments, busy, own = (now - then for now, then in zip(self._now(), self._began, strict=True))
        return min(1.0, max(0.0, busy - own) / max(moments * (psutil.cpu_count() or 1), 1e-9))

    def _now(self) -> tuple[float, float, float]:
        """Return the time, and the CPU seconds of all processes and of this one. `user` already includes guests."""
        moment, times, own = self._sample()
        rest = ("idle", "iowait", "guest", "guest_nice")
        return moment, sum(times) - sum(getattr(times, name, 0.0) for name in rest), own

    def _sample(self) -> tuple[float, Any, float]:
        return time.monotonic(), psutil.cpu_times(), time.process_time()


def price_of(device: str) -> str:
    return "GPU" if device.startswith("cuda") else "CPU"


def peak_memory(device: str) -> float:
    """Return the peak memory so far, in GiB: of the GPU, or of this process."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_allocated(device)) / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
