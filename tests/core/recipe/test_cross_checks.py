"""Problems between settings that are each valid alone: prompts, and the approaches to compare."""

# ruff: noqa: E501
import pytest

from finetop.core.errors import RecipeError
from finetop.core.recipe.cross_checks import watched_metric
from finetop.core.recipe.load import resolve_text

BASE = "recipe: 1\nname: x\ncheck: {target: {path: t.jsonl, metric: token_f1}}\n"


@pytest.mark.parametrize(
    ("written", "said"),
    {
        "ask: {documents: [d.md], search: dense}": r"ask\.search is dense, but ask\.embedder names no model",
        "ask: {chunk_words: 20, overlap_words: 20}": r"a passage has 20 words. Set it to 4, or less",
        "approaches: {only: [lorra]}": r"approaches\.only: no approach 'lorra'. Did you mean lora",
        "approaches: {settings: {full-lora: {}}}": r"approaches\.settings: no approach 'full-lora'",
        "approaches: {metric: rules}": r"approaches\.metric: rules is not in check\.target\.metric",
        "approaches: {update: {documents: [d.md]}}": r"approaches\.update\.test",
    }.items(),
)
def test_what_does_not_go_together_is_told_with_its_line(written, said):
    with pytest.raises(RecipeError, match=said) as caught:
        resolve_text(BASE + written)
    assert str(caught.value).startswith("recipe:4:")


def test_what_goes_together_or_trains_on_several_gpus_is_taken():
    ask = "ask: {documents: [d.md], search: dense, embedder: some/model}\n"
    text = f"{BASE}{ask}approaches: {{only: [lora, few-shot]}}"
    assert resolve_text(text).recipe.approaches.only == ("lora", "few-shot")
    for written in (
        "method: {name: full}",
        "method: {name: lora}",
        "method: {name: full}\ntrain: {parallel: ddp, optimizer: adafactor}\nprotect: {mask_surprising: 2.5}",
        "method: {name: full}\nobjective: {name: dpo}",
    ):
        assert resolve_text(SEVERAL + written).recipe.budget.gpus == 2


SEVERAL = "recipe: 1\nname: x\ndata: {train: [{path: t.jsonl}]}\ncheck: {general: null}\nbudget: {gpus: 2}\n"


@pytest.mark.parametrize(
    ("written", "said"),
    {
        "objective: {name: ppo, reward: {rules: [{rule: json_valid}]}}": r"budget\.gpus is 2, and ppo trains on one GPU. Set budget\.gpus to 1",
        "method: {name: ia3}\ntrain: {parallel: fsdp}": r"train\.parallel: ia3 with sft does not train with fsdp. Set it to ddp",
        "method: {name: lora}\nobjective: {name: reward}\ntrain: {parallel: fsdp}": r"train\.parallel: lora with reward does not train with fsdp. Set it to ddp",
        "method: {name: lora}\nmodel: {quantize: int8}\ntrain: {parallel: fsdp}": r"model\.quantize: int8 weights can't be sharded over GPUs \(fsdp\). Set it to nf4",
        "method: {name: full}\ntrain: {optimizer: adafactor}": r"train\.optimizer: adafactor does not work with sharded weights \(fsdp\). Set it to adamw",
        "method: {name: full}\nprotect: {l2_sp: 0.1}": r"protect\.l2_sp works in a single process, but budget\.gpus is 2",
        "method: {name: full}\nprotect: {mask_surprising: 2.5}": r"protect\.mask_surprising reads with the base, which is sharded over the GPUs",
    }.items(),
)
def test_what_does_not_train_on_several_gpus_is_refused_with_what_to_change(written, said):
    with pytest.raises(RecipeError, match=said):
        resolve_text(SEVERAL + written)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("extends: lora", None),
        ("extends: qlora", r"vllm can't generate from nf4 weights. Set it to auto"),
        ("extends: grpo\nmethod: {name: hra}", None),
        ("extends: grpo\nmethod: {name: peft, type: lily}", r"those of peft can't be merged"),
        ("extends: grpo\nbudget: {gpus: 2}", r"vllm generates on one GPU, but budget\.gpus is 2"),
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


PATIENT = "recipe: 1\nname: x\ndata: {train: [{path: t.jsonl}]}\n"


@pytest.mark.parametrize(
    ("written", "said"),
    {
        "train: {stop_early: {}}\ndata: {train: [{path: t.jsonl}], eval: {share: 0}}": r"metric is eval_loss, but nothing is evaluated: data\.eval has no rows\. Set data\.eval",
        "train: {keep: best}\ndata: {train: [{path: t.jsonl}], eval: []}": r"train\.keep uses eval_loss, but nothing is evaluated",
        "train: {stop_early: {metric: target}}": r"train\.stop_early\.metric is target, but check\.target is not set\. Set check\.target",
        "train: {stop_early: {metric: target}}\ncheck: {target: {path: t.jsonl}}": r"which is measured at checks during training: check\.every is not set\. Set check\.every",
        "train: {stop_early: {metric: reward}}": r"train\.stop_early\.metric is reward, but sft has no reward\. Set it to eval_loss",
        "objective: {name: reward}\ncheck: {general: null}\ntrain: {stop_early: {metric: reward}}": r"reward has no reward\.",
        "objective: {name: grpo, reward: {rules: [{rule: json_valid}]}}\ntrain: {stop_early: {}}": r"the loss of grpo is meaningless: it stays near 0\. Set it to reward",
        "train: {keep: best}\ncheck: {every: 0.5, on_fail: keep-best}": r"both choose the checkpoint to keep\. Set train\.keep to newest",
        "train: {stop_early: {patience: 0}}": r"train\.stop_early\.patience is 0; it must be",
    }.items(),
)
def test_a_metric_to_stop_by_must_be_measured(written, said):
    with pytest.raises(RecipeError, match=said):
        resolve_text((PATIENT.partition("data:")[0] if "data:" in written else PATIENT) + written)


@pytest.mark.parametrize(
    ("written", "metric"),
    {
        "": None,
        "train: {keep: best}": "eval_loss",
        "train: {stop_early: {patience: 5, min_delta: 0.01}}": "eval_loss",
        "train: {keep: best}\nobjective: {name: ppo, reward: {rules: [{rule: json_valid}]}}": "reward",
        "train: {stop_early: {metric: target}, keep: best}\ncheck: {every: 0.5, target: {path: t.jsonl}}": "target",
    }.items(),
)
def test_what_is_watched(written, metric):
    assert watched_metric(resolve_text(PATIENT + written).recipe) == metric
