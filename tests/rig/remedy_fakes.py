"""Remedies of a run in memory: before, while and after they are tried."""

from __future__ import annotations

from typing import Any

import msgspec
from tui_fakes import NOW, FakeSupervisor, mixed_rows

from finetop.core.features.export.messages import Export, ExportAnswer
from finetop.core.features.remedies.messages import (
    Remedies,
    RemediesAnswer,
    Remedy,
    RemedyAnswer,
    RetrainingRow,
)
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Finished, RemedyRow, Running, SideJob, State, TaskBrief, Tried

RUN = "support-full-1e-4"


def make_remedy(
    name: str, label: str, gain: float | None = None, drop: float = 0.8, verdict: str = "", **more: Any
) -> RemedyRow:
    """Return one remedy; with a gain it was tried."""
    values: dict[str, Any] = {"about": "what it does", "settings": {"strength": 0.5}, **more}
    if verdict in ("ok", "regressed", "no_verdict"):
        values |= {
            "target": {"exact_match": 0.71 + 0.2 * (gain or 0.0), "rules": (gain or 0.0) ** 8},
            "kept": {"exact_match": gain or 0.0, "rules": (gain or 0.0) ** 8}, "gain": gain and min(gain, gain**8),
            "drop": drop, "interval": (drop - 4.0, drop + 4.0), "decided": (drop - 0.5, drop + 1.0),
            "items_used": 192, "items_total": 336,
            "worst": [TaskBrief("arith", 22.0, "lost"), TaskBrief("words", 0.4, "open")], "weights": "ab" * 32,
            "seconds": 41.0,
        }  # fmt: skip
    return RemedyRow(name, name.partition("-")[0], label, 1200, verdict=verdict, **{**values, **more})  # type: ignore[arg-type]


def confirmed_fields(**more: Any) -> dict[str, Any]:
    """Return the fields of a confirmation."""
    return {
        "confirmation": "ok", "fresh_drop": 0.8, "fresh_interval": (-3.4, 5.0), "fresh_decided": (-0.4, 2.0),
        "fresh_used": 300, "fresh_total": 336, "alpha": 0.005, **more,
    }  # fmt: skip


def untried() -> list[RemedyRow]:
    return [
        make_remedy("checkpoint", "earlier checkpoint", why_not="none was saved"),
        make_remedy("interpolate-0.75", "3/4 of the change"),
        make_remedy("interpolate-0.5", "half-way to the base"),
        make_remedy("intruders", "intruder dimensions removed"),
        make_remedy("prune-small", "smaller half pruned"),
    ]


def tried() -> list[RemedyRow]:
    return [
        make_remedy("checkpoint", "earlier checkpoint", why_not="none was saved"),
        make_remedy("interpolate-0.75", "3/4 of the change", 1.0, 3.6, "regressed"),
        make_remedy("interpolate-0.5", "half-way to the base", 0.95, 0.8, "ok", **confirmed_fields()),
        make_remedy(
            "intruders",
            "intruder dimensions removed",
            verdict="unchanged",
            reason="none of its 210 matrices has an intruder.",
        ),
        make_remedy("prune-small", "smaller half pruned", 0.65, 1.9, "ok"),
    ]


def make_answer(
    rows: list[RemedyRow], job: State | None = None, best: str = "", **more: Any
) -> RemediesAnswer:
    """Return the supervisor's answer."""
    values: dict[str, Any] = {
        "run": RUN,
        "step": 1200,
        "metric": "exact_match",
        "base": {"exact_match": 0.71, "rules": 0.0},
        "margin": 3.0,
        "now": make_remedy("now", "now", 1.0, 9.1, "regressed"),
        "rows": rows,
        "retrainings": [
            RetrainingRow(
                "kl-to-base", "KL to the base, weight 1", {"protect.kl_to_base.weight": 1.0}, "", 2700.0
            ),
            RetrainingRow("lower-rate", "learning rate / 3", {"train.learning_rate": 1e-5}, "", 2700.0),
            RetrainingRow("replay", "20 % replay", {}, "it replays already"),
        ],
        "best": best,
        "job": job,
        "trying": [remedy.name for remedy in rows if not remedy.why_not],
        "price_s": 45.0,
        **more,
    }
    return RemediesAnswer(**values)


def before() -> RemediesAnswer:
    return make_answer(untried(), now=None)


def meanwhile() -> RemediesAnswer:
    rows = [*tried()[:2], msgspec.structs.replace(tried()[2], confirmation=""), *untried()[3:]]
    job = Running(NOW - 60, "intruder dimensions removed: scoring tuned", 212, 336, "items", 40.0)
    return make_answer(rows, job, "interpolate-0.5")


def after() -> RemediesAnswer:
    return make_answer(tried(), Finished(NOW - 300, NOW - 20), "interpolate-0.5")


class MendingSupervisor(FakeSupervisor):
    """A supervisor that knows the remedies of any run."""

    def __init__(self, found: RemediesAnswer) -> None:
        super().__init__(mixed_rows())
        self.found = found

    async def ask(self, ask: Ask) -> Any:
        match ask:
            case Remedies():
                return self.found
            case GetRun():
                detail = self._detail(ask.run)
                job = self.found.job
                others = [SideJob("remedy", job, Tried(2, 4))] if isinstance(job, Running) else []
                row = msgspec.structs.replace(detail.row, others=others)
                return msgspec.structs.replace(detail, row=row)
            case Remedy():
                self.asked.append(ask)
                return RemedyAnswer(41, ask.run, 1200, ask.only)
            case Export():
                self.asked.append(ask)
                return ExportAnswer(42, ask.run, 1200)
        return await super().ask(ask)
