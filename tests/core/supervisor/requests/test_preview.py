"""The plan of a run on the supervisor's machine, for a remote client: requested from a real supervisor."""

import json
from pathlib import Path

import msgspec
import pytest

from finetop.core.plan.result import Shown
from finetop.core.protocol.messages.machine import LookAhead
from finetop.core.recipe.load import resolve_text

CONFIG = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}  # fmt: skip
ROW = {"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Ahoy there!"}]}


@pytest.mark.slow
def test_a_plan_is_made_where_model_and_data_are(rig, tmp_path: Path) -> None:
    model = tmp_path / "small"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "faq.jsonl").write_text(f"{json.dumps(ROW)}\n" * 40)
    text = f"recipe: 1\nextends: lora\nmodel: {{id: {model}}}\ndata: {{train: [{{path: {tmp_path}/faq.jsonl}}]}}\n"
    recipe = resolve_text(text).resolved

    plan, row = ask(rig, LookAhead(recipe))
    assert plan.plan is not None and plan.plan.steps is not None
    assert plan.plan.steps.rows + plan.plan.steps.eval_rows == 40 and plan.plan.need > 0
    assert row.row == []  # there is no tokenizer to render it with

    (model / "config.json").unlink()
    (trouble,) = ask(rig, LookAhead(recipe))
    assert trouble.plan is None and str(model) in trouble.trouble


def ask(rig, request: LookAhead) -> list[Shown]:
    return [msgspec.convert(one, Shown) for one in rig.ask(request).findings]
