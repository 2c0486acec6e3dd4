"""Faults between settings that are each fine alone: how the model is asked, and which approaches are compared."""

import pytest

from finetop.core.errors import RecipeError
from finetop.core.recipe.load import resolve_text

BASE = "recipe: 1\nname: x\ncheck: {target: {path: t.jsonl, metric: token_f1}}\n"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "ask: {documents: [d.md], search: dense}",
            r"ask\.search is dense, and ask\.embedder names no model",
        ),
        ("ask: {chunk_words: 20, overlap_words: 20}", r"a passage has 20 words. It must be less"),
        ("approaches: {only: [lorra]}", r"approaches\.only: there is no approach 'lorra'. Did you mean lora"),
        (
            "approaches: {settings: {full-lora: {}}}",
            r"approaches\.settings: there is no approach 'full-lora'",
        ),
        ("approaches: {metric: rules}", r"approaches\.metric is rules, and check\.target\.metric has it not"),
        ("approaches: {update: {documents: [d.md]}}", r"approaches\.update\.test"),
    ],
)
def test_what_does_not_go_together_is_told_with_its_line(written, said):
    with pytest.raises(RecipeError, match=said) as caught:
        resolve_text(BASE + written)
    assert str(caught.value).startswith("recipe:4:")


def test_what_goes_together_is_taken():
    text = (
        BASE
        + "ask: {documents: [d.md], search: dense, embedder: some/model}\napproaches: {only: [lora, few-shot]}"
    )
    assert resolve_text(text).recipe.approaches.only == ("lora", "few-shot")
