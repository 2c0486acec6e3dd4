"""Types, ranges, unknown names and problems between settings: place, value and fix in each message."""

# ruff: noqa: E501
from __future__ import annotations

from pathlib import Path

import pytest

from finetop.core.errors import RecipeError, folded_name
from finetop.core.recipe.fields import fields
from finetop.core.recipe.load import find_problems, resolve_text
from finetop.core.recipe.schema import EvalShare, Source
from finetop.core.recipe.validate import OTHER_NAMES

HEAD = "recipe: 1\nname: x\n"

# one invalid line (the third of the recipe), and what the message must contain
FAULTS = {
    "method: {name: lora, rnk: 4}": "method.rnk is not an option of lora. Did you mean rank?",
    "method: {name: full, rank: 4}": "method.rank is not an option of full.",
    "method: {name: lorra}": "method.name: there is no method 'lorra'. Did you mean lora?",
    "method: {name: os}": "method.name: there is no method 'os'.",
    "method: {name: [lora]}": "method.name is a list; it must be one of adalora, ",
    "method: lora": "method is 'lora'; it must be a mapping. Write method: {name: …}.",
    "method: {rank: 0}": "method.rank is 0; it must be a whole number from 1 to 4096.",
    "method: {rank: 4.5}": "method.rank is 4.5; it must be a whole number",
    "method: {rank: yes}": "method.rank is 'yes'; it must be a whole number",
    "method: {dropout: 1}": "method.dropout is 1; it must be a number from 0, below 1.",
    "method: {target_modules: some}": "method.target_modules is 'some'; it must be all-linear or a list of texts.",
    "objective: {name: dpoo}": "objective.name: there is no objective 'dpoo'. Did you mean dpo",
    "objective: {loss: prompts}": "objective.loss is 'prompts'; it must be one of answers, all.",
    "model: {dtype: fp16}": "model.dtype is 'fp16'; it must be one of auto, saved, bfloat16, float16, float32.",
    "model: {quantize: fp4}": "model.quantize is 'fp4'; it must be one of none, nf4, int8.",
    "model: {trust_remote_code: yes}": "model.trust_remote_code is 'yes'; it must be true or false.",
    "model: 3": "model is 3; it must be a mapping.",
    "modle: {id: x}": "modle is not a section of a recipe. Did you mean model?",
    "train: {epochs: 0}": "train.epochs is 0; it must be a number above 0",
    "train: {learning_rate: 1e9}": "train.learning_rate is 1000000000.0; it must be a number above 0, at most 1.",
    "train: {learning_rate: '1e-4'}": "train.learning_rate is '1e-4'; it must be a number",
    "train: {batch_size: -1}": "train.batch_size is -1; it must be a whole number, 1 or more.",
    "train: {batch_size: true}": "train.batch_size is true; it must be a whole number",
    "train: {save_every: 1.5}": "train.save_every is 1.5; it must be",
    "train: {warmup_steps: 1.0}": "train.warmup_steps is 1.0; it must be",
    "train: {learning_rte: 1e-4}": "train.learning_rte is not an option of train. Did you mean learning_rate?",
    "train: {epochs: null}": "the length of training is not set. Set train.epochs or train.max_steps.",
    "data: {eval: {share: 0.6}}": "data.eval.share is 0.6; it must be a number from 0 to 0.5.",
    "data: {train: faq.jsonl}": "data.train is 'faq.jsonl'; it must be a list such as [{path: …}].",
    "data: {train: [faq.jsonl]}": "data.train[0] is 'faq.jsonl'; it must be a mapping.",
    "data: {train: [{rows: 3}]}": "data.train[0] has neither path nor id.",
    "data: {train: [{path: a, id: b}]}": "data.train[0] has both path and id.",
    "data: {train: [{path: a, split: x}]}": "data.train[0].split works only with id.",
    "data: {train: [{path: a, share: 0.1}]}": "every source of data.train has a share",
    "data: {train: [{path: a}, {path: b, share: 0.5}, {path: c, share: 0.5}]}": "the shares of data.train add up to 1.",
    "data: {train: [{path: a}, {path: b, roel: replay}]}": "data.train[1].roel is not an option of data.train[1]. Did",
    "data: {train: [{path: 'builtin:../x'}]}": "data.train[0].path: '../x' is not a file shipped with finetop.",
    "data: {on_long: error-over-5}": "data.on_long is 'error-over-5'; it must be one of truncate, drop, error-over-N%.",
    "check: {target: {metric: exact_match}}": "check.target.path is missing.",
    "check: {target: {path: a, metric: accuracy}}": "check.target.metric is 'accuracy'; it must be one of",
    "check: {target: {path: a, metric: rules}}": "check.target.metric is rules, but there are no rules.",
    "check: {target: {path: a, rules: [{rule: one_word}]}}": "check.target.rules are not used.",
    "check: {target: {path: a, metric: rules, rules: [{}]}}": "rule is missing",
    "check: {target: {path: a, metric: rules, rules: [{rule: regx, value: a}]}}": "Did you mean regex?",
    "check: {target: {path: a, metric: rules, rules: [{rule: regex, value: '['}]}}": "rules[0]: rule regex: value is '['",
    "check: {every: 0}": "check.every is 0; it must be",
    "check: null": "check is null; it must be a mapping. Leave it out for its defaults",
    "check: {every: 0.25, general: null}": "check.every is set, but check.general is null: nothing to check. Set check.general",
    "check: {on_fail: stop}": "check.on_fail is stop, but nothing is checked during training. Set check.every, such as 0.25.",
    "check: {every: 5, on_fail: keep_best}": "check.on_fail is 'keep_best'; it must be one of flag, stop, keep-best.",
    "check: {general: {alpha: 0.5}}": "check.general.alpha is 0.5; it must be a number above 0, below 0.5.",
    "protect: {kl_to_base: -1}": "protect.kl_to_base.weight is -1; it must be a number from 0 to 1000.",
    "budget: {hours: -1}": "budget.hours is -1; it must be a number above 0 or null.",
    "trainer_args: [1]": "trainer_args is a list; it must be a mapping.",
    "about: [1]": "about is a list; it must be text of 0 to 1000 characters.",
}


@pytest.mark.parametrize("line", FAULTS)
def test_says_place_value_and_fix(line: str) -> None:
    with pytest.raises(RecipeError) as caught:
        resolve_text(HEAD + line, label="x.yaml")
    assert str(caught.value).startswith("x.yaml:3: ")
    assert FAULTS[line] in str(caught.value)
    assert "more)" not in str(caught.value)


def test_counts_the_other_problems_and_has_defaults_and_both_shapes_of_a_setting() -> None:
    text = HEAD + "train: {epochs: 0, bach_size: 2}\nmodel: {dtype: x}\n"
    with pytest.raises(RecipeError, match=r"train\.epochs is 0.*\(and 2 more\)"):
        resolve_text(text)
    assert [error.key for error in find_problems(text)] == ["train.epochs", "train.bach_size", "model.dtype"]
    assert find_problems(HEAD) == []
    assert [problem.place for problem in find_problems("a: [")] == ["recipe:1"]
    recipe = resolve_text(HEAD).recipe
    assert (recipe.method.name, recipe.method.options.rank, recipe.objective.name) == ("lora", 16, "sft")
    assert recipe.data.eval == EvalShare(share=0.1)
    assert recipe.model.trust_remote_code is False
    written = resolve_text(
        HEAD + "data: {eval: [{id: squad, split: test}]}\ncheck: {target: {path: /t, metric: exact_match}}\n"
        "train: {warmup_steps: 10, eval_every: 0.5}\nprotect: {kl_to_base: 0.0, freeze_layers: []}"
    ).recipe
    assert written.data.eval == (Source(id="squad", split="test"),)
    assert written.check.target is not None and written.check.target.metrics == ("exact_match",)
    assert (written.train.warmup_steps, written.train.eval_every) == (10, 0.5)
    with pytest.raises(AttributeError):
        recipe.train.seed = 2  # type: ignore[misc]
    assert isinstance(recipe.data.train, tuple)


@pytest.mark.parametrize("name", ["a/b/c", "no folder/here", "../gone", "-x/y", "a--b/c", "a..b", "x" * 97])
def test_a_model_that_can_be_nowhere_is_refused(name, tmp_path):
    text = f"recipe: 1\nextends: lora\nmodel: {{id: {name!r}}}\n"
    if name.startswith("../"):
        resolve_text(text, cwd=tmp_path)  # a folder; checked when the run is queued
        return
    with pytest.raises(RecipeError, match=r"no folder .*, and it is not a valid hub id"):
        resolve_text(text, cwd=tmp_path)


def test_a_folder_that_looks_like_a_hub_id_is_the_folder(tmp_path):
    text = "recipe: 1\nextends: lora\nmodel: {id: tiny/llama}\n"
    assert resolve_text(text, cwd=tmp_path).recipe.model.id == "tiny/llama"
    (tmp_path / "tiny" / "llama").mkdir(parents=True)
    (tmp_path / "tiny" / "llama" / "config.json").write_text("{}")
    assert resolve_text(text, cwd=tmp_path).recipe.model.id == str(tmp_path / "tiny" / "llama")


ROWS = "recipe: 1\nname: x\ndata: {train: [{path: /rows.jsonl}]}\n"


def hint_of(key: str, value: str = "1") -> str:
    problems = find_problems(ROWS, [f"{key}={value}"], Path("/nowhere"))
    (hint,) = (error.hint for error in problems if error.key == key)
    return hint


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lr", "train.learning_rate"), ("train.lr", "learning_rate"), ("method.lr", "train.learning_rate"),
        ("learningrate", "train.learning_rate"), ("train.Learning-Rate", "learning_rate"),
        ("bs", "train.batch_size"), ("batch", "train.batch_size"), ("train.batch", "batch_size"),
        ("epochs", "train.epochs"), ("num_train_epochs", "train.epochs"), ("steps", "train.max_steps"),
        ("rank", "method.rank"), ("r", "method.rank"), ("method.r", "rank"), ("method.lora_r", "rank"),
        ("train.rank", "method.rank"), ("alpha", "method.alpha"), ("dropout", "method.dropout"),
        ("model_name_or_path", "model.id"), ("base_model", "model.id"), ("dataset", "data.train"),
        ("seq_len", "data.max_tokens"), ("max_length", "data.max_tokens"), ("data.max_length", "max_tokens"),
        ("wd", "train.weight_decay"), ("train.decay", "weight_decay"), ("warmup", "train.warmup_steps"),
        ("seed", "train.seed"), ("suite", "check.general.suite"),
    ],
)  # fmt: skip
def test_what_other_programs_call_a_setting_leads_to_it(typed: str, meant: str) -> None:
    assert hint_of(typed) == f"Did you mean {meant}?"


@pytest.mark.parametrize(("key", "meant"), [("model", "model.id"), ("data", "data.train")])
def test_a_text_in_place_of_a_section_leads_to_its_main_setting(key: str, meant: str) -> None:
    assert hint_of(key, "gpt2") == f"Did you mean {meant}?"


@pytest.mark.parametrize(
    ("typed", "command"), [("train.zzz", "`finetop recipe train`"), ("zzz", "`finetop recipe`")]
)
def test_what_is_near_to_nothing_gets_a_short_list_and_the_command_for_all(typed: str, command: str) -> None:
    hint = hint_of(typed)
    assert hint.startswith("Options: a") and hint.endswith(f"more, see {command}.")
    assert hint.count(",") == 8


def test_each_name_leads_to_a_setting_that_is_there() -> None:
    keys = {field.key for field in fields()}
    sections = {key[:at] for key in keys for at, letter in enumerate(key) if letter == "."}
    assert not OTHER_NAMES.keys() - keys - sections
    names = [folded_name(name) for others in OTHER_NAMES.values() for name in others.split()]
    names += [folded_name(key.rpartition(".")[2]) for key in OTHER_NAMES]
    assert len(names) == len(set(names))
