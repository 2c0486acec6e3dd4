"""docs/suites.md: every suite that it shows can be read, and its plain rows are tasks."""

import json
import re
from pathlib import Path

from finetop.core.check.tasks.requests import build_task, requests_of
from finetop.core.check.tasks.suite import load_suite

PAGE = Path(__file__).parents[1] / "docs" / "suites.md"
ROWS = {
    "products.jsonl": {"question": "Which is red?", "choices": ["a plum", "a rose", "a fir"], "answer": "B"},
    "grammar.jsonl": {"good": "They are here.", "bad": "They is here."},
    "facts.jsonl": {"prompt": "The capital of France is", "answer": ["Paris", "the city of Paris"]},
    "shots.jsonl": {"prompt": "The capital of Italy is", "answer": "Rome"},
    "orders.jsonl": {"prompt": "Say no.", "rules": [{"rule": "max_words", "value": 5}]},
}


def test_every_suite_of_the_page_can_be_read(tmp_path: Path, tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for name, row in ROWS.items():
        (tmp_path / name).write_text("\n".join([json.dumps(row)] * 3))
    (tmp_path / "general.txt").write_text("text")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "passages.yaml").write_text("task: passages")
    for number, block in enumerate(blocks):
        file = tmp_path / f"suite{number}.yaml"
        file.write_text(block)
        suite = load_suite(file)
        for task, place in zip(suite.tasks, suite.places, strict=True):
            if task.data is not None:
                built = build_task(task, place)
                assert (
                    len(requests_of(built, [document.item for document in built.documents], tokenizer)) == 3
                )
