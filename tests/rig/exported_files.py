"""Exported files with made-up verdicts."""

from __future__ import annotations

from typing import Any

from finetop.core.protocol.exports import ExportedFile, ExportVerdict, TargetScores, TaskScores

OK = ExportVerdict(
    verdict="ok", reason="", margin=0.03, drop=0.004, decided=(-0.01, 0.02), scores=(0.612, 0.598, 0.594),
    items_used=320, items_total=672, lost=5, won=4, answers_differ=21, suite="quick", seconds=8.0,
    tasks=[TaskScores("arith", "kept", 0.02, (0.4, 0.42, 0.4), 50), TaskScores("arc", "kept", 0, (0.5, 0.5, 0.5), 50)],
    target={"nats_per_token": TargetScores((2.94, 0.98, 1.01), 0.01, 0.05, 60)},
)  # fmt: skip
LOST = ExportVerdict(
    verdict="regressed", reason="", margin=0.03, drop=0.12, scores=(0.612, 0.598, 0.478), items_used=128,
    items_total=672, lost=17, won=2, answers_differ=60, suite="quick", seconds=3.0,
    tasks=[TaskScores("arith", "lost", 0.3, (0.4, 0.42, 0.12), 20), TaskScores("arc", "open", 0.04, (0.5, 0.5, 0.46))],
)  # fmt: skip


def exported(quant: str = "q4_k_m", verdict: ExportVerdict | None = OK, **more: Any) -> ExportedFile:
    facts: dict[str, Any] = {
        "step": 1200, "folder": "/models/out", "name": f"mine-1200-{quant}.gguf", "quant": quant,
        "bytes": 105_000_000, "trained_bytes": 220_000_000, "nats": 3.01, "trained_nats": 2.99, "tokens_per_s": 41.0,
    }  # fmt: skip
    return ExportedFile(**{**facts, "verdict": verdict, **more})
