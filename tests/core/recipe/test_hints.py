"""Hints work: after doing what a hint says, in the recipe or by --set, its error is gone.

The hints are collected from the source: one that no case here reaches fails the last test.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetop.core.recipe.fields import fields
from finetop.core.recipe.load import find_problems

CORE = Path(__file__).parents[3] / "core"
RULES = ("cross_checks", "parallel", "protections", "raw_options")
ASKED = [*(CORE / "recipe" / f"{name}.py" for name in RULES), CORE / "train" / "rewards" / "__init__.py"]
ASKED += sorted(
    path for room in ("objectives", "protections") for path in (CORE / "train" / room).glob("*.py")
)

ROWS = "data: {train: [{path: /rows.jsonl}]}\n"
TARGET = "check: {target: {path: /t.jsonl, metric: "
FSDP = "budget: {gpus: 2}\nextends: full\n"

# A recipe with an error; and, if its hint leaves the value to the reader, what a reader would write.
CASES: list[tuple[str, list[list[str]]]] = [
    ("model: {quantize: nf4}\nmethod: {name: full}\n", []),
    ("method: {name: loftq}\n", []),
    ("method: {name: prefix-tuning}\ntrain: {activation_checkpointing: true}\n", []),
    ("method: {name: p-tuning}\nobjective: {name: sft, packing: true}\n", []),
    ("extends: reward\ncheck: {general: {suite: quick}}\n", []),
    ("model: {engine: vllm, quantize: nf4}\n", []),
    ("model: {engine: vllm}\nmethod: {name: p-tuning}\n", []),
    ("model: {engine: vllm}\nbudget: {gpus: 2}\n", []),
    ("model: {id: 'no such/folder/here'}\n", [["model.id=org/name"], ["model.id=/folder"]]),
    ("train: {epochs: null}\n", [["train.epochs=1"], ["train.max_steps=5"]]),
    ("data: {train: [{path: /r}], eval: [{path: /r, share: 0.1}]}\n", []),
    ("data: {train: [{path: /r, share: 0.5}, {path: /s, share: 0.4}]}\n", []),
    ("data: {train: [{path: /r, share: 0.5}, {path: /s, share: 0.7}, {path: /t}]}\n", [["data.train[0].share=0.1"]]),
    ("data: {train: [{path: /r, format: mesages}]}\n", [["data.train[0].format=messages"]]),
    ("data: {train: [{rows: 3}]}\n", [["data.train[0].path=/r"], ["data.train[0].id=org/r"]]),
    ("data: {train: [{path: /r, id: org/r}]}\n", [["data.train[0].path="], ["data.train[0].id="]]),
    ("data: {train: [{path: /r, split: test}]}\n", []),
    ("check: {general: null, every: 0.5}\n", [["check.general={suite: quick}"], ["check.every="]]),
    ("check: {on_fail: stop}\n", [["check.every=0.25"]]),
    (TARGET + "rules}}\n", [["check.target.rules=[{rule: one_word}]"]]),
    (TARGET + "token_f1, rules: [{rule: one_word}]}}\n", [["check.target.metric=rules"], ["check.target.rules=[]"]]),
    (TARGET + "rules, rules: [{rule: one_wrd}]}}\n", [["check.target.rules[0].rule=one_word"]]),
    ("ask: {search: dense, documents: [/docs]}\n",
     [["ask.embedder=minishlab/potion-retrieval-32M"], ["ask.search=bm25"]]),
    ("ask: {chunk_words: 50, overlap_words: 50}\n", [["ask.overlap_words=10"]]),
    # stopping early
    ("train: {stop_early: {metric: target}}\ncheck: {every: 0.25}\n", [["check.target={path: /t.jsonl}"]]),
    ("train: {stop_early: {metric: target}}\ncheck: {target: {path: /t.jsonl}}\n", []),
    ("train: {stop_early: {metric: target}}\ncheck: {general: null, target: {path: /t.jsonl}}\n", []),
    ("train: {stop_early: {metric: reward}}\n", []),
    ("extends: grpo\ntrain: {stop_early: {metric: eval_loss}}\n", []),
    ("data: {train: [{path: /r}], eval: {share: 0}}\ntrain: {keep: best}\n", []),
    ("train: {keep: best}\ncheck: {every: 0.25, on_fail: keep-best}\n", []),
    ("approaches: {only: [promt]}\n", [["approaches.only=[prompt]"]]),
    (TARGET + "token_f1}}\napproaches: {metric: exact_match}\n", [["approaches.metric=token_f1"],
     ["check.target.metric=[token_f1, exact_match]"]]),
    ("budget: {nodes: 2}\n", [["budget.gpus=8"], ["budget.gpus=0"]]),
    ("budget: {nodes: 2, gpus: 3}\n", [["budget.gpus=4"]]),
    # another program's training
    ("command: {run: []}\n", [["command.run=[python, train.py]"]]),
    ("command: {run: [ls], shell: ls}\n", [["command.shell="]]),
    ("extends: lora\ncommand: [ls]\n", [["command="]]),
    ("command: {run: [ls], values: {lr: 1}}\n", [["command.run=[ls, '{lr}']"]]),
    ("command: {run: [ls], pattern: '(a+)+(?P<loss>b)'}\n", [["command.pattern=loss (?P<loss>.+)"]]),
    ("command: {run: [ls], env: {'A=B': x}}\n", [["command.env={A: x}"]]),
    ("command: {run: [ls], metrics: ['csv:']}\n", [["command.metrics=[csv]"], ["command.metrics=['csv:a.csv']"]]),
    ("command: {run: [ls], env: {CUDA_VISIBLE_DEVICES: 0}}\n", [["command.env={}"]]),
    ("command: [ls]\nmodel: {id: 'run:other'}\n", [["model.id=/folder"]]),
    ("command: [ls]\ncheck: {every: 0.5}\n", []),
    ("command: [ls]\ntrain: {keep: best}\n", [["train.keep=newest"]]),
    # several GPUs
    ("extends: ppo\nbudget: {gpus: 2}\n", []),
    ("extends: distill\nmethod: {name: full}\nobjective: {teacher: org/t}\nbudget: {gpus: 2}\n", []),
    ("train: {compile: true}\nbudget: {gpus: 2}\n", []),
    ("protect: {l2_sp: 1}\nbudget: {gpus: 2}\n", []),
    (FSDP + "protect: {mask_surprising: 2.5}\n", []),
    (FSDP + "train: {master: stochastic}\n", []),
    ("method: {name: dora}\ntrain: {parallel: fsdp}\nbudget: {gpus: 2}\n", []),
    ("model: {quantize: int8}\ntrain: {parallel: fsdp}\nbudget: {gpus: 2}\n", []),
    ("train: {parallel: fsdp, optimizer: adafactor}\nbudget: {gpus: 2}\n", []),
    # protections
    ("extends: pretrain\nprotect: {l2_sp: 1}\n", []),
    ("extends: reward\nprotect: {kl_to_base: 1}\n", []),
    ("extends: ppo\nprotect: {kl_to_base: 1}\n", []),
    ("protect: {kl_to_base: {on: rows}}\n", [["protect.kl_to_base="], ["protect.kl_to_base.weight=1"]]),
    ("protect: {ewc: 100}\n", []),
    ("extends: full\nprotect: {freeze_layers: {layers: [1, 1, 0]}}\n", [["protect.freeze_layers.layers=[0, 1]"]]),
    ("method: {name: p-tuning}\nprotect: {freeze_layers: [1]}\n", []),
    ("protect: {kl_to_base: {weight: 1, on: rows, text: /t.txt}}\n", []),
    ("extends: dpo\nprotect: {loss_adaptive_lr: 2}\n", []),
    ("extends: dpo\nprotect: {mask_surprising: 2.5}\n", []),
    ("protect: {replay: {share: 0.1}}\n",
     [["protect.replay.path=/r.jsonl"], ["protect.replay.from_base=9"]]),
    ("protect: {replay: {path: /r.jsonl, from_base: 9}}\n", []),
    ("protect: {replay: {path: /r.jsonl, prompts: /p.jsonl}}\n", []),
    ("data: {train: [{path: /r}, {path: /s, share: 0.5}]}\nprotect: {replay: {path: /g.jsonl, share: 0.6}}\n",
     [["protect.replay.share=0.4"]]),
    ("extends: dpo\nprotect: {replay: {from_base: 9}}\n",
     [["protect.replay.path=/r.jsonl", "protect.replay.from_base="]]),
    ("extends: continued-pretraining\nprotect: {replay: {from_base: 9, prompts: /p.jsonl}}\n", []),
    # options of the trainer
    ("trainer_args: {learning_rate: 1e-5}\n", [["trainer_args={}", "train.learning_rate=1e-5"]]),
    ("trainer_args: {max_seq_length: 99}\n", [["trainer_args={}", "data.max_tokens=99"]]),
    ("trainer_args: {group_by_length: true}\n", [["trainer_args={train_sampling_strategy: group_by_length}"]]),
    ("trainer_args: {report_to: none}\n", [["trainer_args={}"]]),
    ("trainer_args: {fsdp: full}\n", [["trainer_args={}", "budget.gpus=2", "train.parallel=fsdp"]]),
    ("trainer_args: {auto_find_batch_size: true}\n",
     [["trainer_args={}", "train.batch_size=2", "train.grad_accumulation=2"]]),
    # objectives
    ("extends: ppo\nmethod: {name: p-tuning}\n", []),
    ("extends: grpo\nobjective: {generations: 7}\n", []),
    ("extends: distill\nobjective: {teacher: ''}\n", [["objective.teacher=org/larger"]]),
    ("extends: dpo\nobjective: {loss: [sigmoid, sft], loss_weights: [1]}\n", [["objective.loss_weights=[1, 2]"]]),
    ("extends: dpo\nobjective: {loss: []}\n", []),
    ("extends: dpo\nobjective: {loss: exo_pair}\n", []),
    ("extends: kto\ntrain: {batch_size: 1}\n", []),
    ("extends: ppo\nmethod: {dropout: 0.1}\n", []),
    ("extends: pretrain\nmethod: {name: lora}\n", []),
    ("extends: pretrain\nmodel: {quantize: nf4}\n", []),
    ("extends: pretrain\nobjective: {heads: 7, hidden_size: 64}\n", [["objective.heads=4"]]),
    ("extends: pretrain\nobjective: {heads: 8, hidden_size: 64, key_value_heads: 3}\n",
     [["objective.key_value_heads=2"]]),
    ("extends: reward\nmethod: {name: p-tuning}\n", []),
    ("extends: reward\ncheck: {target: {path: /t.jsonl}}\n", []),
    # rewards
    ("extends: ppo\nobjective: {reward: {rules: []}}\n",
     [["objective.reward.rules=[{rule: exact_match}]"], ["objective.reward.model=run:judge"]]),
    ("extends: ppo\nobjective: {reward: {model: 'run:j', weight: 0, rules: [{rule: one_word}]}}\n", []),
    ("extends: ppo\nobjective: {reward: {rules: [{rule: one_wrd}]}}\n", [["objective.reward.rules[0].rule=one_word"]]),
    ("extends: ppo\nobjective: {reward: {rules: [{rule: length}]}}\n", [["objective.reward.rules[0].value=[1, 9]"]]),
    ("extends: ppo\nobjective: {reward: {rules: [{rule: one_word, weight: 0}]}}\n", []),
]  # fmt: skip

KEY = r"(?:it|[a-z_]\w*(?:\.\w+|\[\d+\])+)"
VALUE = r"(?:\[[^\]]*\]|[\w.-]*\w)"
SET = re.compile(rf"\b(?:[Ss]et|or|and) ({KEY}) to (?:or to )?({VALUE}(?:(?: or |, or to ){VALUE})*)")
NO_VALUES = ("a", "rows", "one")  # "to a .jsonl file": the reader's own value


def advice(hint: str, key: str) -> list[list[str]]:
    """Parse what a hint says to set: a list of alternatives, each as --set texts."""
    alternatives: list[list[str]] = []
    for clause in re.split(r", or (?!to )|; ", hint):
        matches = SET.findall(clause if re.match(r"[Ss]et ", clause) else f"set {clause}")
        named = [
            (key if name == "it" else name, values) for name, values in matches if values not in NO_VALUES
        ]
        sets = [[f"{name}={value}" for value in re.split(r" or |, or to ", values)] for name, values in named]
        if len(sets) == 1:
            alternatives += [[setting] for setting in sets[0]]
        elif sets:
            alternatives.append([values[0] for values in sets])
    return alternatives


def problems(text: str, sets: list[str] | None = None) -> dict[str, tuple[str, str]]:
    """Return what is wrong with a recipe: {message: (key, hint)}."""
    errors = find_problems(f"recipe: 1\nname: x\n{text}", sets or [], Path("/nowhere"))
    return {error.message.partition(": ")[2]: (error.key, error.hint) for error in errors}


def written(text: str, sets: list[str]) -> str:
    """Write the settings into the recipe itself, as with an editor."""
    recipe: dict[str, Any] = yaml.safe_load(text) or {}
    for setting in sets:
        key, _, value = setting.partition("=")
        *above, last = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", key)]
        place: Any = recipe
        for part in above:
            if isinstance(place, dict) and not isinstance(place.get(part), dict | list):
                place[part] = {}
            place = place[part]
        place[last] = yaml.safe_load(value)
        if key == "method.name":
            recipe["method"] = {"name": yaml.safe_load(value)}  # another method has other options
    return yaml.safe_dump(recipe, sort_keys=False)


@cache
def reached() -> tuple[str, ...]:
    return tuple(hint for text, _ in CASES for _, hint in problems(with_rows(text)).values())


def with_rows(text: str) -> str:
    return text if "data:" in text else text + ROWS


@pytest.mark.parametrize(("text", "done"), CASES, ids=[text.replace("\n", " ")[:70] for text, _ in CASES])
def test_what_a_hint_says_can_be_done_and_helps(text: str, done: list[list[str]]) -> None:
    text = with_rows(text)
    problem_found = problems(text)
    assert problem_found, "the case is fine as it is"
    (message, (key, hint)), *_ = problem_found.items()
    said = advice(hint, key)
    for sets in done:  # the hint names what a reader writes, by its key or the last part of it
        names = {one: re.escape(one.partition("=")[0].rpartition(".")[2]) for one in sets}
        is_named = [
            one.startswith((key, "trainer_args")) or re.search(rf"\b{name}\b|Did you mean|it\b|takes", hint)
            for one, name in names.items()
        ]
        assert sets in said or all(is_named), (hint, sets)
    assert said or done, f"nothing to do is read in: {hint}"
    for sets in [*said, *(sets for sets in done if sets not in said)]:
        assert message not in problems(text, sets), (hint, sets)
        assert message not in problems(written(text, sets)), (hint, sets)
        new = {one: hints for one, hints in problems(text, sets).items() if one not in problem_found}
        assert not new, (hint, sets, new)


def test_a_slip_in_any_setting_is_put_right_by_its_hint() -> None:
    tried = 0
    for field in fields():
        above, _, name = field.key.rpartition(".")
        if "[" in field.key or not above or len(name) < 5:
            continue
        slip = f"{above}.{name[:2]}{name[3:]}"
        (hint,) = (hint for key, hint in problems(with_rows(""), [f"{slip}=1"]).values() if key == slip)
        assert hint == f"Did you mean {name}?", slip
        tried += 1
    assert tried > 90


def hints_of(path: Path) -> list[tuple[str, str]]:
    """Return the hints of a module that yields problems as (key, message, hint): place, and a pattern of the text."""
    hints = []
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        named: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                sides = [
                    side.elts if isinstance(side, ast.Tuple) else [side]
                    for side in (node.targets[0], node.value)
                ]
                for target, value in zip(*sides, strict=False):
                    named.setdefault(getattr(target, "id", ""), []).append(value)
        yields = [node.value for node in ast.walk(function) if isinstance(node, ast.Yield)]
        for hint in [each.elts[2] for each in yields if isinstance(each, ast.Tuple) and len(each.elts) == 3]:
            for one in named.get(hint.id, []) if isinstance(hint, ast.Name) else [hint]:
                parts = [one.body, one.orelse] if isinstance(one, ast.IfExp) else [one]
                places = {f"{path.name}:{part.lineno}": pattern_of(part) for part in parts}
                hints += [(place, pattern) for place, pattern in places.items() if pattern]
    return hints


def pattern_of(node: ast.expr) -> str:
    """Return a pattern for the value of a literal text; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        constants = (part.value if isinstance(part, ast.Constant) else None for part in node.values)
        return "".join(".+" if text is None else re.escape(str(text)) for text in constants)
    return ""


# Hints that name no setting.
FREE = {"Write a simpler pattern."}


@pytest.mark.parametrize("path", ASKED, ids=lambda path: path.stem)
def test_every_hint_is_reached_by_a_case(path: Path) -> None:
    missed = [
        (where, pattern)
        for where, pattern in hints_of(path)
        if pattern not in {re.escape(text) for text in FREE}
        and not any(re.fullmatch(pattern, hint) for hint in reached())
    ]
    assert not missed
