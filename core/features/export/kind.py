"""The job that writes a run's model to a folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.protocol.job_kinds import JobKind, Sizes
from finetop.core.text import clean_line

BYTES = 8.0  # a parameter: it holds the model twice while it merges, in float32 if requested
BESIDE_GIB = 4.0


class Export(JobKind):
    verb = "export"
    work = "finetop.core.features.export.job"
    word = "export"
    can_pause = False

    def alike(self, args: Mapping[str, Any], recipe: Mapping[str, Any]) -> str | None:
        form = [args.get(name) for name in ("quants", "adapter", "dtype")]
        return f"{recipe['model']['id']} {form}"

    def gib(self, sizes: Sizes, models: int) -> float:
        return sizes.parameters * BYTES / 2**30 + BESIDE_GIB

    def kept(self, done: int, total: int) -> str:
        return "No model is written."

    def facts(self, args: Mapping[str, Any]) -> str:
        return f"to {clean_line(str(args.get('to')))}"

    def half_written(self, args: Mapping[str, Any]) -> str:
        return str(args["to"])


KINDS = (Export(),)
