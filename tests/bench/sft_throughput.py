"""Rows per second of supervised fine-tuning beside plain TRL, in CPU seconds of the training loop alone.

    FINETOP_TEST_DATA=… python tests/bench/sft_throughput.py --model FOLDER [--rows 32] [--rounds 1] [--arms a,b]

LoRA r16 on all linear layers of SmolLM2-135M-Instruct, rows of medquad, batch 4, at most 256 tokens, each arm in a
separate process, arms one after the other in every round:

- trl-bf16, trl-fp32: TRL's SFTTrainer as its documentation starts it, on the rows' prompts and completions
- ours: a recipe's defaults (rows of similar length together; drift and samples included), in the number format that is
  measured to be faster on this CPU
- ours-bf16, ours-fp32: the same in each of the two formats, whatever was measured
- ours-same: as ours, with TRL's settings (rows in random order, nothing around the steps), to see what is added

Reported are the format, rows per CPU second and per second, the mean loss per learned token of the first and the last
quarter of the rows, and the peak memory of the process; last, ours beside the faster of TRL's two. Targets: 1.3 times
its rows per CPU second at .8 of its memory. A round of all five takes 4 to 7 minutes on two idle cores.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from typing import Any

import bench

ARMS = ("trl-bf16", "trl-fp32", "ours", "ours-bf16", "ours-fp32", "ours-same")
FORMATS = {"bf16": "bfloat16", "fp32": "float32"}
BATCH, MAX_TOKENS, RATE = 4, 256, 2e-4


def rows_of(count: int) -> list[dict[str, Any]]:
    """Return the first rows of medquad."""
    data = bench.data_folder() / "medquad" / "train.jsonl"
    return [{"messages": row["messages"]} for row in bench.read_rows(data)[:count]]


def clock() -> Any:
    """Return a callback that times the loop and keeps the losses."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        cpu = wall = 0.0
        dtype = ""
        losses: list[float]

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.losses, self.wall, self.cpu = [], time.monotonic(), time.process_time()

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                self.losses.append(float(logs["loss"]))

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.wall, self.cpu = time.monotonic() - self.wall, time.process_time() - self.cpu

    return Clock()


def plain_trl(model: str, rows: list[dict[str, Any]], *, bf16: bool) -> Any:
    """Train with TRL alone."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    table = Dataset.from_list(
        [{"prompt": row["messages"][:-1], "completion": row["messages"][-1:]} for row in rows]
    )
    watch = clock()
    config = SFTConfig(
        output_dir=str(bench.folder_of_its_own()), per_device_train_batch_size=BATCH, num_train_epochs=1,
        learning_rate=RATE, lr_scheduler_type="constant", max_length=MAX_TOKENS, logging_steps=1,
        report_to="none", save_strategy="no", use_cpu=True, bf16=bf16, gradient_checkpointing=False,
        model_init_kwargs={"dtype": "bfloat16" if bf16 else "float32"}, seed=1,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=table,
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[watch],
    )
    watch.dtype = FORMATS["bf16" if bf16 else "fp32"]
    trainer.train()
    return watch


def ours(model: str, rows: list[dict[str, Any]], *, same: bool, dtype: str | None) -> Any:
    """Train as a run does, starting from its recipe; in the given number format, or the one measured to be faster."""
    from finetop.core.models import cpu_formats
    from finetop.core.recipe.load import resolve_text
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home, prepare
    from finetop.core.runtime.stop_signal import Stop
    from finetop.core.train import objectives, train

    if dtype == "bfloat16":
        cpu_formats.measured = lambda _: cpu_formats.Speeds(1, 2)
    folder = bench.folder_of_its_own()
    prepare(Home(folder / "home"))
    bench.write_rows(folder / "rows.jsonl", rows)
    recipe: dict[str, Any] = {
        "recipe": 1, "name": "throughput", "model": {"id": model, "dtype": dtype or "bfloat16"},
        "method": {"name": "lora", "rank": 16, "alpha": 32}, "objective": {"name": "sft"},
        "data": {"train": [{"path": str(folder / "rows.jsonl")}], "eval": {"share": 0}, "max_tokens": MAX_TOKENS,
                 "on_long": "truncate"},
        "train": {"epochs": 1, "batch_size": BATCH, "grad_accumulation": 1, "learning_rate": RATE,
                  "schedule": "constant", "warmup_steps": 0, "save_every": 1.0},
        "check": {"at_end": False, "general": None},
    }  # fmt: skip
    if same:
        recipe |= {"samples": {"count": 0}, "drift": {"every": None}}
        recipe["trainer_args"] = {"train_sampling_strategy": "random"}
    module = objectives.load("sft")
    watch, make = clock(), module.make_trainer

    def timed(setup: Any) -> Any:
        trainer = make(setup)
        watch.dtype = setup.dtype
        trainer.callback_handler.callbacks.insert(0, watch)
        return trainer

    module.make_trainer = timed
    log = EventLog(folder / "events.jsonl")
    train.train(
        resolve_text(json.dumps(recipe)).recipe, folder / "run", Home(folder / "home"), "cpu", log, Stop()
    )
    return watch


def run_arm(arm: str, model: str, count: int) -> None:
    """Run one arm in this process and print its cost."""
    rows = rows_of(count)
    watch = (
        plain_trl(model, rows, bf16=arm == "trl-bf16")
        if arm.startswith("trl")
        else ours(model, rows, same=arm == "ours-same", dtype=FORMATS.get(arm.removeprefix("ours-")))
    )
    quarter = max(1, len(watch.losses) // 4)
    result = {
        "arm": arm, "dtype": watch.dtype, "cpu_s": watch.cpu, "wall_s": watch.wall,
        "rows_per_cpu_s": count / watch.cpu, "rows_per_s": count / watch.wall,
        "first": statistics.mean(watch.losses[:quarter]), "last": statistics.mean(watch.losses[-quarter:]),
        "memory_gib": bench.memory_mb("self", "VmHWM") / 1024,
    }  # fmt: skip
    print(json.dumps(result))


def main() -> None:
    """Run the arms in turn and print their medians."""
    given = bench.options(
        __doc__, model={"required": True}, rows=32, rounds=1, threads=2, arms=",".join(ARMS[:5]),
        arm=({"choices": ARMS}, "run this one here"),
    )  # fmt: skip
    if given.arm:
        run_arm(given.arm, given.model, given.rows)
        return
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(given.rounds):
        for arm in given.arms.split(","):
            own = ("--model", given.model, "--rows", given.rows, "--arm", arm)
            try:
                line = bench.again(*own, OMP_NUM_THREADS=str(given.threads), GOMP_SPINCOUNT="20000")
            except subprocess.CalledProcessError as error:
                print(f"{arm} failed: {error}")
                continue
            found.setdefault(arm, []).append(json.loads(line))
            print(line, flush=True)
    print(
        f"{'arm':<10} {'format':<9} {'rows/CPU s':>10} {'rows/s':>7} {'loss first':>10} {'last':>6} {'GiB':>6}"
    )
    medians = {arm: median_of(results) for arm, results in found.items()}
    for arm, median in medians.items():
        print(
            f"{arm:<10} {median['dtype']:<9} {median['rows_per_cpu_s']:>10.3f} {median['rows_per_s']:>7.3f}"
            f" {median['first']:>10.3f} {median['last']:>6.3f} {median['memory_gib']:>6.2f}"
        )
    rivals = [found for arm, found in medians.items() if arm.startswith("trl")]
    best = max(rivals, key=lambda found: found["rows_per_cpu_s"], default=None)
    for arm, own in medians.items() if best is not None else ():
        if arm.startswith("ours"):
            print(
                f"{arm}: {own['rows_per_cpu_s'] / best['rows_per_cpu_s']:.2f} times the rows a CPU second of TRL's "
                f"{best['dtype']}, {own['rows_per_s'] / best['rows_per_s']:.2f} times the rows a second, "
                f"{own['memory_gib'] / best['memory_gib']:.2f} of its memory"
            )


def median_of(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each number over an arm's rounds; texts are the same in all."""
    return {
        key: value if isinstance(value, str) else statistics.median(result[key] for result in results)
        for key, value in results[0].items()
    }


if __name__ == "__main__":
    main()
