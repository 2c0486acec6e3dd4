"""All that only a GPU can answer, in one run of about ten minutes, as one page.

    make gpu        (pytest -m gpu, then this; --to docs/gpu-report.md, --model FOLDER for a model of your own)

Every method takes 30 steps: tokens a second, and the peak that torch reserved beside the plan's estimate. LoRA beside
TRL alone on the same rows, and LLaMA-Factory where it is installed. Full tuning by train.master. Packed rows by kind of
attention. Objectives that write their own answers. A check of `quick`, in seconds. What can't be measured is a line
that says why. Without a GPU it says so, and measures nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "rig")]

STEPS, LATE = 30, 10  # the first steps are left out of a speed: kernels are chosen then
BATCH, TOKENS, ROWS = 4, 512, 256
WORDS = "The shop opens at nine, and closes at six. We mend radios, lamps and clocks in the old mill. "
PAID: dict[str, Any] = {"reward": {"rules": [{"rule": "length", "value": [1, 20]}]}, "max_new_tokens": 32}
Row = tuple[str, ...]


class Measured(NamedTuple):
    """What a run reached: the median of its late steps, memory in GB."""

    tokens_per_s: float
    peak: float
    estimate: float
    need: float
    seconds: float
    loss: float


class Bench:
    """A folder with rows, and the model that they are learned by."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = model
        self.count = 0
        answers = [{"prompt": f"What is {n}?", "completion": WORDS * (2 + n % 14)} for n in range(ROWS)]
        prompts = [{"prompt": f"Write of the number {n}.", "answer": str(n)} for n in range(ROWS)]
        for name, rows in (("answers", answers), ("prompts", prompts)):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def recipe(self, rows: str = "answers", **sections: Any) -> Any:
        from finetop.core.recipe.load import resolve_text

        whole: dict[str, Any] = {
            "recipe": 1,
            "name": "bench",
            "model": {"id": str(self.model), "dtype": "bfloat16"},
            "method": {"name": "lora"},
            "objective": {"name": "sft"},
            "data": {
                "train": [{"path": str(self.folder / f"{rows}.jsonl")}],
                "eval": {"share": 0.0},
                "max_tokens": TOKENS,
                "on_long": "truncate",
            },
            "train": {
                "epochs": None,
                "max_steps": STEPS,
                "batch_size": BATCH,
                "grad_accumulation": 1,
                "save_every": 1000,
                "resumable": False,
            },
            "samples": {"count": 0},
            "check": {"at_end": False, "general": None},
            "drift": {"every": None},
        }
        for name, section in sections.items():
            whole[name] = section if name in ("method", "objective") else {**whole.get(name, {}), **section}
        return resolve_text(json.dumps(whole)).recipe

    def train(self, recipe: Any) -> Measured:
        """Train in this process, and read what the run told."""
        import torch

        from finetop.core.preflight.plan import lengths, machine
        from finetop.core.preflight.plan.estimate import Known, estimate
        from finetop.core.preflight.plan.shape import read_config
        from finetop.core.protocol import events
        from finetop.core.runtime.event_log import EventLog
        from finetop.core.runtime.home import Home
        from finetop.core.runtime.stop_signal import Stop
        from finetop.core.train import train

        self.count += 1
        run = self.folder / "home" / "runs" / f"{self.count:04d}-bench"
        run.mkdir(parents=True)
        known = Known(lengths=lengths.measure(recipe, self.model, Home(self.folder / "home")))
        plan = estimate(recipe, read_config(self.model), machine.look(run, measure=False), known)
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        began = time.monotonic()
        log = EventLog(run / "events.jsonl")
        try:
            train.train(recipe, run, Home(self.folder / "home"), "cuda:0", log, Stop())
        finally:
            log.close()
        seconds = time.monotonic() - began
        told = [events.decode(line).e for line in (run / "events.jsonl").read_bytes().splitlines()]
        values = [
            event.values for event in told if isinstance(event, events.Metrics) and "loss" in event.values
        ]
        shutil.rmtree(run)
        return Measured(
            statistics.median(step["tokens_per_s"] for step in values[LATE:]),
            torch.cuda.max_memory_reserved() / 1e9,
            plan.estimate / 1e9,
            plan.need / 1e9,
            seconds,
            statistics.mean(step["loss"] for step in values[-LATE:]),
        )


def row_of(name: str, measure: Callable[[], Measured]) -> Row:
    """Measure one thing; a failure is its row."""
    try:
        seen = measure()
    except Exception as error:  # the report says which, and goes on
        return (name, "-", "-", "-", "-", "-", f"{type(error).__name__}: {str(error)[:120]}")
    return (
        name,
        f"{seen.tokens_per_s:,.0f}",
        f"{seen.peak:.2f}",
        f"{seen.estimate:.2f}",
        f"{seen.need:.2f}",
        f"{seen.loss:.3f}",
        f"{seen.seconds:.0f} s",
    )


HEAD: Row = ("run", "tokens/s", "peak GB", "plan GB", "asked for GB", "loss", "whole run")


def table(head: Row, rows: list[Row]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def methods_table(bench: Bench) -> str:
    from method_bench import OPTIONS

    from finetop.core.train import methods

    def trained(name: str) -> Measured:
        quantize = max(methods.load(name).QUANTIZED)  # none, where it goes on that
        own = {"name": name, **OPTIONS.get(name, {})}
        return bench.train(bench.recipe(method=own, model={"quantize": quantize}))

    rows = [row_of(name, partial(trained, name)) for name in methods.names()]
    qlora = bench.recipe(model={"quantize": "nf4"})
    rows.append(row_of("lora on nf4", lambda: bench.train(qlora)))
    return table(HEAD, rows)


def master_table(bench: Bench) -> str:
    rows = []
    for master in ("float32", "stochastic", "nearest"):
        recipe = bench.recipe(method={"name": "full"}, train={"master": master})
        rows.append(row_of(f"full, {master}", lambda recipe=recipe: bench.train(recipe)))  # type: ignore[misc]
    return table(HEAD, rows)


def packing_table(bench: Bench) -> str:
    rows = [row_of("not packed", lambda: bench.train(bench.recipe()))]
    for attention in ("sdpa", "flash_attention_2", "flex", "eager"):
        packed = bench.recipe(objective={"name": "sft", "packing": True}, model={"attention": attention})
        rows.append(row_of(f"packed, {attention}", lambda packed=packed: bench.train(packed)))  # type: ignore[misc]
    more: dict[str, dict[str, Any]] = {
        "liger": {"kernels": "liger"},
        "compiled": {"compile": True},
        "activations again": {"activation_checkpointing": True},
    }
    for name, section in more.items():
        recipe = bench.recipe(train=section)
        rows.append(row_of(f"not packed, {name}", lambda recipe=recipe: bench.train(recipe)))  # type: ignore[misc]
    return table(HEAD, rows)


def paid_table(bench: Bench) -> str:
    def trained(name: str, engine: str) -> Measured:
        own = PAID if name == "ppo" else {**PAID, "generations": 4}
        sections = {"objective": {"name": name, **own}, "model": {"engine": engine}}
        return bench.train(bench.recipe("prompts", **sections, train={"batch_size": 8}))

    runs = [("ppo", "exact"), ("rloo", "exact"), *(("grpo", one) for one in ("exact", "continuous", "vllm"))]
    return table(HEAD, [row_of(f"{name}, {engine}", partial(trained, name, engine)) for name, engine in runs])


def peers_table(bench: Bench) -> str:
    ours = row_of("finetop, lora r16", lambda: bench.train(bench.recipe()))
    plain = row_of("TRL alone, lora r16", lambda: trl_alone(bench))
    said = "LLaMA-Factory is not installed: not measured.\n"
    if shutil.which("llamafactory-cli"):
        said = f"LLaMA-Factory: {llama_factory(bench)}\n"
    return table(HEAD, [ours, plain]) + "\n" + said


def trl_alone(bench: Bench) -> Measured:
    """Train the same rows by TRL as its documentation starts it."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    rows = [json.loads(line) for line in (bench.folder / "answers.jsonl").read_text().splitlines()]
    arguments = SFTConfig(
        output_dir=str(bench.folder / "trl"),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        max_length=TOKENS,
        learning_rate=2e-5,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        bf16=True,
        model_init_kwargs={"dtype": "bfloat16"},
    )
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    trainer = SFTTrainer(
        str(bench.model), arguments, train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
    )  # fmt: skip
    times: list[tuple[float, float]] = []
    trainer.add_callback(_clock(times))
    began = time.monotonic()
    trainer.train()
    late = times[LATE:]
    speed = (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0])
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    peak = torch.cuda.max_memory_reserved() / 1e9
    return Measured(speed, peak, 0.0, 0.0, time.monotonic() - began, statistics.mean(losses[-LATE:]))


def _clock(times: list[tuple[float, float]]) -> Any:
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            if "num_tokens" in logs:
                torch.cuda.synchronize()
                times.append((time.monotonic(), logs["num_tokens"]))

    return Clock()


def llama_factory(bench: Bench) -> str:
    """Train the same rows by LLaMA-Factory; its own last words on its speed."""
    data = bench.folder / "factory"
    data.mkdir()
    rows = [json.loads(line) for line in (bench.folder / "answers.jsonl").read_text().splitlines()]
    told = [{"instruction": row["prompt"], "input": "", "output": row["completion"]} for row in rows]
    (data / "rows.json").write_text(json.dumps(told))
    (data / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))
    settings = {
        "stage": "sft", "do_train": True, "model_name_or_path": str(bench.model), "dataset": "rows",
        "dataset_dir": str(data), "template": "default", "finetuning_type": "lora", "lora_rank": 16,
        "lora_target": "all", "cutoff_len": TOKENS, "per_device_train_batch_size": BATCH, "max_steps": STEPS,
        "bf16": True, "output_dir": str(data / "out"), "report_to": "none", "include_num_input_tokens_seen": "all",
    }  # fmt: skip
    (data / "run.json").write_text(json.dumps(settings))
    done = subprocess.run(
        ["llamafactory-cli", "train", str(data / "run.json")], capture_output=True, text=True, check=False
    )
    lines = [line.strip() for line in done.stdout.splitlines() if "per_second" in line]
    return "; ".join(lines) or f"it failed: {(done.stderr.strip().splitlines() or ['?'])[-1][:200]}"


def quick_check(bench: Bench) -> str:
    """Say how long a check of `quick` takes of an adapter, base and tuned, nothing of it known before."""
    from finetop.core.check import run_check
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home
    from finetop.core.runtime.stop_signal import Stop
    from finetop.core.train import train

    home, run = Home(bench.folder / "home"), bench.folder / "home" / "runs" / "9999-check"
    run.mkdir(parents=True)
    recipe = bench.recipe(check={"general": {"suite": "quick"}}, train={"max_steps": 2})
    log = EventLog(run / "events.jsonl")
    try:
        train.train(recipe, run, home, "cuda:0", log, Stop())
        began = time.monotonic()
        result = run_check.check(
            recipe, run / "checkpoints" / "step-000002", home, "cuda:0", log, run_folder=run
        )
    except Exception as error:  # its tasks may lie on a hub that is out of reach
        return f"not measured: {type(error).__name__}: {str(error)[:200]}\n"
    finally:
        log.close()
    return f"{time.monotonic() - began:.1f} s, {result.verdict}\n"


def sections(bench: Bench) -> Iterator[tuple[str, str]]:
    yield "Every method, 30 steps", methods_table(bench)
    yield "Beside others", peers_table(bench)
    yield "Full tuning, by train.master", master_table(bench)
    yield "Packing and attention", packing_table(bench)
    yield "Own answers, paid", paid_table(bench)
    yield "A check of quick", quick_check(bench)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--tests", type=Path, help="what pytest -m gpu said")
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("no GPU on this machine: nothing is measured")
        return 0
    import warnings

    warnings.simplefilter("ignore")
    from wide_model import wide_model

    from finetop.core.runtime.job_process import quiet

    quiet()
    began = time.monotonic()
    card = torch.cuda.get_device_properties(0)
    page = [
        "# What one GPU measured\n",
        f"{card.name}, {card.total_memory / 1e9:.0f} GB, torch {torch.__version__}. Batches of {BATCH} rows of at most"
        f" {TOKENS} tokens; speeds are the median of steps {LATE + 1} to {STEPS}.\n",
    ]
    if given.tests is not None:
        page.append(f"Tests marked `gpu`: {given.tests.read_text().strip().splitlines()[-1].strip('= ')}\n")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        from conftest import build_tiny_model

        tiny = folder / "tiny"
        build_tiny_model(tiny)
        bench = Bench(folder, given.model or wide_model(folder, tiny, hidden=1536, layers=20))
        for title, text in sections(bench):
            print(f"## {title}\n\n{text}", flush=True)
            page.append(f"## {title}\n\n{text}")
    page.append(f"Measured in {time.monotonic() - began:.0f} s.\n")
    if given.to is not None:
        given.to.write_text("\n".join(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
