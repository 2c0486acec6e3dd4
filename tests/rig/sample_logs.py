"""Writes sample logs in the shapes of lm-evaluation-harness 0.4.3 to 0.4.13, as its EvaluationTracker does.

0.4.3: no `filter`, no `metrics`, the raw target. 0.4.5: the target as text. From 0.4.7: both present.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

DATE = "2026-11-24T18-43-34.123456"
Row = dict[str, Any]


def sha(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def choice_row(
    number: int,
    right: bool,
    *,
    version: str = "0.4.13",
    prompt: str = "",
    choices: tuple[str, ...] = (),
    target: int | None = None,
    filter: str = "none",
    **metrics: Any,
) -> Row:
    """Return one multiple-choice item; without given choices it has four that no other item has."""
    answers = choices or tuple(f"choice {place} of {number}" for place in range(4))
    gold = number % len(answers) if target is None else target
    pick = gold if right else (gold + 1) % len(answers)
    doc = {"question": f"What is {number}?", "gold": gold}
    prompt = prompt or f"Question: What is {number}?\nAnswer:"
    log_probabilities = [[str(-1.0 if place == pick else -2.5), "False"] for place in range(len(answers))]
    requests = {f"gen_args_{p}": {"arg_0": prompt, "arg_1": f" {a}"} for p, a in enumerate(answers)}
    answered: Row = {"target": gold if version == "0.4.3" else str(gold), "arguments": requests}
    answered |= {"resps": [[response] for response in log_probabilities], "filtered_resps": log_probabilities}
    scores = metrics or {"acc": 1.0 if right else 0.0}
    return sample(number, doc, prompt, str(gold), answered, filter, scores, version)


def written_row(
    number: int,
    right: bool,
    *,
    version: str = "0.4.13",
    filter: str = "strict-match",
    said: str = "",
    **metrics: Any,
) -> Row:
    """Return one item with a written answer, and what a filter extracted from it."""
    doc = {"question": f"What is {number} and {number}?", "answer": f"so\n#### {2 * number}"}
    prompt, gold = f"Q: {doc['question']}\nA:", str(2 * number)
    response = said or (f"It is {gold}." if right else f"It is {number}.")
    requests = {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["Q:"], "do_sample": False}}}
    answered: Row = {"target": gold, "arguments": requests, "resps": [[response]]}
    answered |= {"filtered_resps": [gold if right else f"[{filter}: nothing]"]}
    scores = metrics or {"exact_match": 1.0 if right else 0.0}
    return sample(number, doc, prompt, gold, answered, filter, scores, version)


def sample(
    number: int, doc: Row, prompt: str, gold: str, answered: Row, filter: str, scores: Row, version: str
) -> Row:
    """Return a row as a version writes it, which may name neither filter nor metrics."""
    old = tuple(int(part) for part in version.split(".")) < (0, 4, 7)
    named = {} if old else {"filter": filter, "metrics": list(scores)}
    hashed = {"doc": json.dumps(doc, indent=2, ensure_ascii=False), "prompt": prompt, "target": gold}
    hashes = {f"{name}_hash": sha(text) for name, text in hashed.items()}
    return {"doc_id": number, "doc": doc, **answered, **named, **hashes, **scores}


def write_log(
    folder: Path, task: str, rows: list[Row], *, date: str = DATE, model: str = "org__model"
) -> Path:
    """Write one task's samples where the harness would: FOLDER/MODEL/samples_TASK_DATE.jsonl."""
    file = folder / model / f"samples_{task}_{date}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def write_results(folder: Path, *, date: str = DATE, model: str = "org__model", **sections: Any) -> Path:
    """Write the aggregated results beside them; sections are "versions", "n_shot" and the like."""
    file = folder / model / f"results_{date}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    named = {name.replace("n_shot", "n-shot"): value for name, value in sections.items()}
    file.write_text(json.dumps({"model_name": "org/model", "lm_eval_version": "0.4.13", **named}))
    return file


def right(number: int) -> bool:
    """Return what the base knows: nine of ten."""
    return number % 10 != 0
