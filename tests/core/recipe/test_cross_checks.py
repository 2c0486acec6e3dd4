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
        ("ask: {chunk_words: 20, overlap_words: 20}", r"a passage has 20 words. Set it to 4, or less"),
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


SEVERAL = "recipe: 1\nname: x\ndata: {train: [{path: t.jsonl}]}\ncheck: {general: null}\nbudget: {gpus: 2}\n"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "objective: {name: ppo, reward: {rules: [{rule: json_valid}]}}",
            r"budget\.gpus is 2, and ppo trains on one GPU. Set budget\.gpus to 1",
        ),
        (
            "method: {name: ia3}\ntrain: {parallel: fsdp}",
            r"train\.parallel: ia3 with sft does not train with fsdp. Set it to ddp",
        ),
        (
            "method: {name: lora}\nobjective: {name: reward}\ntrain: {parallel: fsdp}",
            r"train\.parallel: lora with reward does not train with fsdp. Set it to ddp",
        ),
        (
            "method: {name: lora}\nmodel: {quantize: int8}\ntrain: {parallel: fsdp}",
            r"model\.quantize: weights in int8 are not divided over GPUs \(fsdp\). Set it to nf4",
        ),
        (
            "method: {name: full}\ntrain: {optimizer: adafactor}",
            r"train\.optimizer: adafactor does not go with divided weights \(fsdp\). Set it to adamw",
        ),
        (
            "method: {name: full}\nprotect: {l2_sp: 0.1}",
            r"protect\.l2_sp acts in the steps of one process, and budget\.gpus is 2",
        ),
        (
            "method: {name: full}\nprotect: {mask_surprising: 2.5}",
            r"protect\.mask_surprising reads with the base, which is divided over the GPUs",
        ),
    ],
)
def test_what_does_not_train_on_several_gpus_is_refused_with_what_to_change(written, said):
    with pytest.raises(RecipeError, match=said):
        resolve_text(SEVERAL + written)


@pytest.mark.parametrize(
    "written",
    [
        "method: {name: full}",
        "method: {name: lora}",
        "method: {name: full}\ntrain: {parallel: ddp, optimizer: adafactor}\nprotect: {mask_surprising: 2.5}",
        "method: {name: full}\nobjective: {name: dpo}",
    ],
)
def test_what_trains_on_several_gpus_is_taken(written):
    assert resolve_text(SEVERAL + written).recipe.budget.gpus == 2


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("extends: lora", None),
        ("extends: qlora", r"vllm does not write from nf4 weights. Set it to auto"),
        ("extends: grpo\nmethod: {name: hra}", None),
        ("extends: grpo\nmethod: {name: peft, type: lily}", r"what peft learns can't be merged"),
        ("extends: grpo\nbudget: {gpus: 2}", r"vllm writes on one GPU, and budget\.gpus is 2"),
    ],
)
def test_what_vllm_can_not_write_for_is_refused(written, said):
    data = "data: {train: [{path: t.jsonl}]}\nobjective: {reward: {rules: [{rule: has_answer}]}}\n"
    text = f"recipe: 1\nname: x\nmodel: {{engine: vllm}}\n{data if 'grpo' in written else ''}{written}"
    if said is None:
        assert resolve_text(text).recipe.model.engine == "vllm"
        return
    with pytest.raises(RecipeError, match=said):
        resolve_text(text)
