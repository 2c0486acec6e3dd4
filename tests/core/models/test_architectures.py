"""Each architecture of docs/models.md goes all the way: tuned, checked against its base, exported and verified.

`FINETOP_MODELS_PAGE=docs/models.md pytest -m 'slow or nightly' tests/core/models/test_architectures.py` rewrites its
table.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from architectures import MODELS
from drawn import drawn
from tiny_run import chat, write_rows

from finetop.core.runtime.home import Home

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
METHODS = {
    "lora": "{name: lora, rank: 4}",
    "full": "{name: full}",
    "lora, experts too": f"{{name: lora, rank: 4, target_parameters: {json.dumps(EXPERTS)}}}",
}
OF_EXPERTS = ("mixtral", "qwen2_moe")
PAIRS = [
    (model, method)
    for model in MODELS
    for method in METHODS
    if method != "lora, experts too" or model in OF_EXPERTS
]
# What is refused with a message before a step is taken, and the message.
REFUSED = {("mamba", "lora"): "does not work on MambaForCausalLM"}
SUITE = "suite: 1\nname: mini\ntasks:\n- {name: sums, data: items.jsonl}\n"


def build(model: str, tokenizer: Path, folder: Path) -> None:
    """Save a tiny model of an architecture, with random weights and the tests' tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(model, **MODELS[model])).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tokenizer / name, folder)


def go_all_the_way(model: str, method: str, tiny_model: Path, place: Path) -> dict[str, str]:
    """Tune, check and export one; return the result of each, in a word."""
    home = Home(place / "home")
    build(model, tiny_model, place / "tiny")
    items = [
        {"question": f"What is {n} and {n}?", "choices": [f"{2 * n}", f"{2 * n + 1}"], "answer": 0}
        for n in range(12)
    ]
    write_rows(place / "items.jsonl", items)
    (place / "mini.yaml").write_text(SUITE)
    write_rows(place / "rows.jsonl", [chat(f"What is {n}?", f"It is {n}.") for n in range(16)])
    (place / "mine.yaml").write_text(
        "recipe: 1\nname: mine\nobjective: {name: sft}\nmodel: {id: ./tiny, dtype: float32}\n"
        f"method: {METHODS[method]}\n"
        "data: {train: [{path: rows.jsonl}], max_tokens: 128}\n"
        "train: {max_steps: 3, batch_size: 2, grad_accumulation: 1, learning_rate: 1.0e-3}\n"
        "samples: {count: 1, max_new_tokens: 4}\ncheck: {general: {suite: ./mini.yaml}}\n"
    )
    environment = {**os.environ, "FINETOP_HOME": str(home.root), "HF_HUB_OFFLINE": "1"}

    def finetop(*words: str) -> tuple[int, str]:
        made = subprocess.run(
            [sys.executable, "-m", "finetop.tui.main", *words],
            capture_output=True, text=True, check=False, env=environment, cwd=place,
        )  # fmt: skip
        return made.returncode, made.stdout + made.stderr

    try:
        code, said = finetop("run", "mine.yaml", "--wait")
        if (words := REFUSED.get((model, method))) is not None:
            assert code in (1, 2) and words in said, said
            return {"tuned": "refused", "checked": "-", "exported": "-"}
        assert code in (0, 1, 3) and "step 3/3" in said, said
        shown = json.loads(finetop("check", "mine", "--last", "--json")[1])["check"]
        assert shown["verdict"] in ("ok", "regressed", "no_verdict") and shown["suite"] == "mini", shown
        code, said = finetop("export", "mine", "--to", "out")
        assert code == 0, said
        assert (place / "out" / "config.json").is_file()
        return {"tuned": "✓", "checked": "✓", "exported": "✓"}
    finally:
        finetop("supervisor", "stop")


@pytest.mark.parametrize(("model", "method"), drawn(PAIRS, 3, marks=[pytest.mark.slow]))
def test_an_architecture_goes_all_the_way(model, method, tiny_model, tmp_path, warm):
    told = go_all_the_way(model, method, tiny_model, tmp_path)
    if page := os.environ.get("FINETOP_MODELS_PAGE"):
        write_row(Path(page), model, method, told)
    assert row_of(PAGE.read_text(), model, method) == told


def row_of(text: str, model: str, method: str) -> dict[str, str]:
    """Read a row of the page's table."""
    row = re.search(rf"^\| {model} \| {re.escape(method)} \| (\S+) \| (\S+) \| (\S+) \|", text, re.MULTILINE)
    assert row is not None, f"docs/models.md has no row of {model}, {method}"
    return dict(zip(("tuned", "checked", "exported"), row.groups(), strict=True))


def write_row(page: Path, model: str, method: str, told: dict[str, str]) -> None:
    text = page.read_text()
    row = f"| {model} | {method} | {' | '.join(told.values())} |"
    old = re.search(rf"^\| {model} \| {re.escape(method)} \|.*$", text, re.MULTILINE)
    assert old is not None
    page.write_text(text.replace(old[0], row))


def test_the_page_has_each_of_them():
    text = PAGE.read_text()
    for model, method in PAIRS:
        row_of(text, model, method)
