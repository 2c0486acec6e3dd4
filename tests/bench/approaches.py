"""Two tasks, every approach, by the real commands: facts that the base can't know (kb_contoso), a format (json_mode).

    python tests/bench/approaches.py --data FOLDER --model FOLDER --home FOLDER [--only kb json] [--seeds 3]

Each task is one `finetop approaches RECIPE --wait` on a recipe that is written beside the home, --jobs at a time.
Results in --home are reused: an interrupted run of this script continues. Two of the 20 products of kb_contoso are held
back, with documents, rows and questions; they arrive when everything is set up (approaches.update). A retrained
approach gets their rows, and their documents as rows too. Steps and rows are few, so that one training takes a minute
or two of one CPU core: this does not measure what longer training could reach.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import bench

HELD_BACK = ("Summit Breeze Jacket", "BaseCamp Folding Table")  # with 20 of the 103 questions
# characters of an answer, about 460 and 360 tokens: none is cut
LONGEST_JSON = {"train": 1600, "valid": 1250}

COMMON = """recipe: 1
extends: lora
name: {name}
model: {{id: "{model}"}}
samples: {{count: 0}}
drift: {{every: null}}
train: {{epochs: 50, max_steps: {steps}, batch_size: 4, grad_accumulation: 1, learning_rate: {rate}, warmup_steps: 0.1,
  save_every: 1.0, eval_every: 1.0, resumable: false}}
"""
KB = """data: {train: [{path: train.jsonl}], eval: {share: 0}, max_tokens: 1024, on_long: truncate}
ask: {system: Answer in as few words as you can., shots: 4, pick: nearest,
  documents: [docs.jsonl], top_k: 2, chunk_words: 120, overlap_words: 20}
check:
  target: {path: test.jsonl, metric: [token_f1, nats_per_token], written: 40, max_new_tokens: 32}
approaches:
  only: [prompt, few-shot, retrieval, lora, full, retrieval-lora, from-scratch]
  settings:
    full: {train.learning_rate: 3e-4}
    retrieval-lora: {train.max_steps: 18}
    from-scratch: {train.max_steps: 24, train.batch_size: 2, data.max_tokens: 256}
  update: {documents: [new_docs.jsonl], train: [{path: new_train.jsonl}], test: new_test.jsonl}
"""
JSON = """data: {train: [{path: train.jsonl}], eval: {share: 0}, max_tokens: 512, on_long: drop}
ask: {system: Answer with one JSON object and nothing else., shots: 2}
check:
  target: {path: test.jsonl, metric: [rules, nats_per_token], rules: [{rule: json_object, value: []}],
    written: 32, max_new_tokens: 420}
approaches:
  only: [prompt, few-shot, retrieval, lora, full, from-scratch]
  settings:
    full: {train.learning_rate: 3e-4}
    from-scratch: {train.max_steps: 24, train.batch_size: 2, data.max_tokens: 256}
"""


def main() -> int:
    args = bench.options(
        __doc__,
        data=({"type": Path, "required": True}, "the folder that holds kb_contoso and json_mode"),
        model={"type": Path, "required": True},
        home={"type": Path, "required": True},
        only={"nargs": "*", "default": ["kb", "json"], "choices": ("kb", "json")},
        seeds=3,
        jobs=(2, "how many at a time, on a CPU"),
    )
    args.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = f"settings: 1\nslots: {{cpu_jobs: {args.jobs}}}\nretry: {{times: 2, wait_s: 5}}\n"
    (args.home / "settings.yaml").write_text(settings)
    print(
        f"{os.cpu_count()} CPU cores, {bench.load()}, {os.environ.get('OMP_NUM_THREADS', 'all')} threads a job"
    )
    code = 0
    for name in args.only:
        folder = args.home.parent / f"{args.home.name}-{name}"
        folder.mkdir(exist_ok=True)
        recipe = {"kb": kb, "json": json_mode}[name](args.data, args.model, folder)
        began = time.monotonic()
        words = ["--home", str(args.home), "approaches", str(recipe), "--seeds", str(args.seeds), "--wait"]
        code |= subprocess.run([*bench.APP, *words], check=False).returncode
        print(f"{name}: {time.monotonic() - began:.0f} s\n", flush=True)
        process = subprocess.run(
            [*bench.APP, "--home", str(args.home), "approaches", recipe.stem, "--json"],
            check=False,
            capture_output=True,
        )
        (folder / "result.json").write_bytes(process.stdout)
    return code


def kb(data: Path, model: Path, folder: Path) -> Path:
    """Set up facts about 18 products; two more arrive afterwards."""
    source = data / "kb_contoso"
    documents, train, test = (
        bench.read_rows(source / name) for name in ("kb.jsonl", "qa_train.jsonl", "qa_test.jsonl")
    )

    def split(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return [row for row in rows if row["product"] not in HELD_BACK], [
            row for row in rows if row["product"] in HELD_BACK
        ]

    known, new = split(documents)
    bench.write_rows(folder / "docs.jsonl", [{"text": row["text"]} for row in known])
    bench.write_rows(folder / "new_docs.jsonl", [{"text": row["text"]} for row in new])
    known_rows, new_rows = split(train)
    bench.write_rows(folder / "train.jsonl", turns(known_rows))
    as_rows = [
        {"messages": [
            {"role": "user", "content": f"What is known of the {row['product']}: {row['category']}?"},
            {"role": "assistant", "content": row["text"]},
        ]}
        for row in new
    ]  # fmt: skip
    bench.write_rows(folder / "new_train.jsonl", [*turns(new_rows), *as_rows])
    known_test, new_test = split(test)
    bench.write_rows(folder / "test.jsonl", turns(spread(known_test)))
    bench.write_rows(folder / "new_test.jsonl", turns(new_test))
    recipe = folder / "kb.yaml"
    recipe.write_text(COMMON.format(name="kb", model=model, steps=70, rate="3e-4") + KB)
    print(
        f"kb_contoso: {len(known_rows)} rows to learn, {len(known)} documents, {len(known_test)} questions;"
    )
    print(
        f"  held back: {len(new)} documents, {len(new_rows)} rows, {len(new_test)} questions of {', '.join(HELD_BACK)}"
    )
    return recipe


def json_mode(data: Path, model: Path, folder: Path) -> Path:
    """Set up a format: every answer is one JSON object. Only answers short enough to be written in full."""
    source = data / "json_mode"
    train, test = (
        [
            row
            for row in bench.read_rows(source / f"{name}.jsonl")
            if len(row["messages"][-1]["content"]) <= longest
        ]
        for name, longest in LONGEST_JSON.items()
    )
    bench.write_rows(folder / "train.jsonl", turns(train))
    bench.write_rows(folder / "test.jsonl", turns(test))
    recipe = folder / "json.yaml"
    recipe.write_text(COMMON.format(name="json", model=model, steps=60, rate="1e-3") + JSON)
    print(f"json_mode: {len(train)} rows to learn, {len(test)} questions")
    return recipe


def turns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"messages": row["messages"]} for row in rows]


def spread(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put every second row first: the first ones get written answers, and should cover all products."""
    return [*rows[::2], *rows[1::2]]


if __name__ == "__main__":
    raise SystemExit(main())
