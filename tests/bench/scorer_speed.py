"""What the scorer costs beside the harness's own model, in CPU seconds of this process, medians of interleaved rounds.

    python tests/bench/scorer_speed.py [--home FOLDER] [--threads 2] [--rounds 3] [--items 20] [--only zero]

SmolLM2-135M-Instruct in float32, found (or downloaded) as a run finds it. Ours is called as a check calls it, with
about ten items at a time and a memory of shared prefixes that is empty when a round begins; the harness's model gets
all requests at once, in the fastest batch size of 1, 4, 8 and 16. With FINETOP_TEST_DATA the items are of arc_easy
(zero-shot, contexts of 52 to 80 tokens) and of mmlu (5-shot, --items of each of the two subjects whose examples are
closest to the mean length), else made up in such lengths. Targets: zero-shot 3.9 times, 5-shot 8 times. The last column
is how many times more tokens the harness's model reads, which bounds what sharing can save (except for the head, which
ours runs at fewer places).
"""

from __future__ import annotations

import logging
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench

if TYPE_CHECKING:
    from collections.abc import Callable

CELL = 10  # items that a check scores together
BATCH_SIZES = (1, 4, 8, 16)
WORDS = [
    "the", "of", "water", "river", "light", "small", "how", "energy", "plant", "because", "cell", "heat", "moves",
]  # fmt: skip
TARGETS = {"zero-shot, 4 choices": 3.9, "5-shot, 4 letters": 8.0, "5-shot, 4 texts": 8.0}


@dataclass(frozen=True)
class Item:
    """One question: its context, and each choice as it continues it."""

    context: str
    choices: tuple[str, ...]


def _rows(name: str) -> list[dict[str, Any]] | None:
    folder = os.environ.get("FINETOP_TEST_DATA")
    if not folder:
        return None
    return bench.read_rows(Path(folder) / name)


def _words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(count))


def zero_shot(tokenizer: Any, items: int) -> list[Item]:
    """Return questions with contexts of about 64 tokens and four choices of a few tokens each."""
    rows = _rows("arc_easy/open.jsonl")
    if rows is None:
        return made_up(items)
    questions = [
        Item(f"Question: {row['question']}\nAnswer:", tuple(" " + t for t in row["choices"]["text"]))
        for row in rows
    ]
    fitting = [
        item
        for item in questions
        if 52 <= len(tokenizer.encode(item.context)) <= 80 and len(item.choices) == 4
    ]
    return fitting[:items]


def made_up(items: int) -> list[Item]:
    """Return questions of random words, in such lengths."""
    rng = random.Random(1)
    return [
        Item(f"Question: {_words(rng, 58)}?\nAnswer:", tuple(" " + _words(rng, 5) for _ in range(4)))
        for _ in range(items)
    ]


def five_shot(tokenizer: Any, items: int, *, letters: bool) -> list[Item]:
    """Return questions of two subjects after five examples each (of mean length among all subjects).

    They are answered by a letter, whose four scores the harness's model takes from one pass, or by the choice's text.
    """
    open_rows, shots = _rows("mmlu/open.jsonl"), _rows("mmlu/dev.jsonl")
    if open_rows is None or shots is None:
        rng = random.Random(2)
        shots = [_made_up(rng, subject) for subject in ("rivers", "plants") for _ in range(5)]
        open_rows = [_made_up(rng, subject) for subject in ("rivers", "plants") for _ in range(items)]
    questions: list[Item] = []
    heads = {subject: _head(subject, shots) for subject in dict.fromkeys(row["subject"] for row in open_rows)}
    lengths = {subject: len(tokenizer.encode(head)) for subject, head in heads.items()}
    mean = statistics.mean(lengths.values())
    for subject in sorted(heads, key=lambda subject: abs(lengths[subject] - mean))[:2]:
        chosen_rows = [row for row in open_rows if row["subject"] == subject][: items // 2]
        for row in chosen_rows:
            choices = "ABCD" if letters else row["choices"]
            question = _prompt_of(row) if letters else f"{row['question'].strip()}\nAnswer:"
            questions.append(Item(heads[subject] + question, tuple(f" {text}" for text in choices)))
    return questions


def _head(subject: str, shots: list[dict[str, Any]]) -> str:
    """Return the examples of a subject, as they precede each of its questions."""
    examples = (
        f"{_prompt_of(row)} {'ABCD'[row['answer']]}\n\n" for row in shots if row["subject"] == subject
    )
    return (
        f"The following are multiple choice questions (with answers) about {subject}.\n\n{''.join(examples)}"
    )


def _made_up(rng: random.Random, subject: str) -> dict[str, Any]:
    return {
        "subject": subject,
        "question": _words(rng, 50) + "?",
        "choices": [_words(rng, 8) for _ in range(4)],
        "answer": rng.randrange(4),
    }


def _prompt_of(row: dict[str, Any]) -> str:
    choices = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", row["choices"], strict=True))
    return f"{row['question'].strip()}\n{choices}\nAnswer:"


def ours(model: Any, tokenizer: Any, items: list[Item]) -> list[float]:
    """Score as a check does."""
    from finetop.core.check.scoring.prefix_cache import PrefixMemory, find, room_for
    from finetop.core.check.scoring.scorer import encode_pair, plan_for, score

    encoded = [[encode_pair(tokenizer, item.context, text, 8192) for text in item.choices] for item in items]
    device = str(model.device)
    memory = PrefixMemory(find(encoded), room_for(device))
    log_probs: list[float] = []
    for at in range(0, len(encoded), CELL):
        cell = [sequence for item in encoded[at : at + CELL] for sequence in item]
        log_probs += [result.log_prob for result in score(model, cell, plan_for(device), memory)]
    return log_probs


def stock(model: Any, tokenizer: Any, items: list[Item], batch_size: int) -> list[float]:
    """Score with the harness's own model."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
    requests = [
        Instance("loglikelihood", {}, (item.context, text), 0) for item in items for text in item.choices
    ]
    return [log_prob for log_prob, _ in harness.loglikelihood(requests, disable_tqdm=True)]


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU seconds that work takes in this process, over all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def tokens_read(model: Any, work: Callable[[], object]) -> int:
    """Return the tokens, padding included, that the model's layers read during the work."""
    counted: list[int] = []

    def count(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
        counted.append((kwargs.get("input_ids") if "input_ids" in kwargs else args[0]).numel())

    hook = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        work()
    finally:
        hook.remove()
    return sum(counted)


def compare(name: str, model: Any, tokenizer: Any, items: list[Item], rounds: int) -> None:
    """Print one line: CPU seconds per hundred items, and how many times ours is faster."""
    few = items[:: max(1, len(items) // 4)][:4]
    costs = {size: cpu_s(lambda size=size: stock(model, tokenizer, few, size)) for size in BATCH_SIZES}
    best = min(costs, key=lambda size: costs[size])
    apart = max(
        abs(a - b)
        for a, b in zip(ours(model, tokenizer, few), stock(model, tokenizer, few, best), strict=True)
    )
    pairs = [
        (cpu_s(lambda: ours(model, tokenizer, items)), cpu_s(lambda: stock(model, tokenizer, items, best)))
        for _ in range(rounds)
    ]
    mine, theirs = bench.medians(pairs)
    ratio = statistics.median(pair[1] / pair[0] for pair in pairs)
    each = 100 / len(items)
    work = [
        tokens_read(model, lambda: ours(model, tokenizer, items)),
        tokens_read(model, lambda: stock(model, tokenizer, items, best)),
    ]
    print(
        f"{name:22} {len(items):5} {mine * each:12.1f} {theirs * each:13.1f} {best:6} {ratio:7.2f}x "
        f"{TARGETS[name]:6.1f}x {apart:10.1e} {work[1] / work[0]:8.2f}x",
        flush=True,
    )


def main() -> int:
    given = bench.options(
        __doc__, home=Path, threads=2, rounds=3, items=20, only={"choices": ["zero", "letters", "texts"]},
        dtype={"default": "float32", "choices": ["float32", "bfloat16"]},
    )  # fmt: skip

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as aside:
        folder = _demo_model(given.home or Path(aside))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, given.dtype)).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
    print(f"{given.dtype}, {given.threads} threads, {bench.load()}, rounds {given.rounds}")
    heads = ("", "items", "ours s/100", "stock s/100", "batch", "ratio", "goal", "nats", "tokens")
    widths = (22, 5, 12, 13, 6, 8, 7, 10, 9)
    print(" ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    if given.only in (None, "zero"):
        compare("zero-shot, 4 choices", model, tokenizer, zero_shot(tokenizer, given.items), given.rounds)
    if given.only in (None, "letters"):
        letters = five_shot(tokenizer, 2 * given.items, letters=True)
        compare("5-shot, 4 letters", model, tokenizer, letters, given.rounds)
    if given.only in (None, "texts"):
        texts = five_shot(tokenizer, max(2, given.items // 2), letters=False)
        compare("5-shot, 4 texts", model, tokenizer, texts, given.rounds)
    return 0


def _demo_model(root: Path) -> Path:
    from finetop.core.models import demo_model
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home, prepare

    home = Home(root)
    prepare(home)
    folder, _, _ = demo_model.find(None, home, EventLog(root / "scorer_speed.events"))
    return folder


if __name__ == "__main__":
    sys.exit(main())
