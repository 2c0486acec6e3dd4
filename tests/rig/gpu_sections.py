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
HEAD = ("run", "tokens/s", "peak GB", "plan GB", "asked for GB", "loss", "whole run")
TRL = ("trl", "datasets")  # needed by all training except ppo's
SLOW_METHODS = ("osf", "boft")  # full SVDs of all weights; a CUDA extension that is built first
LARGE: dict[str, Any] = {  # the shape of Llama-3.1-8B
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "rope_theta": 5e5,
}  # fmt: skip
SMALL = {**LARGE, "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
LARGE_STEPS, SHARD_BYTES = 8, 4e9
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

    def train(self, recipe: Any, late: int = LATE) -> tuple[str, ...]:
        """Train in this process, and read the run's events."""
        from finetop.core.protocol import events
        from finetop.core.runtime.event_log import EventLog
        from finetop.core.runtime.home import Home
        from finetop.core.runtime.stop_signal import Stop
        from finetop.core.train import train

        run = self.run_folder()
        plan = self.plan(recipe, run)
        forget_peak()
        began = time.monotonic()
        log = EventLog(run / "events.jsonl")
        try:
            train.train(recipe, run, Home(self.folder / "home"), "cuda:0", log, Stop())
        finally:
            log.close()
        seconds = time.monotonic() - began
        measured = tiny_run.of(events.Metrics, tiny_run.read_events(run))
        values = [event.values for event in measured if "loss" in event.values]
        for checkpoint in (run / "checkpoints").glob("*"):
            shutil.rmtree(checkpoint)
        return Measured(
            statistics.median(step["tokens_per_s"] for step in values[late:]),
            peak_gb(),
            plan.estimate / 1e9,
            plan.need / 1e9,
            seconds,
            statistics.mean(step["loss"] for step in values[late:]),
        ).cells()


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


def trl_alone(bench: Bench, activations_again: bool) -> tuple[str, ...]:
    """Train the same rows with TRL as its documentation starts it, with the same activation checkpointing."""
    import card
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    rows = [json.loads(line) for line in (bench.folder / "answers.jsonl").read_text().splitlines()]
    held = card.number_format()
    arguments = SFTConfig(
        output_dir=str(bench.folder / "trl"), max_steps=STEPS, per_device_train_batch_size=BATCH,
        max_length=TOKENS, learning_rate=2e-5, logging_steps=1, save_strategy="no", report_to="none",
        disable_tqdm=True, gradient_checkpointing=activations_again, model_init_kwargs={"dtype": held},
        **{{"bfloat16": "bf16", "float16": "fp16"}[held]: True},
    )  # fmt: skip
    forget_peak()
    began = time.monotonic()
    trainer = SFTTrainer(
        str(bench.model), arguments, train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
    )  # fmt: skip
    if trainer.args.n_gpu > 1:
        raise NotMeasured(f"TRL takes {trainer.args.n_gpu} GPUs here, and finetop one")
    times: list[tuple[float, float]] = []
    trainer.add_callback(_clock(times))
    trainer.train()
    late = times[LATE:]
    speed = (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0])
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    seconds = time.monotonic() - began
    return Measured(speed, peak_gb(), None, None, seconds, statistics.mean(losses[LATE:])).cells()


def _clock(times: list[tuple[float, float]]) -> Any:
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            if "num_tokens" in logs:
                torch.cuda.synchronize()
                times.append((time.monotonic(), logs["num_tokens"]))

    return Clock()


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
    """A model of 8 billion random weights, made on the GPU: its memory beside the plan's estimate."""
    model_folder = bench.folder / "large"

    def trained(quantize: str) -> tuple[str, ...]:
        import torch
        from transformers import AutoTokenizer, LlamaConfig

        shape = LlamaConfig(**(SMALL if IS_PRETENDED else LARGE), tie_word_embeddings=False, dtype="bfloat16")
        shape.architectures = ["LlamaForCausalLM"]
        shape.save_pretrained(model_folder)
        AutoTokenizer.from_pretrained(bench.folder / "tiny").save_pretrained(model_folder)
        total = torch.cuda.get_device_properties(0).total_memory
        recipe = bench.recipe(
            model={"id": str(model_folder), "quantize": quantize}, train={"max_steps": LARGE_STEPS}
        )
        need = bench.plan(recipe, bench.folder).need
        if need > total:
            raise NotMeasured(f"the plan asks for {need / 1e9:.0f} GB, the GPU has {total / 1e9:.0f}")
        write_weights(shape, model_folder)
        return bench.train(recipe, late=3)

    yield Row("8B, lora", partial(trained, "none"))
    yield Row("8B, lora on nf4", partial(trained, "nf4"), (*TRL, "bitsandbytes"))


def write_weights(shape: Any, folder: Path) -> None:
    """Write random weights of a shape, a few GB at a time, unless they exist. Raises NotMeasured."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaForCausalLM

    if (folder / "model.safetensors.index.json").is_file():
        return
    with torch.device("meta"):
        meta = LlamaForCausalLM(shape).state_dict()
    whole = sum(weight.numel() * 2 for weight in meta.values())
    free = shutil.disk_usage(folder).free
    if free < 1.2 * whole:
        raise NotMeasured(f"it takes {whole / 1e9:.0f} GB of disk, and {folder} has {free / 1e9:.0f}")
    torch.manual_seed(0)
    places: dict[str, str] = {}
    shard: dict[str, Any] = {}

    def write() -> None:
        if shard:
            file = f"model-{len(set(places.values())):05d}.safetensors"
            save_file(shard, folder / file, metadata={"format": "pt"})
            places.update(dict.fromkeys(shard, file))
            shard.clear()

    for name, weight in meta.items():
        tensor = torch.empty(weight.shape, dtype=torch.bfloat16, device="cuda:0")
        tensor = tensor.fill_(1.0) if weight.dim() == 1 else tensor.normal_(0.0, 0.02)
        shard[name] = tensor.cpu()
        if sum(saved.numel() * 2 for saved in shard.values()) > SHARD_BYTES:
            write()
    write()
    index = {"metadata": {"total_size": whole}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def quick(bench: Bench) -> Iterator[Row]:
    """The time of a `quick` check of an adapter, base and tuned, with an empty cache."""

    def checked() -> tuple[str, ...]:
        from finetop.core.check import run_check
        from finetop.core.runtime.event_log import EventLog
        from finetop.core.runtime.home import Home
        from finetop.core.runtime.stop_signal import Stop
        from finetop.core.train import train

        home, run = Home(bench.folder / "home"), bench.run_folder()
        recipe = bench.recipe(check={"general": {"suite": "quick"}}, train={"max_steps": 2})
        log = EventLog(run / "events.jsonl")
        try:
            train.train(recipe, run, home, "cuda:0", log, Stop())
            forget_peak()
            began = time.monotonic()
            result = run_check.check(
                recipe, run / "checkpoints" / "step-000002", home, "cuda:0", log, run_folder=run
            )
        finally:
            log.close()
        peak = peak_gb()
        return (
            f"{time.monotonic() - began:.1f} s",
            "-" if peak is None else f"{peak:.2f}",
            str(result.verdict),
        )

    yield Row("quick, base and tuned", checked)


ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "master": master, "peers": peers, "large": large, "packing": packing, "paid": paid, "methods": methods,
    "quick": quick, "slow-methods": slow_methods,
}  # fmt: skip
HEADS = {"quick": ("check", "took", "peak GB", "verdict")}


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

    from finetop.core.commands.doctor_checks import gpus as gpu_facts
    from finetop.core.runtime import gpus

    seen = gpus.read_once()
    fit = [gpu for gpu in seen.gpus if not gpu.fault]
    facts = []
    if seen.gpus:
        facts.append(f"GPUs: {gpu_facts.gpu_summary(seen)}.")
    facts += [f"{fact.title}: {fact.text}" for fact in gpu_facts.torch_fits(seen)] if seen.gpus else []
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

    from finetop.core.commands.doctor_checks.machine import fits

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
                for dependency in project["dependencies"]
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
    sys.path[:0] = [str(TESTS), str(TESTS / "rig"), str(TESTS / "faults")]
    sys.exit(main())
