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
    prompt_text = prompt or f"Question: What is {number}?\nAnswer:"
    log_probabilities = [-1.0 if place == pick else -2.5 for place in range(len(answers))]
    row: Row = {
        "doc_id": number,
        "doc": doc,
        "target": gold if version == "0.4.3" else str(gold),
        "arguments": {
            f"gen_args_{p}": {"arg_0": prompt_text, "arg_1": f" {a}"} for p, a in enumerate(answers)
        },
        "resps": [[[str(value), "False"]] for value in log_probabilities],
        "filtered_resps": [[str(value), "False"] for value in log_probabilities],
        "filter": filter,
        "metrics": list(metrics) or ["acc"],
        "doc_hash": sha(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": sha(prompt_text),
        "target_hash": sha(str(gold)),
        **(metrics or {"acc": 1.0 if right else 0.0}),
    }
    return shaped(row, version)


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
    prompt = f"Q: {doc['question']}\nA:"
    response = said or (f"It is {2 * number}." if right else f"It is {number}.")
    row: Row = {
        "doc_id": number,
        "doc": doc,
        "target": str(2 * number),
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["Q:"], "do_sample": False}}},
        "resps": [[response]],
        "filtered_resps": [str(2 * number) if right else f"[{filter}: nothing]"],
        "filter": filter,
        "metrics": list(metrics) or ["exact_match"],
        "doc_hash": sha(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": sha(prompt),
        "target_hash": sha(str(2 * number)),
        **(metrics or {"exact_match": 1.0 if right else 0.0}),
    }
    return shaped(row, version)


def shaped(row: Row, version: str) -> Row:
    """Drop what the version does not write."""
    old = tuple(int(part) for part in version.split(".")) < (0, 4, 7)
    return {name: value for name, value in row.items() if not (old and name in ("filter", "metrics"))}


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
