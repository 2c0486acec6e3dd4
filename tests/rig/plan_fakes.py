"""A plan as a form shows it, built from plain numbers."""

from __future__ import annotations

from typing import Any

from finetop.core.plan.result import Disk, Plan, Steps, Time

GIB = 2**30


def make_plan(**more: Any) -> Plan:
    values: dict[str, Any] = {
        "model": "m", "family": "llama", "parameters": 1, "trainable": 1, "device": "gpu", "device_name": "H100",
        "dtype": "bfloat16", "parts": (), "estimate": 6e9, "need": 6.2 * GIB, "capacity": 80.0 * GIB, "verdict": "fits",
        "fix": None, "gpus": 1, "sharded": (), "steps": Steps(812, 0, 9, 912, "counted", 8, 203, 9, too_long=3),
        "time": Time(540.0, 1000.0, "as run x reached", True), "disk": Disk(1, 1, 1, 1, None), "notes": (), **more,
    }  # fmt: skip
    return Plan(**values)
