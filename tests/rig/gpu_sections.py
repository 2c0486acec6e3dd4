"""What `make gpu` measures, one process per section: its rows are written one by one, as they are measured.

    python gpu_sections.py SECTION --work FOLDER --into ROWS.jsonl [--skip N] [--model FOLDER]

SECTION is `machine` (the hardware and packages, before anything is measured), `model` (the model that is trained), or
one of ROWS. The lines of ROWS.jsonl: {"note": text} on what is left out; {"names": [all rows to come]}; for each of
them {"begin": name} and {"row": [cells]}, below a row with the headings; at the end {"done": true}. A row that fails
has its error as its last cell. If the GPU no longer answers after it, the process ends, and the report starts another
with --skip, after the rows that were begun.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import random_weights
import tiny_run

TESTS = Path(__file__).parents[1]
IS_PRETENDED = (
    "FINETOP_PRETENDED_GPU" in os.environ
)  # then all is small: there is no speed and no memory to measure
STEPS, LATE = (4, 1) if IS_PRETENDED else (30, 10)  # the first steps are not timed: kernels are chosen then
BATCH, TOKENS, ROWS_OF_DATA = (4, 64, 32) if IS_PRETENDED else (4, 512, 256)
WIDE = {"hidden": 128, "layers": 2} if IS_PRETENDED else {"hidden": 1536, "layers": 20}
ANSWER_TOKENS = 4 if IS_PRETENDED else 32
PAID: dict[str, Any] = {
    "reward": {"rules": [{"rule": "length", "value": [1, 20]}]},
    "max_new_tokens": ANSWER_TOKENS,
}
ON_QUICK = {"check": {"general": {"suite": "quick"}}}
HEAD = ("run", "tokens/s", "peak GB", "plan GB", "asked for GB", "loss", "whole run")
TRL = ("trl", "datasets")  # needed by all training except ppo's
SLOW_METHODS = ("osf", "boft")  # full SVDs of all weights; a CUDA extension that is built first
LARGE: dict[str, Any] = {  # the shape of Llama-3.1-8B
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "rope_theta": 5e5,
}  # fmt: skip
SMALL = {**LARGE, "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
LARGE_STEPS, LARGE_LATE = (3, 1) if IS_PRETENDED else (10, 4)
# Packages that may be missing, by import name, and what is left out without each.
WITHOUT = {
    "trl": "all training but ppo, and TRL alone beside it",
    "datasets": "all training but ppo, and TRL alone beside it",
    "bitsandbytes": "weights in 4 and 8 bits (loftq, nf4), optimizers in 8 bits",
    "flash_attn": "packed rows by flash_attention_2", "liger_kernel": "liger's kernels",
    "vllm": "answers written by vllm", "lm_eval": "tests and checks of benchmark tasks",
    "duckdb": "tests with a supervisor", "pytest": "the tests", "llamafactory": "LLaMA-Factory beside it",
    "pynvml": "the driver's own numbers (NVML)",
}  # fmt: skip
PROGRAMS = {"nvcc": "boft's own kernel"}


class Measured(NamedTuple):
    """The result of a run: the median of its late steps, memory in GB; None is unknown."""

    tokens_per_s: float
    peak: float | None
    estimate: float | None
    need: float | None
    seconds: float
    loss: float

    def cells(self) -> tuple[str, ...]:
        memory = ("-" if size is None else f"{size:.2f}" for size in (self.peak, self.estimate, self.need))
        return (f"{self.tokens_per_s:,.0f}", *memory, f"{self.loss:.3f}", f"{self.seconds:.0f} s")


class Row(NamedTuple):
    """One thing to measure, and the packages that it requires."""

    name: str
    measure: Callable[[], tuple[str, ...]]
    needs: tuple[str, ...] = TRL


class NotMeasured(Exception):
    """The reason why a row was not measured."""


class Bench:
    """A folder with rows, and the model that is trained on them."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = model
        self.large_adapter = folder / "large-adapter"  # what `large` trained, which `quick` checks
        answers = [
            {"prompt": f"What is {n}?", "completion": tiny_run.TEXT * (2 + n % 14)}
            for n in range(ROWS_OF_DATA)
        ]
        prompts = [{"prompt": f"Write of the number {n}.", "answer": str(n)} for n in range(ROWS_OF_DATA)]
        for name, rows in (("answers", answers), ("prompts", prompts)):
            tiny_run.write_rows(folder / f"{name}.jsonl", rows)

    def recipe(self, rows: str = "answers", **sections: Any) -> Any:
        import card

        own: dict[str, Any] = {
            "name": "bench", "model": {"dtype": card.number_format()},
            "data": {"eval": {"share": 0.0}, "max_tokens": TOKENS, "on_long": "truncate"},
            "train": {"max_steps": STEPS, "batch_size": BATCH, "save_every": 1000, "resumable": False,
                      "activation_checkpointing": False},
        }  # fmt: skip
        return tiny_run.recipe_of(self.model, self.folder / f"{rows}.jsonl", own, sections)

    def run_folder(self) -> Path:
        """Make a new run folder."""
        runs = self.folder / "home" / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(run.name[:4]) for run in runs.iterdir()), default=0)
        run = runs / f"{number:04d}-bench"
        run.mkdir()
        return run

    def plan(self, recipe: Any, folder: Path) -> Any:
        from finetop.core.plan import lengths, machine
        from finetop.core.plan.estimate import estimate
        from finetop.core.plan.shape import read_config
        from finetop.core.plan.workload import Known
        from finetop.core.runtime.home import Home

        model = Path(recipe.model.id)
        known = Known(lengths=lengths.measure(recipe, model, Home(self.folder / "home")))
        return estimate(recipe, read_config(model), machine.read_machine(folder, measure=False), known)

    def train(self, recipe: Any, late: int = LATE, keep: Path | None = None) -> tuple[str, ...]:
        """Train in this process; the last checkpoint becomes the folder `keep`."""
        from finetop.core.protocol import events
        from finetop.core.runtime.event_log import EventLog
        from finetop.core.runtime.home import Home
        from finetop.core.runtime.stop_signal import Stop
        from finetop.core.train import train

        run = self.run_folder()
        plan = self.plan(recipe, run)
        clock = Clock(late)

        def seen(event: Any) -> None:
            if isinstance(event, events.Metrics) and "loss" in event.values:
                clock.step(event.values["tokens"], event.values["loss"])

        forget_peak()
        began = time.monotonic()
        log = EventLog(run / "events.jsonl", seen)
        try:
            train.train(recipe, run, Home(self.folder / "home"), "cuda:0", log, Stop())
        finally:
            log.close()
        seconds, peak = time.monotonic() - began, peak_gb()
        if keep is not None:
            max((run / "checkpoints").glob("step-*")).rename(keep)
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
        return Measured(
            clock.speed(), peak, plan.estimate / 1e9, plan.need / 1e9, seconds, clock.loss()
        ).cells()


class Clock:
    """What is measured of training by whatever program: the same moments of each step, between its logs."""

    def __init__(self, late: int) -> None:
        self.late = late  # the first steps are not timed
        self.steps: list[tuple[float, float, float]] = []  # moment, tokens so far, loss

    def step(self, tokens: float, loss: float) -> None:
        """Note a step, once the GPU has done it."""
        import torch

        torch.cuda.synchronize()
        self.steps.append((time.monotonic(), tokens, loss))

    def speed(self) -> float:
        """Return the tokens a second between the first timed step and the last, with fetching and logging."""
        (began, first, _), (ended, last, _) = self.steps[self.late], self.steps[-1]
        return (last - first) / (ended - began)

    def loss(self) -> float:
        return statistics.mean(loss for _, _, loss in self.steps[self.late :])


def forget_peak() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def peak_gb() -> float | None:
    """Return the most that torch has reserved; None on the pretended GPU, which has no memory."""
    import torch

    return None if IS_PRETENDED else torch.cuda.max_memory_reserved() / 1e9


def methods(bench: Bench) -> Iterator[Row]:
    from finetop.core.train import methods

    yield from (method_row(bench, name) for name in methods.names() if name not in SLOW_METHODS)
    yield Row(
        "lora on nf4",
        lambda: bench.train(bench.recipe(model={"quantize": "nf4"})),
        (*TRL, "bitsandbytes"),
    )


def slow_methods(bench: Bench) -> Iterator[Row]:
    return (method_row(bench, name) for name in SLOW_METHODS)


def method_row(bench: Bench, name: str) -> Row:
    from finetop.core.train import methods

    quantize = max(methods.load(name).quantized)  # none, if it supports that

    def trained() -> tuple[str, ...]:
        from method_bench import OPTIONS

        own = {"name": name, **OPTIONS.get(name, {})}
        return bench.train(bench.recipe(method=own, model={"quantize": quantize}))

    return Row(name, trained, TRL if quantize == "none" else (*TRL, "bitsandbytes"))


def master(bench: Bench) -> Iterator[Row]:
    def trained(how: str) -> tuple[str, ...]:
        return bench.train(bench.recipe(method={"name": "full"}, train={"master": how}))

    for how in ("float32", "stochastic", "nearest"):
        yield Row(f"full, {how}", partial(trained, how))


def packing(bench: Bench) -> Iterator[Row]:
    def packed(attention: str) -> tuple[str, ...]:
        objective = {"name": "sft", "packing": True}
        return bench.train(bench.recipe(objective=objective, model={"attention": attention}))

    def with_setting(section: dict[str, Any]) -> tuple[str, ...]:
        return bench.train(bench.recipe(train=section))

    yield Row("not packed", lambda: bench.train(bench.recipe()))
    yield Row("packed, sdpa", partial(packed, "sdpa"))
    yield Row("packed, flash_attention_2", partial(packed, "flash_attention_2"), (*TRL, "flash_attn"))
    yield Row("packed, flex", partial(packed, "flex"))
    yield Row("packed, eager", partial(packed, "eager"))
    yield Row("not packed, activations again", partial(with_setting, {"activation_checkpointing": True}))
    yield Row("not packed, liger", partial(with_setting, {"kernels": "liger"}), (*TRL, "liger_kernel"))
    yield Row("not packed, compiled", partial(with_setting, {"compile": True}))


def paid(bench: Bench) -> Iterator[Row]:
    def trained(name: str, engine: str) -> tuple[str, ...]:
        own = PAID if name == "ppo" else {**PAID, "generations": 4}
        sections = {"objective": {"name": name, **own}, "model": {"engine": engine}}
        return bench.train(bench.recipe("prompts", **sections, train={"batch_size": 8}))

    for name, engine in (("grpo", "exact"), ("rloo", "exact"), ("ppo", "exact"), ("grpo", "continuous")):
        yield Row(f"{name}, {engine}", partial(trained, name, engine), () if name == "ppo" else TRL)
    yield Row("grpo, vllm", partial(trained, "grpo", "vllm"), (*TRL, "vllm"))


def peers(bench: Bench) -> Iterator[Row]:
    """Both with activation checkpointing, or both without: TRL's default is with, finetop's without."""

    def ours(again: bool) -> tuple[str, ...]:
        return bench.train(bench.recipe(train={"activation_checkpointing": again}))

    for again in (False, True):
        how = "activations again" if again else "activations kept"
        yield Row(f"finetop, lora r16, {how}", partial(ours, again))
        yield Row(f"TRL alone, lora r16, {how}", partial(trl_alone, bench, again))
    yield Row("LLaMA-Factory, activations kept", partial(llama_factory, bench), ("llamafactory",))


def trl_alone(
    bench: Bench, activations_again: bool, model: Path | None = None, steps: int = STEPS, late: int = LATE
) -> tuple[str, ...]:
    """Train the same rows with TRL as its documentation starts it, with the same activation checkpointing."""
    import card
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    rows = [json.loads(line) for line in (bench.folder / "answers.jsonl").read_text().splitlines()]
    held = card.number_format()
    arguments = SFTConfig(
        output_dir=str(bench.folder / "trl"), max_steps=steps, per_device_train_batch_size=BATCH,
        max_length=TOKENS, learning_rate=2e-5, logging_steps=1, save_strategy="no", report_to="none",
        disable_tqdm=True, gradient_checkpointing=activations_again, model_init_kwargs={"dtype": held},
        **{{"bfloat16": "bf16", "float16": "fp16"}[held]: True},
    )  # fmt: skip
    forget_peak()
    began = time.monotonic()
    trainer = SFTTrainer(
        str(model or bench.model), arguments, train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
    )  # fmt: skip
    if trainer.args.n_gpu > 1:
        raise NotMeasured(f"TRL takes {trainer.args.n_gpu} GPUs here, and finetop one")
    clock = Clock(late)

    class Timer(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            if "num_tokens" in logs and "loss" in logs:
                clock.step(logs["num_tokens"], float(logs["loss"]))

    trainer.add_callback(Timer())
    trainer.train()
    seconds = time.monotonic() - began
    return Measured(clock.speed(), peak_gb(), None, None, seconds, clock.loss()).cells()


def llama_factory(bench: Bench) -> tuple[str, ...]:
    """Train the same rows with LLaMA-Factory; its own report of its speed counts."""
    import card

    data = bench.folder / "factory"
    data.mkdir()
    rows = [json.loads(line) for line in (bench.folder / "answers.jsonl").read_text().splitlines()]
    examples = [{"instruction": row["prompt"], "input": "", "output": row["completion"]} for row in rows]
    (data / "rows.json").write_text(json.dumps(examples))
    (data / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))
    settings = {
        "stage": "sft", "do_train": True, "model_name_or_path": str(bench.model), "dataset": "rows",
        "dataset_dir": str(data), "template": "default", "finetuning_type": "lora", "lora_rank": 16,
        "lora_target": "all", "cutoff_len": TOKENS, "per_device_train_batch_size": BATCH, "max_steps": STEPS,
        "output_dir": str(data / "out"), "report_to": "none", "include_num_input_tokens_seen": "all",
        "disable_gradient_checkpointing": True, {"bfloat16": "bf16", "float16": "fp16"}[card.number_format()]: True,
    }  # fmt: skip
    (data / "run.json").write_text(json.dumps(settings))
    done = subprocess.run(
        ["llamafactory-cli", "train", str(data / "run.json")], capture_output=True, text=True, check=False
    )
    lines = [line.strip() for line in done.stdout.splitlines() if "per_second" in line]
    if not lines:
        raise NotMeasured(f"it failed: {(done.stderr.strip().splitlines() or ['?'])[-1][:200]}")
    return ("-", "-", "-", "-", "-", "; ".join(lines))


def large(bench: Bench) -> Iterator[Row]:
    """A model of 8 billion random weights with a head of 128k tokens: ours, TRL alone, and in 4 bits."""

    def trained(quantize: str, *, keep: bool = False) -> tuple[str, ...]:
        model = large_model(bench)
        sections = {"model": {"id": str(model), "quantize": quantize}, "train": {"max_steps": LARGE_STEPS}}
        recipe = bench.recipe(**sections)
        require_room(bench.plan(recipe, bench.folder).need)
        with random_weights.filled(model):
            return bench.train(recipe, late=LARGE_LATE, keep=bench.large_adapter if keep else None)

    def alone() -> tuple[str, ...]:
        model = large_model(bench)
        recipe = bench.recipe(model={"id": str(model)}, train={"max_steps": LARGE_STEPS})
        require_room(bench.plan(recipe, bench.folder).need)
        with random_weights.filled(model):
            return trl_alone(bench, False, model, LARGE_STEPS, LARGE_LATE)

    yield Row("8B, lora", partial(trained, "none", keep=True))
    yield Row("8B, TRL alone, lora", alone)
    yield Row("8B, lora on nf4", partial(trained, "nf4"), (*TRL, "bitsandbytes"))


def large_model(bench: Bench) -> Path:
    """Return the folder of the large model, made at its first use."""
    from transformers import AutoTokenizer, LlamaConfig

    folder = bench.folder / "large"
    if not folder.exists():
        shape = LlamaConfig(**(SMALL if IS_PRETENDED else LARGE), tie_word_embeddings=False, dtype="bfloat16")
        random_weights.write(shape, folder)
        AutoTokenizer.from_pretrained(bench.folder / "tiny").save_pretrained(folder)
    return folder


def require_room(need: float) -> None:
    """Raise NotMeasured if the plan asks for more bytes than the GPU has."""
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    if need > total:
        raise NotMeasured(f"the plan asks for {need / 1e9:.0f} GB, the GPU has {total / 1e9:.0f}")


def scoring(bench: Bench) -> Iterator[Row]:
    """Log-likelihoods of questions with four choices, by the model of 8 billion weights."""
    import scorer_speed

    def by(how: Callable[[Any, Any, list[scorer_speed.Item]], list[float]]) -> tuple[str, ...]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = large_model(bench)
        need = 1.3 * (folder / "model.safetensors").stat().st_size
        require_room(need)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        with random_weights.filled(folder):
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to("cuda:0").eval()
        items = scorer_speed.made_up(4 if IS_PRETENDED else 200)
        how(model, tokenizer, items[:2])
        forget_peak()
        return timed(lambda: how(model, tokenizer, items), len(items))

    def in_vllm() -> tuple[str, ...]:
        from vllm import LLM, SamplingParams

        folder = large_model(bench)
        engine = LLM(str(folder), load_format="dummy", max_model_len=1024, enable_prefix_caching=True)
        items = scorer_speed.made_up(200)
        texts = [item.context + choice for item in items for choice in item.choices]
        read = SamplingParams(max_tokens=1, prompt_logprobs=0)
        engine.generate(texts[:8], read, use_tqdm=False)
        return timed(lambda: engine.generate(texts, read, use_tqdm=False), len(items))

    yield Row("finetop", partial(by, scorer_speed.ours), ())
    for size in (8, 32):
        harness = partial(scorer_speed.stock, batch_size=size)
        yield Row(f"the harness, batches of {size}", partial(by, harness), ("lm_eval",))
    yield Row("vllm", in_vllm, ("vllm",))


def timed(work: Callable[[], Any], count: int) -> tuple[str, ...]:
    """Return the cells of work on a number of questions."""
    import torch

    began = time.monotonic()
    work()
    torch.cuda.synchronize()
    seconds, peak = time.monotonic() - began, peak_gb()
    return (f"{seconds:.1f} s", "-" if peak is None else f"{peak:.2f}", f"{count / seconds:.1f}")


def quick(bench: Bench) -> Iterator[Row]:
    """The time of a `quick` check of an adapter, base and tuned: of the large model, then of another."""

    def of_large() -> tuple[str, ...]:
        if not bench.large_adapter.exists():
            raise NotMeasured("there is no adapter: its training failed or was left out")
        model = large_model(bench)
        with random_weights.filled(model):
            return check_of(bench, bench.recipe(model={"id": str(model)}, **ON_QUICK), bench.large_adapter)

    def of_other() -> tuple[str, ...]:
        adapter = bench.folder / "adapter"
        bench.train(bench.recipe(train={"max_steps": 2}), late=0, keep=adapter)
        return check_of(bench, bench.recipe(**ON_QUICK), adapter)

    yield Row("8B, base and tuned", of_large, (*TRL, "lm_eval"))
    yield Row("base and tuned", of_other, (*TRL, "lm_eval"))


def check_of(bench: Bench, recipe: Any, checkpoint: Path) -> tuple[str, str, str]:
    """Check a checkpoint on `quick`: the time it took, its peak of memory, and its verdict."""
    from finetop.core.check import run_check
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home

    run = bench.run_folder()
    log = EventLog(run / "events.jsonl")
    forget_peak()
    began = time.monotonic()
    try:
        result = run_check.check(
            recipe, checkpoint, Home(bench.folder / "home"), "cuda:0", log, run_folder=run
        )
    finally:
        log.close()
    peak = peak_gb()
    return f"{time.monotonic() - began:.1f} s", "-" if peak is None else f"{peak:.2f}", str(result.verdict)


ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "large": large, "quick": quick, "scoring": scoring, "peers": peers, "packing": packing, "methods": methods,
    "master": master, "paid": paid, "slow-methods": slow_methods,
}  # fmt: skip
HEADS = {
    "quick": ("check", "took", "peak GB", "verdict"),
    "scoring": ("scored by", "took", "peak GB", "questions/s"),
}


def measure(section: str, rows: list[Row], skip: int, write: Callable[[dict[str, Any]], None]) -> bool:
    """Measure rows after the first `skip`. Returns False if the GPU is no longer usable."""
    head = HEADS.get(section, HEAD)
    if not skip:
        write({"names": [row.name for row in rows]})
        write({"row": head})
    for row in rows[skip:]:
        write({"begin": row.name})
        try:
            cells = row.measure()
        except NotMeasured as error:
            cells = not_measured(head, f"not measured: {error}")
        except Exception as error:  # the log has all of it
            print(f"\n{row.name}:", file=sys.stderr)
            traceback.print_exc()
            cells = not_measured(head, words_of(error))
        write({"row": (row.name, *cells)})
        if not answers():
            return False
    return True


def not_measured(head: tuple[str, ...], why: str) -> tuple[str, ...]:
    return (*["-"] * (len(head) - 2), " ".join(why.split())[:300])


def words_of(error: BaseException) -> str:
    """Return what went wrong; of an import that failed inside another, the innermost."""
    while isinstance(error, ImportError) and error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def without(rows: list[Row], write: Callable[[dict[str, Any]], None]) -> list[Row]:
    """Return the rows that can be measured here; for the others, write what they lack."""
    kept, lost = [], defaultdict(list)
    for row in rows:
        lacks = tuple(name for name in row.needs if find_spec(name) is None)
        if lacks:
            lost[lacks].append(row.name)
        else:
            kept.append(row)
    for lacks, names in lost.items():
        write({"note": f"Left out, {' and '.join(lacks)} not installed: {'; '.join(names)}."})
    return kept


def answers() -> bool:
    """Return whether the GPU still answers: some CUDA errors persist for the rest of the process."""
    import torch

    try:
        torch.cuda.synchronize()
    except Exception:
        traceback.print_exc()
        return False
    return True


def machine() -> dict[str, Any]:
    """Return the hardware and packages: why there is no GPU, or which; what is missing, and what is left out for it."""
    import card

    from finetop.core.features.doctor.checks import gpus as gpu_facts
    from finetop.core.runtime import gpus, torch_fits

    seen = gpus.read_once()
    fit = [gpu for gpu in seen.gpus if not gpu.fault]
    facts = []
    if seen.gpus:
        facts.append(f"GPUs: {gpu_facts.gpu_summary(seen)}.")
    facts += [f"torch: {found.text}. {found.fix}" for found in torch_fits.misfits(seen, fit)] if fit else []
    result: dict[str, Any] = {"why_none": card.why_none(), "device": fit[0].uuid if fit else ""}
    if not result["why_none"]:
        facts.append(card_words())
    result["facts"] = [*facts, *packages()]
    result["missing"] = missing(has_driver=bool(seen.gpus))
    return result


def card_words() -> str:
    """Describe the GPU being measured: its name, memory, capability, number formats, kinds of attention."""
    import card
    import torch

    properties = torch.cuda.get_device_properties(0)
    major, minor = torch.cuda.get_device_capability(0)
    kinds = {
        "flash": torch.backends.cuda.flash_sdp_enabled(),
        "memory-efficient": torch.backends.cuda.mem_efficient_sdp_enabled(),
        "cuDNN": torch.backends.cuda.cudnn_sdp_enabled(),
        "flash-attn": find_spec("flash_attn") is not None,
    }
    attention = ", ".join(name for name, there in kinds.items() if there)
    return (
        f"Measured on: {properties.name}, {properties.total_memory / 1e9:.0f} GB, capability {major}.{minor}, trained"
        f" in {card.number_format()}; torch {torch.__version__}, CUDA {torch.version.cuda}; attention: {attention};"
        f" allocator: {os.environ.get('PYTORCH_CUDA_ALLOC_CONF', 'default')}."
    )


def packages() -> list[str]:
    """Return the installed versions; those that finetop was not tested with separately."""
    import tomllib

    from finetop.core.features.doctor.checks.machine import fits

    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["project"]
    there, odd = [f"Python {sys.version.split()[0]}"], []
    for name in ("torch", "triton", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes"):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        there.append(f"{name} {version}")
        wanted = next(
            (
                dependency.removeprefix(name)
                for dependency in (*project["dependencies"], *project["optional-dependencies"]["train"])
                if dependency.startswith((f"{name}>", f"{name}="))
            ),
            "",
        )
        if not fits(version, wanted):
            odd.append(f"{name} {version} (wanted {wanted})")
    lines = [", ".join(there) + "."]
    return (
        [*lines, f"finetop was not tested with {', '.join(odd)}: what fails may fail for that."]
        if odd
        else lines
    )


def missing(*, has_driver: bool) -> list[tuple[str, str]]:
    """Return what is missing, with what is left out without it."""
    from finetop.core.runtime import compiler

    names = {"pynvml": "nvidia-ml-py"}
    lacking = [(names.get(name, name), what) for name, what in WITHOUT.items() if find_spec(name) is None]
    lacking += [(name, what) for name, what in PROGRAMS.items() if shutil.which(name) is None]
    kernels = "Triton's kernels: flex, liger, torch.compile; the loss is the plain one"
    lacking += [(name, kernels) for name in compiler.missing()]
    if not has_driver:
        lacking.append(("NVIDIA's driver (NVML)", "which GPUs there are, their memory for the plan"))
    if not hub_answers():
        lacking.append(
            ("the hub (network)", "what is not in the cache; the model is made here, and is not missed")
        )
    return lacking


def hub_answers(wait_s: float = 3.0) -> bool:
    """Return whether the hub can be reached; False without a request if it is switched off."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    import socket
    from urllib.parse import urlsplit

    place = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((place.hostname or "", place.port or 443), wait_s):
            return True
    except OSError:
        return False


def make_model(work: Path) -> None:
    """Make the model that is trained, and the tiny one whose tokenizer all use."""
    from card import wide_model
    from conftest import build_tiny_model

    if not (work / "tiny").exists():
        build_tiny_model(work / "tiny")
    wide_model(work, work / "tiny", **WIDE).rename(work / "wide")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("section", choices=("machine", "model", *ROWS))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    from finetop.core.runtime import job_process

    job_process.set_environment()
    with given.into.open("a") as file:

        def write(line: dict[str, Any]) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()

        rows: list[Row] = []
        if given.section in ROWS:
            bench = Bench(given.work, given.model or given.work / "wide")
            rows = without([*ROWS[given.section](bench)], (lambda _: None) if given.skip else write)
            if not rows:
                write({"done": True})
                return 0
        if IS_PRETENDED:
            import pretended_gpu

            pretended_gpu.install()
        if given.section == "machine":
            write(machine())
        elif given.section == "model":
            make_model(given.work)
        else:
            job_process.silence_libraries()
            if not measure(given.section, rows, given.skip, write):
                return 1
        write({"done": True})
    return 0


if __name__ == "__main__":
    sys.path[:0] = [str(TESTS), *(str(TESTS / name) for name in ("rig", "faults", "bench"))]
    sys.exit(main())
