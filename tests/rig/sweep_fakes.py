"""Sweeps in memory, for tests of the Sweep screen: over a rate and seeds, over selectors, over methods."""

from __future__ import annotations

from typing import Any

from tui_fakes import NOW, FakeSupervisor, make_check, make_row

from finetop.core.errors import NotFound
from finetop.core.protocol.messages.runs import SweepBrief, Sweeps, SweepsAnswer, SweptRun
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Finished, Queued, Running, RunRow

RATE = "train.learning_rate"
DONE = Finished(NOW - 9000, NOW - 4000)
# rate -> target, drop and verdict of three seeds
RATES: dict[str, list[tuple[float, float, str]]] = {
    "1e-5": [(0.71, 0.1, "ok"), (0.73, -0.2, "ok"), (0.70, 0.2, "ok")],
    "5e-5": [(0.80, 0.5, "ok"), (0.84, 0.9, "ok"), (0.82, 0.4, "ok")],
    "2e-4": [(0.91, 1.8, "ok"), (0.93, 2.6, "no_verdict"), (0.89, 1.1, "ok")],
    "1e-3": [(0.90, 7.9, "regressed"), (0.94, 9.1, "regressed"), (0.83, 12.4, "regressed")],
}
SELECTED = {
    ("random", "100"): (0.61, 0.1), ("random", "200"): (0.68, 0.4), ("random", "400"): (0.72, 0.8),
    ("loss_band", "100"): (0.66, 0.2), ("loss_band", "200"): (0.71, 0.3), ("loss_band", "400"): (0.74, 0.9),
    ("length", "100"): (0.52, 0.4), ("length", "200"): (0.57, 1.2), ("length", "400"): (0.63, 2.2),
}  # fmt: skip


def make_run(number: int, values: dict[str, str], seed: int, state: Any = DONE, **more: Any) -> SweptRun:
    name = "-".join(("tone", *values.values(), f"s{seed}"))
    row = make_row(number, name, state, tags=["sweep/tone"], **more)
    return SweptRun(row, {**values, "train.seed": str(seed)})


def by_rate() -> SweepsAnswer:
    """Return four rates with three seeds each; of the last rate, one run is under way and one waits."""
    runs = []
    for rate, seeds in RATES.items():
        for seed, (target, drop, verdict) in enumerate(seeds, start=1):
            check = make_check(verdict, drop, target={"exact_match": [0.42, target]})
            loss = {"eval_loss": round(1.6 - target + seed / 100, 3)}
            runs.append(make_run(len(runs) + 1, {RATE: rate}, seed, check=check, metrics=loss))
    going = {"check": None, "metrics": {"loss": 1.2}, "step": 400}
    runs[-2] = make_run(11, {RATE: "1e-3"}, 2, Running(NOW - 800, "training", 400, 1200), **going)
    runs[-1] = make_run(12, {RATE: "1e-3"}, 3, Queued(1), check=None, metrics={}, step=0)
    return make_answer(runs, [RATE])


def by_selector() -> SweepsAnswer:
    """Return runs on rows chosen by three selectors, two seeds each."""
    runs = []
    for (by, rows), (target, drop) in SELECTED.items():
        for seed in (1, 2):
            apart = 0.01 if seed == 1 else -0.01
            check = make_check("ok", drop + apart, target={"token_f1": [0.3, target + apart]})
            runs.append(make_run(len(runs) + 1, {"select.by": by, "rows": rows}, seed, check=check))
    return make_answer(runs, ["select.by", "rows"])


def by_word() -> SweepsAnswer:
    """Return three methods with one run each."""
    methods = {"lora": (0.86, 0.1), "full": (0.91, 9.1), "vera": (0.74, 0.0)}
    runs = [
        make_run(at, {"method.name": name}, 1, check=make_check("ok" if drop < 3 else "regressed", drop,
              target={"exact_match": [0.42, target]}))
        for at, (name, (target, drop)) in enumerate(methods.items(), start=1)
    ]  # fmt: skip
    return make_answer(runs, ["method.name"])


def make_answer(runs: list[SweptRun], keys: list[str]) -> SweepsAnswer:
    briefs = [SweepBrief("tone", len(runs), len(runs), 0), SweepBrief("older", 2, 2, 0)]
    return SweepsAnswer(briefs, runs, keys)


class SweepingSupervisor(FakeSupervisor):
    """Serves one sweep; its runs are the runs of the list."""

    def __init__(self, found: SweepsAnswer | None) -> None:
        rows: list[RunRow] = [] if found is None else [run.row for run in found.runs]
        super().__init__(rows or [make_row(1, "alone", DONE)])
        self.found = found

    async def ask(self, ask: Ask) -> Any:
        if not isinstance(ask, Sweeps):
            return await super().ask(ask)
        self.asked.append(ask)
        if self.found is None:
            return SweepsAnswer([], [], [])
        if ask.sweep not in ("", *(sweep.name for sweep in self.found.sweeps)):
            raise NotFound(f"there is no sweep {ask.sweep!r}.")
        if ask.sweep == "older":
            return make_answer(
                [make_run(31, {"method.rank": rank}, 1) for rank in ("8", "16")], ["method.rank"]
            )
        return self.found
