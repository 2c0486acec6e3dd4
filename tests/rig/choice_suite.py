"""A suite of multiple-choice tasks in a home, and gold answers that are a model's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tiny_run import TEXT, write_rows

TASK = """\
  - name: {name}
    data: {name}.jsonl
    chance: 0.0
    metric: acc
    lm_eval:
      output_type: multiple_choice
      doc_to_text: "{{{{question}}}}"
      doc_to_target: gold
      doc_to_choice: choices
"""


def write_choice_suite(home: Path, tasks: Mapping[str, Iterable[Any]], suite: str = "tiny") -> None:
    """Write a suite with general text, and a task by each name with these rows."""
    folder = home / "suites"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "general.txt").write_text(TEXT * 40)
    for name, rows in tasks.items():
        write_rows(folder / f"{name}.jsonl", rows)
    named = "".join(TASK.format(name=name) for name in tasks)
    (folder / f"{suite}.yaml").write_text(f"suite: 1\nname: {suite}\ntext: general.txt\ntasks:\n{named}")


def with_golds(model: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with `question` and `choices`, whose gold answer is the one that the model finds likeliest."""
    import torch
    from method_bench import base_of

    from finetop.core.check.scoring.packing import TokenSequence
    from finetop.core.check.scoring.scorer import plan_for, score
    from finetop.core.models import load

    loaded, tokenizer = load.load_model(base_of(model), torch.float32, "cpu")

    def ids(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False))

    heads = [ids(row["question"]) for row in rows for _ in row["choices"]]
    ends = [ids(f" {choice}") for row in rows for choice in row["choices"]]
    pairs = [TokenSequence((*head, *end), len(head)) for head, end in zip(heads, ends, strict=True)]
    scores = iter([scored.log_prob for scored in score(loaded.eval(), pairs, plan_for("cpu"))])
    own = [[next(scores) for _ in row["choices"]] for row in rows]
    return [{**row, "gold": each.index(max(each))} for row, each in zip(rows, own, strict=True)]
