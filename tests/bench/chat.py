"""A chat beside plain transformers: time to the first token, tokens/s of both sides, memory of an adapter's chat.

    OMP_NUM_THREADS=1 python tests/bench/chat.py --model FOLDER [--tokens 64] [--rounds 5]

All in one run, in turns: the same prompts greedily with `generate` of transformers and PEFT, and by the chat job's own
code with its transcript. CPU seconds count what this process used, whatever else ran; the load is printed. Memory is
the peak of a process of its own for each case: one model, an adapter's chat, a whole model's chat.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import bench

PROMPTS = (
    "What is the capital of France?",
    "Explain in three sentences why the sky is blue.",
    "Name ten animals.",
)
ADAPTER, WHOLE = "checkpoints/step-000001", "checkpoints/step-000002"
FOLDER = "runs/0001-bench"


def main() -> None:
    args = bench.options(
        __doc__, model={"type": Path, "required": True}, tokens=64, rounds=5, home=Path,
        memory={"choices": ("model", "adapter", "whole")},
    )  # fmt: skip
    if args.memory:
        print(json.dumps(memory_of(args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        make_run(home, args.model)
        load = bench.load()
        speeds(home, args)
        for case in ("model", "adapter", "whole"):
            told = json.loads(bench.again("--model", args.model, "--home", home, "--memory", case))
            print(
                f"memory, {case:8} peak {told['peak_mib']:7,.0f} MiB, of which libraries {told['before_mib']:,.0f}"
            )
        print(f"{os.cpu_count()} cores, {load} before")


def make_run(home: Path, model: Path) -> None:
    """Make a home with one run of the model: an adapter of random numbers, and a whole checkpoint."""
    import torch
    from peft import LoraConfig, get_peft_model
    from tiny_run import recipe_text
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from finetop.core.recipe.load import resolve_text
    from finetop.core.runtime.home import Home, prepare

    prepare(Home(home))
    rows = home / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    layers = ({"train": {"max_steps": 1}}, {"model": {"dtype": "bfloat16"}})
    recipe = resolve_text(recipe_text(model, rows, *layers)).resolved
    (home / FOLDER).mkdir(parents=True)
    (home / FOLDER / "run.json").write_text(json.dumps({"recipe": recipe}))
    tokenizer = AutoTokenizer.from_pretrained(model)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    base.save_pretrained(home / FOLDER / WHOLE)
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):
        adapted = get_peft_model(base, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=1e-3)
    adapted.save_pretrained(home / FOLDER / ADAPTER)
    for name in (ADAPTER, WHOLE):
        tokenizer.save_pretrained(home / FOLDER / name)


def chat_of(home: Path, checkpoint: str) -> tuple[Any, list[Any], Path]:
    """Open a chat of the base and a checkpoint, as the job does."""
    from finetop.core.features.chat import transcript as files
    from finetop.core.features.chat.job import Asks, Chat, open_sides
    from finetop.core.features.chat.messages import ChatSide
    from finetop.core.protocol.runs import JobSpec
    from finetop.core.recipe.job import Job
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.stop_signal import Stop

    folder = home / FOLDER / "jobs" / f"{time.time_ns()}-chat"
    folder.mkdir(parents=True)
    recipe = json.loads((home / FOLDER / "run.json").read_bytes())["recipe"]
    sides = [
        files.Side(ChatSide("base", "base"), files.Place(FOLDER)),
        files.Side(ChatSide("tuned", "checkpoint"), files.Place(FOLDER, checkpoint)),
    ]
    spec = JobSpec(1, 1, 1, "bench", "chat", recipe, {"sides": [side.plain for side in sides]})
    job = Job(spec, folder, EventLog(folder / "events.jsonl"), Stop())
    transcript = files.Transcript(folder)
    _, writers = open_sides(job, sides, lambda *_: None)
    return Chat(writers, transcript, Asks(job, transcript)), writers, folder


def speeds(home: Path, args: argparse.Namespace) -> None:
    """Print time to the first token and tokens/s of both sides, here and with plain transformers, in turns."""
    import torch

    from finetop.core.features.chat import transcript as files
    from finetop.core.features.chat.messages import ChatSettings
    from finetop.core.features.chat.transcript import Prompt

    chat, writers, folder = chat_of(home, ADAPTER)
    model, tokenizer = writers[1].model, writers[1].tokenizer
    seen: dict[str, list[tuple[float, float, float]]] = {}
    number = same = 0
    for round_ in range(args.rounds + 1):  # the first only warms up
        for text in PROMPTS:
            plain = []
            for side in ("base", "tuned"):
                ids = tokenizer.apply_chat_template(
                    [{"role": "user", "content": text}],
                    add_generation_prompt=True,
                    return_tensors="pt",
                    return_dict=True,
                )
                first: list[float] = []

                def note(ids: Any, scores: Any, first: list[float] = first, **_: Any) -> Any:
                    first.append(time.monotonic())
                    return torch.zeros(1, dtype=torch.bool)

                began, used = time.monotonic(), time.process_time()
                how = {"do_sample": False, "max_new_tokens": args.tokens, "stopping_criteria": [note]}
                with model.disable_adapter() if side == "base" else nullcontext():
                    written = model.generate(**ids.to(model.device), **how)
                new = written[0, ids["input_ids"].shape[1] :].tolist()
                took = (
                    first[0] - began,
                    len(new) / (time.monotonic() - began),
                    (time.process_time() - used) / len(new),
                )
                if round_:
                    seen.setdefault(f"transformers {side}", []).append(took)
                plain.append(tokenizer.decode(new, skip_special_tokens=True))
            for side in (0, 1):
                number += 1
                used = time.process_time()
                settings = ChatSettings(max_new_tokens=args.tokens)
                chat.answer(Prompt(number, text, settings, fresh=True, sides=[side]))
                used = time.process_time() - used
                lines = [line for line in files.all_answers(folder) if line.number == number]
                end = lines[-1]
                if round_:
                    took = (end.first_s, end.tokens / end.took_s, used / end.tokens)
                    seen.setdefault(f"chat {('base', 'tuned')[side]}", []).append(took)
                    same += "".join(line.text for line in lines if line.kind == "text") == plain[side]
    for name, took in sorted(seen.items()):
        first_s, rate, cpu_s = bench.medians(took)
        print(
            f"{name:20} first token {1000 * first_s:6.0f} ms, {rate:6.1f} tokens/s, {1000 * cpu_s:6.1f} ms CPU a token"
        )
    print(f"answers equal to transformers': {same} of {2 * len(PROMPTS) * args.rounds}")


def memory_of(args: argparse.Namespace) -> dict[str, float]:
    """Return the peak memory of this process for one case: answers of 8 tokens by all sides."""
    from finetop.core.features.chat.messages import ChatSettings
    from finetop.core.features.chat.transcript import Prompt
    from finetop.core.models import devices, load
    from finetop.core.models.resolved import ResolvedModel

    devices.import_libraries("transformers.models.llama.modeling_llama")

    before = bench.memory_mb("self", "VmHWM")
    if args.memory == "model":
        base = ResolvedModel(
            id="base", path=args.model, hub_id=None, revision=None, source="", weights_hash="",
            trust_remote_code=False, chat_template=None, quantize="none",
        )  # fmt: skip
        model: Any = load.load_model(base, load.torch_dtype("bfloat16", "cpu"), "cpu")[0]
        tokenizer = load.load_tokenizer(base)
        model.generate(**tokenizer(PROMPTS[0], return_tensors="pt"), max_new_tokens=8)
    else:
        chat, _, _ = chat_of(args.home, ADAPTER if args.memory == "adapter" else WHOLE)
        chat.answer(Prompt(1, PROMPTS[0], ChatSettings(max_new_tokens=8)))
    return {"before_mib": before, "peak_mib": bench.memory_mb("self", "VmHWM")}


if __name__ == "__main__":
    main()
