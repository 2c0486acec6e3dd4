"""A plan renders the first row as training will: a template that refuses it, or never ends, is reported at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from finetop.core.errors import BadInput
from finetop.core.plan import lengths
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.home import Home

ROW = {"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Ahoy there!"}]}


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


def text_of(model: Path, rows: str | Path) -> str:
    return f"recipe: 1\nextends: lora\nmodel: {{id: {model}}}\ndata: {{train: [{{path: {rows}}}]}}\n"


def recipe_of(model: Path, folder: Path):
    (folder / "faq.jsonl").write_text(f"{json.dumps(ROW)}\n" * 40)
    return resolve_text(text_of(model, folder / "faq.jsonl")).recipe


def first_row(recipe, model: Path):
    measured = lengths.measure(recipe, model, Home(model.parent / "home"))
    assert measured is not None
    return measured.row


def test_it_is_shown_with_what_is_learned(model: Path, tmp_path: Path) -> None:
    row = first_row(recipe_of(model, tmp_path), model)
    assert next(text for text, is_learned in row if is_learned).startswith("Ahoy there!")
    assert "Hello?" in row[0][0] and not row[0][1]


@pytest.mark.parametrize(("template", "words"), [
    ("{{ unfinished", "the chat template can't be read"),
    ("{{ raise_exception('no system') }}", "no system"),
])  # fmt: skip
def test_a_template_that_refuses_is_named(model: Path, tmp_path: Path, template: str, words: str) -> None:
    (model / "chat_template.jinja").write_text(template)
    with pytest.raises(BadInput, match=words):
        first_row(recipe_of(model, tmp_path), model)


@pytest.mark.slow  # a template has 10 s
def test_plan_refuses_a_template_that_never_ends(model: Path, tmp_path: Path) -> None:
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    (model / "chat_template.jinja").write_text(loops)
    recipe_of(model, tmp_path)
    (tmp_path / "mine.yaml").write_text(text_of(model, "faq.jsonl"))
    answer = subprocess.run(
        [sys.executable, "-m", "finetop.tui.main", "plan", "mine.yaml"],
        cwd=tmp_path, env={**os.environ, "FINETOP_HOME": str(tmp_path / "home")}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert answer.returncode == 2 and "chat template" in answer.stderr and "Traceback" not in answer.stderr
