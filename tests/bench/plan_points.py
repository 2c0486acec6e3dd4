"""How far the plan's memory is from published GPU measurements, point by point.

    FINETOP_TEST_DATA=/data .venv/bin/python tests/bench/plan_points.py [--points FOLDER]

FOLDER holds points.jsonl and a NAME.config.json for each model. Errors are those of the estimate; `need` is what the
verdict requires, and a point above it is a run that the verdict would wrongly have started. Numbers that a framework
read from torch's allocator (litgpt, PEFT, torchtune say so) exclude the driver's context: so does their estimate.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import bench

from finetop.core.models.weight_formats import int8, nf4
from finetop.core.plan import memory
from finetop.core.plan.shape import read_config, read_shape
from finetop.core.plan.trainable import trained

UNITS = {"GB": 1e9, "GiB": 2**30}
ALLOCATOR = ("Lightning-AI/litgpt", "huggingface/peft", "pytorch/torchtune")


class Compared(NamedTuple):
    id: str
    measured: float  # bytes
    estimate: float
    need: float

    @property
    def error(self) -> float:
        return self.estimate / self.measured - 1


# Bytes per weight of a quantised linear layer: 4 bits and a float32 scale per 64 weights; with 8-bit scales, a second
# scale per 256 of those (arXiv:2305.14314); for GPTQ a 16-bit scale and a 4-bit zero per 128.
LINEAR_BYTES = {
    "int8": int8.PLUGIN.linear_bytes, "nf4": 0.5 + 4 / 64, "nf4dq": nf4.PLUGIN.linear_bytes, "gptq4": 0.5 + 2.5 / 128,
}  # fmt: skip
UNPACKED_BYTES = {"gptq4": 12.0}  # GPTQ's torch code makes three matrices of int32 on the way


def workload(point: dict[str, Any], config: dict[str, Any]) -> memory.Workload:
    """Return a point's step as a Workload: plain AdamW, its states in the trained weights' format, all foreach."""
    shape = read_shape(config)
    is_full = point["tune"] == "full"
    options = {"r": point["rank"], "target_modules": point["targets"]}
    size = float(point["weights_bytes"] if is_full else point["adapter_bytes"])
    return memory.Workload(
        shape=shape, trained=trained(shape, "full" if is_full else "lora", options), batch_size=point["batch_size"],
        sequence=point["seq_len"], weight_bytes=float(point["weights_bytes"]),
        linear_bytes=LINEAR_BYTES.get(point["quantize"]), unpacked_bytes=UNPACKED_BYTES.get(point["quantize"], 2.0),
        trained_bytes=size, optimizer_bytes=2 * size, transient_bytes=size,
        checkpointing=point["activation_checkpointing"], chunked_loss=point["chunked_loss"],
        fused_kernels=point["fused_kernels"], quantized_keeps_inputs=True,
    )  # fmt: skip


def compare(folder: Path) -> list[Compared]:
    """Estimate every point of a folder."""
    compared = []
    for line in (folder / "points.jsonl").read_text(encoding="utf-8").splitlines():
        point = json.loads(line)
        parts = memory.parts(workload(point, read_config(folder / f"{point['model']}.config.json")))
        outside = memory.CONTEXT_BYTES if point["source"].startswith(ALLOCATOR) else 0.0
        compared.append(
            Compared(
                point["id"],
                point["measured"] * UNITS[point["unit"]],
                memory.total(parts) - outside,
                memory.need(parts, on_gpu=True) - outside,
            )
        )
    return compared


def main() -> int:
    args = bench.options(__doc__, points=Path)
    compared = sorted(compare(args.points or bench.data_folder() / "memory_points"))
    print(f"{'point':<26}{'measured':>9}{'estimate':>9}{'error':>8}{'need':>9}  (GB)")
    for point in compared:
        mark = "  above need" if point.need < point.measured else ""
        print(
            f"{point.id:<26}{point.measured / 1e9:>9.2f}{point.estimate / 1e9:>9.2f}{point.error:>+8.1%}"
            f"{point.need / 1e9:>9.2f}{mark}"
        )
    under = [point.id for point in compared if point.need < point.measured]
    mean_error = sum(abs(point.error) for point in compared) / len(compared)
    bias = sum(point.error for point in compared) / len(compared)
    print(f"\n{len(compared)} points: mean error {mean_error:.1%}, mean {bias:+.1%},"
          f" {len(under)} above need ({', '.join(under) or 'none'})")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
