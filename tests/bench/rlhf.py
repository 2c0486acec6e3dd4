"""RLHF on the real small model: a reward model from pairs, then PPO, RLOO and GRPO against it from the same start.

    FINETOP_TEST_DATA=DATA OMP_NUM_THREADS=2 python tests/bench/rlhf.py --model FOLDER [--answers 384] [--home HOME]

The pairs are those of dpo_en_demo; of a prompt the last --prompt-words words are used, of answers the first --words,
which is as much as the policy writes here (--new-tokens). Some are held out to measure the reward model's accuracy; it
sees the others one and a half times. The policy's prompts are the shortest of all of these. Each of the four is a run
as users start it: a built-in recipe with a few settings, trained by `python -m finetop.core.run_job JOB`. PPO, RLOO and
GRPO write the same number of answers. Prints reward and divergence of each rollout, and whether the reward of its last
quarter exceeds that of PPO's first rollout by a deviation of the rewards then, with less than 10 nats per answer. Exit
0 if so, 1 if not. With --home, an existing reward model is reused.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import bench

from finetop.core.data import formats
from finetop.core.protocol.events import Ended, Metrics
from finetop.core.recipe.load import load_recipe
from finetop.core.runtime.home import Home, prepare

# Without the model's own system turn, which precedes every prompt: 20 tokens of 60.
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
KINDS: tuple[formats.Kind, ...] = ("preference",)


def main() -> int:
    """Train the four, print their results, and judge."""
    args = bench.options(
        __doc__, model={"required": True, "type": Path},
        home=(Path, "keep runs here; else they are gone at the end"), objectives="ppo,rloo,grpo",
        answers=(384, "that each objective has written"), new_tokens=20, prompts=32, prompt_words=32, words=16,
        pairs=200, held_out=72, dtype="float32",
        **{f"{name}_set": ([], f"laid over the {name} recipe") for name in ("reward", "ppo", "rloo", "grpo")},
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="rlhf-") as folder:
        return measure(args, (args.home or Path(folder)).resolve())


def measure(args: argparse.Namespace, root: Path) -> int:
    """Run all of it in one home folder."""
    home = Home(root)
    prepare(home)
    pairs, held_out, prompts = write_data(args, root)
    (root / "template.jinja").write_text(TEMPLATE)
    common = [
        f"model.id={args.model.resolve()}",
        f"model.chat_template={root / 'template.jinja'}",
        f"model.dtype={args.dtype}",
        "train.epochs=null",
    ]
    judge = reward_model(
        args, home, [*common, f"data.train=[{{path: {pairs}}}]", f"data.eval=[{{path: {held_out}}}]"]
    )
    writing = [
        *common, f"data.train=[{{path: {prompts}}}]", "data.eval={share: 0}",
        f"objective.reward={{model: {judge}}}", f"objective.max_new_tokens={args.new_tokens}", "samples.count=3",
        f"samples.max_new_tokens={args.new_tokens}", "train.eval_every=1.0", "train.save_every=1.0",
        "train.schedule=constant", "train.warmup_steps=0", "check={at_end: false, general: null}",
        "drift.every=null",
    ]  # fmt: skip
    is_good, start = True, None
    for name in args.objectives.split(","):
        steps, seconds = run(home, name, [*writing, *settings(name, args)])
        rolled = [values for values in steps if "reward" in values]
        start = start or (rolled[0]["reward"], rolled[0]["reward_deviation"])
        is_good &= report(name, rolled, seconds, args.answers, start) or name != "ppo"
    return 0 if is_good else 1


def settings(name: str, args: argparse.Namespace) -> list[str]:
    """Return the settings: for ppo rollouts of 64 answers, two passes of four steps each; else steps of 16 answers."""
    if name == "ppo":
        sizes = [
            "train.batch_size=16",
            "train.grad_accumulation=1",
            f"train.max_steps={args.answers // 64 * 8}",
        ]
        own = ["objective.minibatches=4", "objective.passes=2", "train.learning_rate=7e-4"]
    else:
        sizes = ["train.batch_size=16", "train.grad_accumulation=1", f"train.max_steps={args.answers // 16}"]
        own = ["objective.generations=4", "train.learning_rate=1e-3"]
    return [*sizes, *own, *getattr(args, f"{name}_set")]


def write_data(args: argparse.Namespace, root: Path) -> tuple[Path, Path, Path]:
    """Write the short pairs, the held-out ones, and the policy's prompts."""
    from transformers import AutoTokenizer

    from finetop.core.data.render import prompt_ids

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    tokenizer.chat_template = TEMPLATE
    rows: list[tuple[int, dict[str, Any]]] = []
    seen: set[str] = set()
    for split in ("train", "valid"):
        file = bench.data_folder() / "dpo_en_demo" / f"{split}.jsonl"
        for row in bench.read_rows(file):
            pair: Any = formats.read(row, file.name, "auto", KINDS)
            chosen, rejected = (" ".join(text.split()[: args.words]) for text in (pair.chosen, pair.rejected))
            prompt = " ".join(pair.prompt[-1].content.split()[-args.prompt_words :])
            if chosen != rejected and prompt not in seen:
                seen.add(prompt)
                length = len(prompt_ids((formats.Message("user", prompt),), tokenizer, file.name))
                rows.append((length, {"prompt": prompt, "chosen": chosen, "rejected": rejected}))
    short = sorted(rows, key=lambda row: row[0])[: args.prompts]
    aside = set(random.Random(0).sample(range(len(rows)), args.held_out))
    parts = {
        "pairs": [row for at, (_, row) in enumerate(rows) if at not in aside][: args.pairs],
        "held_out": [row for at, (_, row) in enumerate(rows) if at in aside],
        "prompts": [{"prompt": row["prompt"]} for _, row in short],
    }
    for name, some in parts.items():
        bench.write_rows(root / f"{name}.jsonl", some)
    print(
        f"{len(parts['pairs'])} pairs to learn from, {len(parts['held_out'])} held out, {len(short)} prompts of "
        f"{short[0][0]} to {short[-1][0]} tokens",
        flush=True,
    )
    return root / "pairs.jsonl", root / "held_out.jsonl", root / "prompts.jsonl"


def reward_model(args: argparse.Namespace, home: Home, sets: list[str]) -> Path:
    """Train the reward model, or reuse it, and print its accuracy on held-out pairs."""
    there = sorted(home.runs.glob("0001-reward/checkpoints/step-*"))
    if there:
        return there[-1]
    sized = [
        "data.max_tokens=256", "data.on_long=drop", "train.batch_size=4", "train.eval_batch_size=8",
        "train.grad_accumulation=1", f"train.max_steps={args.pairs * 3 // 8}", "train.eval_every=1.0",
        "train.save_every=1.0", "train.learning_rate=3e-4",
    ]  # fmt: skip
    steps, seconds = run(home, "reward", [*sets, *sized, *args.reward_set])
    accuracy = [values["eval_reward_accuracy"] for values in steps if "eval_reward_accuracy" in values]
    loss = [values["loss"] for values in steps if "loss" in values]
    print(
        f"reward model: {seconds:.0f} s, loss {loss[0]:.3f} -> {statistics.mean(loss[-8:]):.3f}, held-out accuracy "
        + ", ".join(f"{share:.3f}" for share in accuracy),
        flush=True,
    )
    return sorted(home.runs.glob("0001-reward/checkpoints/step-*"))[-1]


def run(home: Home, name: str, sets: list[str]) -> tuple[list[dict[str, Any]], float]:
    """Train by a built-in recipe; return each step's metrics, and seconds. Raises RuntimeError with the log's end."""
    loaded = load_recipe(name, sets)
    number = 1 + len(list(home.runs.iterdir()))
    job = bench.write_job(home, f"{number:04d}-{name}", loaded.resolved)
    began = time.monotonic()
    bench.run_job(job)
    took = time.monotonic() - began
    if [event.status for event in bench.read_events(job, Ended)] != ["finished"]:
        raise RuntimeError(f"{name} failed\n{(job / 'log.txt').read_text()[-3000:]}")
    return [event.values for event in bench.read_events(job, Metrics)], took


def report(
    name: str, rolled: list[dict[str, Any]], seconds: float, answers: int, start: tuple[float, float]
) -> bool:
    """Print a run's rollouts, and judge it by the starting answers' rewards: their mean and deviation."""
    each = answers // len(rolled)
    print(f"\n{name}: {len(rolled)} rollouts of {each} answers, {seconds:.0f} s")
    print(
        f"{'answers':>8} {'tokens':>8} {'reward':>8} {'sd':>6} {'nats/answer':>12} {'entropy':>8} {'length':>7}"
    )
    tokens = 0.0
    for number, values in enumerate(rolled, start=1):
        tokens += each * values["response_tokens"]
        print(
            f"{number * each:>8} {tokens:>8.0f} {values['reward']:>8.3f} {values['reward_deviation']:>6.3f} "
            f"{values['answer_kl']:>12.3f} {values['entropy']:>8.3f} {values['response_tokens']:>7.1f}"
        )
    last = rolled[-max(1, len(rolled) // 4) :]
    end = statistics.mean(values["reward"] for values in last)
    nats = statistics.mean(values["answer_kl"] for values in last)
    mean, deviation = start
    is_good = bool(end - mean >= deviation and nats < 10)
    print(
        f"{name}: reward {mean:.3f} -> {end:.3f}: {(end - mean) / deviation:+.2f} deviations of the start's "
        f"({deviation:.3f}), {nats:.2f} nats an answer: {'reached' if is_good else 'NOT reached'}",
        flush=True,
    )
    return is_good


if __name__ == "__main__":
    raise SystemExit(main())
