"""Every method, objective and protection on a simulated GPU: mixed devices, and what a step waits for.

    python tests/bench/pretended_gpu.py [NAME …] [--page docs/gpu.md]

Prints a row for each run: the exit codes of training, resume and check; operations on tensors of two devices; how often
the host waits for the GPU in a step of two batches, by source line (finetop's own, or a library's); copies to the GPU,
which need not wait; attention with and without a mask. --page puts the table into a page, after <!-- table -->.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import bench

RIG = bench.RIG
MARK = "<!-- table -->"
HEAD = ("run", "train, resume, check", "mixed devices", "waits of ours", "of libraries", "copies in", "masks")


def row_of(outcome: dict[str, Any]) -> tuple[str, ...]:
    ours = {place: count for place, count in outcome["waits"].items() if " in " not in place}
    whole = sum(outcome["waits"].values())
    masks = Counter(outcome["masks"])
    without = masks.pop("none", 0)
    return (
        outcome["name"], ", ".join(map(str, outcome["codes"].values())), str(len(outcome["mismatches"])),
        str(sum(ours.values())), str(whole - sum(ours.values())), str(sum(outcome["copies"].values())),
        f"{sum(masks.values())} of {without + sum(masks.values())}",
    )  # fmt: skip


def main() -> int:
    given = bench.options(
        __doc__, ("names", "*"), page=Path, places=(False, "list what is waited for, line by line")
    )
    import pretended_guard

    if why := pretended_guard.why_not():
        bench.skip(why)
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        library = pretended_guard.build(folder)
        model = folder / "tiny"
        build = f"import conftest, pathlib; conftest.build_tiny_model(pathlib.Path({str(model)!r}))"
        own = {**os.environ, "PYTHONPATH": f"{RIG}:{RIG.parent}"}
        subprocess.run([sys.executable, "-c", build], env=own, check=True)
        runs = RIG / "pretended_runs.py"
        command = [sys.executable, str(runs), str(folder / "home"), str(model), *given.names]
        environment = {
            **os.environ, pretended_guard.LIBRARY: str(library), "CUDA_VISIBLE_DEVICES": "GPU-0",
            "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(RIG), "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        waits: Counter[str] = Counter()
        failed = 0
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                outcome = json.loads(line)
                waits.update(outcome["waits"])
                lines.append("| " + " | ".join(row_of(outcome)) + " |")
                print(lines[-1], flush=True)
                if outcome["said"] or outcome["mismatches"]:
                    failed += 1
                    print(f"  {outcome['said']} {outcome['mismatches'][:1]}", flush=True)
    if given.places:
        for site, count in waits.most_common():
            print(f"{count:5} {site}")
    bench.put_into(given.page, MARK, lines)
    return 1 if failed or process.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
