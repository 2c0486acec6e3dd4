"""Through the harness's own evaluator, ours and the stock model give the same scores, metrics and answers.

On made-up items with the tiny model everywhere; on real items with SmolLM2-135M if both are available.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tiny_run import write_rows

if TYPE_CHECKING:
    from collections.abc import Callable

NATS = 1e-4
RELATIVE = 1e-6  # for the sum over a long text
WORDS = ("shop", "mill", "radio", "clock", "station", "lamp", "dog", "fox")
METRIC = {"aggregation": "mean", "higher_is_better": True}


@dataclass(frozen=True)
class Case:
    """A task type: its made-up settings and rows, and its real task with changes to it."""

    settings: dict[str, Any]
    row: Callable[[int], dict[str, Any]]
    real: str
    changes: dict[str, Any] = field(default_factory=dict)
    items: int = 12
    longest: int | None = None  # tokens that both models read at once


def _question(at: int) -> str:
    return f"Where is the {WORDS[at % 8]} number {at}? Is it behind the {WORDS[(at + 3) % 8]}?"


def _choices(at: int) -> dict[str, Any]:
    choices = [f"in the {WORDS[(at + shift) % 8]}" + " now" * shift for shift in range(4)]
    return {"question": _question(at), "choices": choices, "gold": at % 4}


CHOICE = {"output_type": "multiple_choice", "doc_to_target": "gold", "doc_to_choice": "choices"}
BOTH = [{"metric": "acc", **METRIC}, {"metric": "acc_norm", **METRIC}]
ASKED = {**CHOICE, "doc_to_text": "Question: {{question}}\nAnswer:", "metric_list": BOTH}
WRITTEN = {"output_type": "generate_until", "metric_list": [{"metric": "exact_match", **METRIC}]}
PERPLEXITIES = [{"metric": "word_perplexity"}, {"metric": "byte_perplexity"}]


def _written(at: int) -> dict[str, Any]:
    return {"question": _question(at), "rest": WORDS[at % 8]}


CASES = {
    "choices": Case(ASKED, _choices, "arc_easy"),
    "choices behind examples": Case(
        {**ASKED, "num_fewshot": 4}, _choices, "mmlu",
        {"num_fewshot": 5, "fewshot_split": "dev", "fewshot_config": {"sampler": "first_n"}}, items=6,
    ),
    "pairs": Case(
        {**CHOICE, "doc_to_text": "", "metric_list": BOTH[:1]},
        lambda at: {"choices": [f"{_question(at)} We mend.", f"We {_question(at)} mend {at}."], "gold": at % 2},
        "blimp",
    ),
    "contexts": Case(
        {**CHOICE, "doc_to_text": "gold", "doc_to_target": "rest", "metric_list": BOTH[:1]},
        lambda at: {
            "choices": [f"The {WORDS[at % 8]} can't mend the", f"The {WORDS[(at + 1) % 8]} can't mend the"],
            "gold": at % 2, "rest": f"{WORDS[(at + 2) % 8]} at nine",
        },
        "winogrande",
    ),
    "continuation": Case(
        {"output_type": "loglikelihood", "doc_to_text": "{{question}}", "doc_to_target": " {{rest}}",
         "metric_list": BOTH[:1]},
        lambda at: {"question": _question(at), "rest": f"the {WORDS[at % 8]}"}, "lambada_openai",
    ),
    "whole texts": Case(
        {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}",
         "metric_list": PERPLEXITIES},
        lambda at: {"text": " ".join(_question(at + shift) for shift in range(4 * at + 1))}, "wikitext2",
        items=1, longest=256,
    ),
    "answers": Case(
        {**WRITTEN, "doc_to_text": "{{question}}\nAnswer:", "doc_to_target": "{{rest}}", "num_fewshot": 2,
         "generation_kwargs": {"until": ["\n", "."], "do_sample": False, "max_gen_toks": 12}},
        _written, "triviaqa",
    ),
    "answers behind examples": Case(
        {**WRITTEN, "doc_to_text": "{{question}} We mend", "doc_to_target": " {{rest}}",
         "generation_kwargs": {"until": ["<|user|>"]}},
        _written, "gsm8k",
        {"generation_kwargs": {"until": ["Question:", "</s>", "<|im_end|>"], "do_sample": False, "max_gen_toks": 24}},
        items=2,
    ),
}  # fmt: skip


def evaluate(model: Any, task: dict[str, Any], items: int | None) -> tuple[dict[str, Any], list[Any]]:
    """Run the harness's evaluator on one task; return its metrics, and the responses to all requests in order."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=False)  # the harness's own tasks take 5 s each time
    result = simple_evaluate(
        model=model, tasks=[task], task_manager=manager, limit=items, bootstrap_iters=0, log_samples=True
    )
    name = task["task"]
    found = result["results"][name].items()
    metrics = {
        key: value for key, value in found if "," in key and isinstance(value, float) and "stderr" not in key
    }
    samples = sorted(result["samples"][name], key=lambda sample: sample["doc_id"])
    return metrics, [response for sample in samples for response in sample["resps"]]


def assert_same(model: Any, tokenizer: Any, case: Case, task: dict[str, Any], items: int | None) -> None:
    from harness_model import PackedModel
    from lm_eval.models.huggingface import HFLM

    ours = PackedModel(model, tokenizer, max_length=case.longest)
    # Answers one at a time: in a batch, the stock model keeps writing until all have met their stop strings.
    size = 1 if task["output_type"] == "generate_until" else 4
    stock = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=size, max_length=case.longest)
    metrics, responses = evaluate(ours, task, items)
    wanted_metrics, wanted = evaluate(stock, task, items)
    # A perplexity is e to the mean over items or words, each of which may differ by NATS.
    assert metrics == pytest.approx(wanted_metrics, rel=NATS)
    assert all(metrics[key] == wanted_metrics[key] for key in metrics if key.startswith(("acc", "exact")))
    assert len(responses) == len(wanted) > 0
    for (mine,), (theirs,) in zip(responses, wanted, strict=True):
        if isinstance(theirs, str):
            assert mine == theirs
        elif isinstance(theirs, float):
            assert mine == pytest.approx(theirs, rel=RELATIVE)
        else:
            assert float(mine[0]) == pytest.approx(float(theirs[0]), abs=NATS)
            assert str(mine[1]) == str(theirs[1])


@pytest.fixture(autouse=True)
def quiet_and_offline(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    datasets.disable_progress_bars()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_made_up_items(loud_model, tiny_tokenizer, tmp_path, name):
    case = CASES[name]
    count = 2 if name == "answers behind examples" else 8  # those are 256 tokens long
    rows = write_rows(tmp_path / "rows.jsonl", map(case.row, range(count)))
    shots = write_rows(tmp_path / "shots.jsonl", map(case.row, range(20, 25)))
    files = {"data_files": {"test": str(rows), "shots": str(shots)}}
    task = {"task": "made_up", "dataset_path": "json", "dataset_kwargs": files, "test_split": "test"}
    task |= {"fewshot_split": "shots", "fewshot_config": {"sampler": "first_n"}, "num_fewshot": 0}
    assert_same(loud_model, tiny_tokenizer, case, {**task, **case.settings}, None)


@pytest.fixture(scope="module")
def real_model():
    """Return SmolLM2-135M-Instruct in float32, from FINETOP_TEST_MODEL or the home's converted copy."""
    folder = os.environ.get("FINETOP_TEST_MODEL")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FINETOP_TEST_MODEL names no folder with SmolLM2-135M-Instruct")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.mark.model
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_real_items(real_model, name):
    data = os.environ.get("FINETOP_TEST_DATA")
    if not data:
        pytest.skip("FINETOP_TEST_DATA is unset")
    case = CASES[name]
    file = Path(data) / "lm_eval_tasks" / "open" / f"rx_{case.real}.yaml"
    task = yaml.safe_load(file.read_text(encoding="utf-8"))
    files = task["dataset_kwargs"]["data_files"]
    if case.real == "mmlu":
        files["dev"] = "mmlu/dev.jsonl"
    task["dataset_kwargs"]["data_files"] = {split: str(Path(data) / path) for split, path in files.items()}
    assert_same(*real_model, case, {**task, **case.changes}, case.items)
