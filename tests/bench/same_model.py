"""A model against itself, and against one known to be bad: what flips, and which verdicts come out.

    python tests/bench/same_model.py [--suite quick] [--seeds 20] [--tuned CHECKPOINT] [--skip-bfloat16]

Every item of the suite is scored under each variant: other batches (rows a third as long, items in reverse order), an
adapter of zeros, bfloat16 against float32, and a checkpoint known to be bad. Then each seed draws its own order, and
the check runs look by look as it does live. Exits 1 if a seed calls a model REGRESSED against itself, or misses the bad
one.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import bench
import torch
from peft import LoraConfig, get_peft_model

from finetop.core.check.model_pair import open_pair
from finetop.core.check.run_check import LOOK_ITEMS
from finetop.core.check.scoring.batch_plan import BatchPlan
from finetop.core.check.scoring.batches import Batch, ScoredModel, prepare, score_batch
from finetop.core.check.scoring.scorer import plan_for
from finetop.core.check.statistics.conclude import check_pairs
from finetop.core.check.statistics.plan import make_plan
from finetop.core.check.statistics.verdict import PairedItem
from finetop.core.check.tasks.requests import build
from finetop.core.check.tasks.suite import find_suite
from finetop.core.models import devices, load, resolve
from finetop.core.models.forward import longest_input
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.recipe.schema import Model
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home, prepare as prepare_home

if TYPE_CHECKING:
    from finetop.core.check.scoring.batches import PreparedSuite
    from finetop.core.check.statistics.item_order import Key
    from finetop.core.models.resolved import ResolvedModel

Scores = dict["Key", float]


def score_all(prepared: PreparedSuite, model: Any, plan: BatchPlan, *, turned: bool = False) -> Scores:
    """Score every item of a suite on a loaded model."""
    scored_model = ScoredModel("base", None, lambda: model, plan)
    batches = [replace(batch, items=batch.items[::-1]) if turned else batch for batch in prepared.batches]
    if turned:
        batches = [Batch(batch.task, batch.items) for batch in batches[::-1]]
    began = time.process_time()
    scores = {
        (batch.task, score.item): score.score
        for batch in batches
        for score in score_batch(prepared, scored_model, batch)
    }
    print(
        f"  {len(scores):,} items in {time.process_time() - began:.0f} s of CPU", file=sys.stderr, flush=True
    )
    return scores


def with_zero_adapter(model: Any) -> Any:
    """Return the model with an adapter whose product is zero."""
    return get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", r=16, target_modules="all-linear", init_lora_weights=True)
    ).eval()


def verdicts(prepared: PreparedSuite, base: Scores, other: Scores, seeds: int) -> tuple[list[str], list[int]]:
    """Check `other` against `base` in one order per seed; return verdicts and items used."""
    pairs = [
        PairedItem(item.task, item.item, item.cluster, base[item.key], other[item.key])
        for item in prepared.items
    ]
    answers, used = [], []
    for seed in range(seeds):
        plan = make_plan(prepared.plans, prepared.items, base, seed=seed, cap=None, look_items=LOOK_ITEMS)
        result = check_pairs(plan, pairs, until="decided")
        answers.append(result.verdict)
        used.append(result.items_scored)
    return answers, used


def scored_model(base: ResolvedModel, dtype: torch.dtype, device: str) -> Any:
    return load.load_model(base, dtype, device)[0].eval()


def main() -> int:
    options = bench.options(
        __doc__,
        suite="quick",
        seeds=20,
        home=(str, "a home folder with the model in it (else a new one)"),
        tuned=(Path, "a checkpoint that is known to be bad"),
        skip_bfloat16=(False, "it is slow on a CPU without such arithmetic"),
    )
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(options.home or folder))
        prepare_home(home)
        device = devices.pick_device()
        base = resolve.resolve_model(Model(), home, EventLog(Path(folder) / "events.jsonl"))
        tokenizer = load.load_tokenizer(base)
        model = scored_model(base, torch.float32, device)
        prepared = prepare(
            build(find_suite(options.suite, home)), tokenizer, longest_input(model.config, tokenizer), 1
        )
        plan = plan_for(device)
        usual = score_all(prepared, model, plan)
        variants = {
            "other batches": score_all(
                prepared, model, BatchPlan(plan.layout, plan.row_tokens // 3), turned=True
            )
        }
        if not options.skip_bfloat16:
            variants["bfloat16"] = score_all(prepared, scored_model(base, torch.bfloat16, device), plan)
        variants["zero adapter"] = score_all(prepared, with_zero_adapter(model), plan)
        if options.tuned is not None:
            model = None
            pair = open_pair(base, options.tuned, "float32", device)
            bad, _ = load_checkpoint(base, options.tuned, torch.float32, pair.device)
            variants["known bad"] = score_all(prepared, bad.eval(), plan)
    print(f"{'against the base':18} {'flips':>12} {'OK':>5} {'REGRESSED':>10} {'none':>5} {'items used':>20}")
    failed = False
    for name, scores in variants.items():
        lost = sum(scores[key] < usual[key] for key in usual)
        won = sum(scores[key] > usual[key] for key in usual)
        answers, used = verdicts(prepared, usual, scores, options.seeds)
        wanted = "regressed" if name == "known bad" else "ok"
        failed |= any(verdict != wanted for verdict in answers)
        span = f"{mean(used):.0f} ({min(used)}-{max(used)}) of {len(prepared.items)}"
        print(
            f"{name:18} {f'-{lost} +{won}':>12} {answers.count('ok'):5} {answers.count('regressed'):10}"
            f" {answers.count('no_verdict'):5} {span:>20}"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
