"""A suite of three small tasks, written to a folder: choices, written answers that rules verify, and general text."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tiny_run import write_rows

from finetop.core.recipe.load import recipe_from_mapping

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """\
suite: 1
name: tiny
about: three tasks for tests
text: text.txt
tasks:
  - name: numbers
    data: numbers.jsonl
    chance: 0.0
    cap: 40
    metric: acc
    lm_eval:
      output_type: multiple_choice
      doc_to_text: "Question: {{question}}\\nAnswer:"
      doc_to_target: gold
      doc_to_choice: choices
  - name: pairs
    data: pairs.jsonl
    chance: 0.0
    metric: acc_norm
    num_fewshot: 2
    lm_eval:
      output_type: multiple_choice
      doc_to_text: "{{question}}"
      doc_to_target: gold
      doc_to_choice: choices
  - name: orders
    data: orders.jsonl
    chance: 0.0
    metric: follows
    chat: true
    lm_eval:
      output_type: generate_until
      doc_to_text: prompt
      doc_to_target: answer
      generation_kwargs: {until: ["\\n"], max_gen_toks: 6}
"""


@pytest.fixture
def suite_folder(tmp_path):
    """Write HOME/suites with the suite `tiny`."""
    folder = tmp_path / "home" / "suites"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text(SUITE, encoding="utf-8")
    (folder / "text.txt").write_text("The shop opens at nine and closes at six, but for Sundays. " * 120)
    numbers = [
        {"id": f"n{at}", "category": "odd" if at % 2 else "even", "question": f"What is {at} and {at + 1}?",
         "choices": [str(2 * at + 1), str(at), "none of these numbers"], "gold": at % 3}
        for at in range(60)
    ]  # fmt: skip
    pairs = [
        {"id": f"p{at}", "category": "words", "cluster": f"c{at // 2}", "question": f"The shop number {at} is",
         "choices": ["open now", "an old mill behind the station"], "gold": at % 2}
        for at in range(30)
    ]  # fmt: skip
    orders = [
        {"id": f"o{at}", "category": "length", "prompt": f"Say {at} in a word.",
         "rules": [{"rule": "max_words", "value": 1 + at % 40}], "answer": at if at % 2 else [str(at)]}
        for at in range(12)
    ]  # fmt: skip
    for name, rows in (("numbers", numbers), ("pairs", pairs), ("orders", orders)):
        write_rows(folder / f"{name}.jsonl", rows)
    return folder


@pytest.fixture
def recipe_of(tiny_model):
    """Return a function that makes a recipe whose runs are checked by a suite."""

    def make(suite: str, margin: float = 10.0, method: str = "lora") -> Any:
        model = {"id": str(tiny_model), "dtype": "float32"}
        whole = {"recipe": 1, "name": "run", "model": model, "method": {"name": method}}
        whole |= {"objective": {"name": "sft"}, "check": {"general": {"suite": suite, "margin": margin}}}
        return recipe_from_mapping(whole, to_train=False)

    return make


@pytest.fixture
def noted(monkeypatch):
    """Record (model, row_tokens, batch) of every batch that is scored; a test may set a fault that comes before it."""
    from finetop.core.check import scoring_passes

    real, recorder = scoring_passes.score_batch, SimpleNamespace(seen=[], before=lambda entry: None)

    def score_batch(prepared: Any, scored_model: Any, batch: Any, following: Any = None) -> Any:
        entry = (scored_model.name, scored_model.plan.row_tokens, batch)
        recorder.before(entry)
        recorder.seen.append(entry)
        return real(prepared, scored_model, batch, following)

    monkeypatch.setattr(scoring_passes, "score_batch", score_batch)
    return recorder


@pytest.fixture(scope="session")
def loud_model(tiny_model):
    """Return the tiny model with ten times its weights: at their usual size all log-probabilities are nearly alike."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    return louder(AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval())


def louder(model: Any) -> Any:
    """Multiply a model's matrices by ten."""
    for weights in model.parameters():
        if weights.dim() > 1:
            weights.data.mul_(10)
    return model


@pytest.fixture
def make_loud() -> Any:
    return louder


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_model):
    """Return the tiny model's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def save_adapter(tiny_model):
    """Return a function that saves a LoRA adapter whose second matrices are all of a given size: 0 changes nothing."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    def save(folder: Path, weight: float, base: Path = tiny_model, seed: int = 1) -> None:
        torch.manual_seed(seed)
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        settings = LoraConfig(
            task_type="CAUSAL_LM", r=2, lora_alpha=8, target_modules=["q_proj", "down_proj"]
        )
        adapted = get_peft_model(model, settings)
        with torch.no_grad():
            for name, matrix in adapted.named_parameters():
                if "lora_B" in name:
                    matrix.copy_(weight * torch.randn_like(matrix))
        adapted.save_pretrained(folder)

    return save


@pytest.fixture
def save_full(tiny_model):
    """Return a function that saves the tiny model with one of its matrices multiplied by a factor."""
    import torch
    from transformers import AutoModelForCausalLM

    def save(folder: Path, factor: float) -> None:
        shutil.copytree(tiny_model, folder)
        model: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
        with torch.no_grad():
            model.model.layers[1].mlp.down_proj.weight.mul_(factor)
        model.save_pretrained(folder)

    return save
