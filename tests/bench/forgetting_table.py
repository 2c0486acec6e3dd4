"""What each protection keeps, and what it costs: full tuning at a hundred times the usual rate, one protection per row.

    python tests/bench/forgetting_table.py --home FOLDER [--seeds 1 2 3] [--only none replay l2_sp …] [--out FILE.json]

The hard case is the demo's run that the check refuses (recipes/demo-full-hot.yaml: 20 steps of 4 rows at 2e-3), without
the general rows that it mixes in. Each row is a training job and a check (suite quick) in separate processes; results
in --home are reused, including the base's scores. A cell takes 60 to 90 s on two cores. CPU seconds are of the training
job, user and system; the first columns are of the target's 60 rows.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import bench
import msgspec

from finetop.core.protocol.check_result import CheckResult, read
from finetop.core.protocol.events import Ended, Metrics, Verdict
from finetop.core.recipe.load import load_recipe
from finetop.core.runtime.home import Home, prepare as prepare_home
from finetop.core.wording.verdicts import word

HARD = ["data.train=[{path: 'builtin:demo/support_train.jsonl'}]", "samples.count=0", "train.resumable=false"]
# By row: the settings, each with a strength chosen beforehand and not tuned on this table.
ROWS = {
    "none": [],
    "replay": ["protect.replay={path: 'builtin:demo/general.jsonl', share: 0.2}"],
    "replay from the base": ["protect.replay={from_base: 24, share: 0.2, max_new_tokens: 64}"],
    "kl_to_base": ["protect.kl_to_base=1"],
    "l2_sp": ["protect.l2_sp=0.1"],
    "ewc": ["protect.ewc=1000"],
    "freeze_layers": [
        "protect.freeze_layers={layers: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], embeddings: true}"
    ],
    "loss_adaptive_lr": ["protect.loss_adaptive_lr=1"],
    "mask_surprising": ["protect.mask_surprising=2.5"],
    "all but masking": [
        "protect.replay={path: 'builtin:demo/general.jsonl', share: 0.2}",
        "protect.kl_to_base=1",
        "protect.l2_sp=0.1",
        "protect.loss_adaptive_lr=1",
    ],
    "rate 2e-5": ["train.learning_rate=2e-5"],
}


@dataclass(frozen=True)
class Batch:
    """The result of one run. Shares are in [0, 1]; nats per token; CPU seconds of training."""

    row: str
    seed: int
    nats: float
    style: float
    base: float | None
    tuned: float | None
    drop: float | None
    low: float | None
    high: float | None
    verdict: str
    items: int
    drift: float | None
    cpu_s: float
    protect_s: float


def measure(home: Home, row: str, seed: int, model: str) -> Batch:
    """Train and check one cell, or read its earlier result."""
    name = f"{list(ROWS).index(row) + 1:04d}-{row.replace(' ', '-')}-{seed}"
    kept = home.root / "runs" / name / "cell.json"
    if kept.is_file():
        return msgspec.json.decode(kept.read_bytes(), type=Batch)
    shutil.rmtree(kept.parent, ignore_errors=True)  # left by an interrupted cell
    sets = [*HARD, *ROWS[row], f"train.seed={seed}", f"model.id={model}", "model.dtype=float32"]
    recipe = load_recipe("demo-full-hot", sets).resolved
    training = bench.write_job(home, name, recipe)
    spent = bench.cpu_seconds([*bench.RUN_JOB, str(training)], HF_HUB_OFFLINE="1")
    (ended,) = bench.read_events(training, Ended)
    assert ended.status == "finished", ended
    checkpoint = max((home.root / "runs" / name / "checkpoints").glob("step-*"))
    step = int(checkpoint.name.rpartition("-")[2])
    place = f"checkpoints/{checkpoint.name}"
    checking = bench.write_job(home, name, recipe, "check", 2, checkpoint=place, step=step)
    bench.cpu_seconds([*bench.RUN_JOB, str(checking)], HF_HUB_OFFLINE="1")
    result = read(bench.read_events(checking, Verdict)[0].result)
    seconds = sum(event.values.get("protect_s") or 0.0 for event in bench.read_events(training, Metrics))
    cell = batch_of(row, seed, result, spent, seconds)
    kept.write_text(json.dumps(asdict(cell)))
    for file in checkpoint.glob("*.safetensors"):
        file.unlink()  # half a gigabyte each
    return cell


def batch_of(row: str, seed: int, result: CheckResult, cpu_s: float, protect_s: float) -> Batch:
    low, high = result.interval or (None, None)
    return Batch(
        row=row, seed=seed, nats=result.target["nats_per_token"].tuned, style=result.target["rules"].tuned,
        base=result.base, tuned=result.tuned, drop=result.drop, low=low, high=high, verdict=word(result),
        items=result.items_used, drift=None if result.drift is None else result.drift.tuned - result.drift.base,
        cpu_s=cpu_s, protect_s=protect_s,
    )  # fmt: skip


def show(cells: list[Batch], seeds: list[int]) -> None:
    """Print the table: one line per row, with the mean of its seeds and every verdict."""
    none = [cell.cpu_s for cell in cells if cell.row == "none"]
    print(
        "| protection | target, nats | style | retained, base -> tuned | drop | verdict | drift | CPU s | in steps |"
    )
    print("|---|--:|--:|--:|--:|---|--:|--:|--:|")
    for row in ROWS:
        some = [cell for cell in cells if cell.row == row]
        if not some:
            continue
        verdicts = ", ".join(f"{cell.verdict} ({cell.items})" for cell in some)
        extra = f" ({mean(some, 'cpu_s') - sum(none) / len(none):+.0f})" if none and row != "none" else ""
        print(
            f"| {row} | {mean(some, 'nats'):.2f} | {mean(some, 'style'):.2f} "
            f"| {mean(some, 'base'):.3f} -> {mean(some, 'tuned'):.3f} | {100 * mean(some, 'drop'):.1f} | {verdicts} "
            f"| {mean(some, 'drift'):+.2f} | {mean(some, 'cpu_s'):.0f}{extra} | {mean(some, 'protect_s'):.1f} s |"
        )
    print(f"\nseeds {', '.join(map(str, seeds))}; in brackets behind a verdict the items that it took")


def mean(cells: list[Batch], key: str) -> float:
    values = [getattr(cell, key) for cell in cells if getattr(cell, key) is not None]
    return sum(values) / len(values) if values else float("nan")


def main() -> int:
    options = bench.options(
        __doc__,
        seeds={"type": int, "nargs": "+", "default": [1]},
        only={"nargs": "+", "choices": list(ROWS), "default": list(ROWS)},
        home=({"type": Path, "required": True}, "where runs and scores are kept: 20 minutes of work"),
        model=(str, "the small model's folder (else it is looked for as by the demo)"),
        out=(Path, "write the cells as JSON, too"),
    )
    home = Home(options.home.resolve())
    prepare_home(home)
    cells = []
    for seed in options.seeds:
        for row in options.only:
            cells.append(measure(home, row, seed, options.model or "smollm2-135m-instruct"))
            print(cells[-1], flush=True)
    show(cells, options.seeds)
    if options.out is not None:
        options.out.write_text(json.dumps([asdict(cell) for cell in cells], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
