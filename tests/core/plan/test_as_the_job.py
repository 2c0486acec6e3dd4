"""A plan's rows, tokens, sequences and steps equal the job's: 36 recipes of all objectives, three chat templates.

The job's values are made here by its own functions, with transformers' tokenizer and TRL's packing.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_run import of, read_events, write_rows

from finetop.core.data import training_set
from finetop.core.data.examples import through_model
from finetop.core.data.prompts import open_asker
from finetop.core.errors import BadInput
from finetop.core.models.resolved import ResolvedModel
from finetop.core.plan import lengths, schedule
from finetop.core.protocol.events import DataRead, FirstRow
from finetop.core.recipe import protections as recipe_protections
from finetop.core.recipe.length import count_steps, packs
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.train import objectives

# SmolLM2's: an added system turn precedes each conversation.
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{- bos_token }}{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim }}<|eot_id|>"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
TEMPLATES = {"chatml": CHATML, "llama3": LLAMA3, "none": None}
WORDS = (
    "shop", "opens", "at nine", "and", "closes at", "six", "mend radios,", "lamps", "behind old mill.",
    "Ähre", "1234",
)  # fmt: skip
REWARD = {"rules": [{"rule": "length", "value": [1, 9]}]}
CALL = {"function": {"name": "look_up", "arguments": {"what": "hours"}}}
TOOLS = [
    {"name": "look_up", "description": "Looks up hours.", "parameters": {"type": "object", "properties": {}}}
]


def random_text(drawn: random.Random, most: int) -> str:
    return " ".join(drawn.choices(WORDS, k=drawn.randint(1, most)))


def chat(drawn: random.Random, most: int = 12) -> dict[str, Any]:
    turns = [{"role": "system", "content": random_text(drawn, 5)}] if drawn.random() < 0.3 else []
    for _ in range(drawn.randint(1, 3)):
        turns.append({"role": "user", "content": random_text(drawn, most)})
        turns.append({"role": "assistant", "content": random_text(drawn, most)})
    return {"messages": turns}


def with_tools(drawn: random.Random) -> dict[str, Any]:
    turns = [
        {"role": "user", "content": random_text(drawn, 9)},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": random_text(drawn, 4)},
        {"role": "assistant", "content": random_text(drawn, 9)},
    ]
    return {"messages": turns, "tools": TOOLS}


def plain(drawn: random.Random) -> dict[str, Any]:
    return {"prompt": random_text(drawn, 12), "completion": random_text(drawn, 25)}


def long_chat(drawn: random.Random) -> dict[str, Any]:
    return chat(drawn, 60)


def text(drawn: random.Random) -> dict[str, Any]:
    return {"text": random_text(drawn, 120)}


def pair(drawn: random.Random) -> dict[str, Any]:
    return {key: random_text(drawn, most) for key, most in (("prompt", 9), ("chosen", 20), ("rejected", 40))}


def labelled(drawn: random.Random) -> dict[str, Any]:
    row = {"prompt": random_text(drawn, 9), "completion": random_text(drawn, 20)}
    return {**row, "label": drawn.random() < 0.5}


def random_conversation(drawn: random.Random) -> dict[str, Any]:
    return {"prompt": random_text(drawn, 30), "answer": random_text(drawn, 2)}


def case(objective: str, *rows: Any, data: Any = None, train: Any = None, **more: Any) -> dict[str, Any]:
    """Describe a recipe: an objective, the kinds of rows of its sources, and other sections."""
    section = {"name": objective, **more.pop("options", {})}
    return {"objective": section, "rows": rows, "data": data or {}, "train": train or {}, **more}


DROP, CUT = {"on_long": "drop", "max_tokens": 250}, {"on_long": "truncate", "max_tokens": 250}
NO_EVAL = {"eval": {"share": 0}}
SHARES = {"shares": [None, 0.3]}
WRITE = {"reward": REWARD, "generations": 4, "max_new_tokens": 8}
CASES = {
    "sft": case("sft", chat),
    "sft-plain": case("sft", plain, data=NO_EVAL),
    "sft-all": case("sft", chat, options={"loss": "all"}, train={"epochs": 1.5}),
    "sft-tools": case("sft", with_tools, data={"max_tokens": 2000}),
    "sft-long-dropped": case("sft", long_chat, data=DROP),
    "sft-long-cut": case("sft", long_chat, data=CUT),
    "sft-two": case("sft", chat, plain, data={"max_tokens": 900}),
    "sft-shares": case("sft", chat, plain, data={**SHARES, **DROP}),
    "sft-share-of-few": case("sft", chat, plain, data={"shares": [None, 0.8]}),
    "sft-replay-source": case("sft", chat, plain, data={**SHARES, "roles": ["train", "replay"]}),
    "sft-replay-file": case("sft", chat, replay={"kind": plain, "share": 0.25}),
    "sft-packed": case("sft", chat, options={"packing": True}),
    "sft-packed-cut": case("sft", long_chat, chat, options={"packing": True}, data=CUT),
    "sft-packed-shares": case("sft", chat, plain, options={"packing": True}, data={**SHARES, **DROP}),
    "sft-packed-replay": case("sft", chat, options={"packing": True}, replay={"kind": chat, "share": 0.2}),
    "sft-some-rows": case("sft", chat, data={"take": 30}),
    "sft-max-steps": case("sft", chat, train={"epochs": None, "max_steps": 7}),
    "sft-ask": case("sft", plain, ask={"system": "Answer as the shop would."}),
    "sft-documents": case("sft", plain, documents=True, data={"max_tokens": 2000}),
    "sft-own-eval": case("sft", chat, own_eval=plain),
    "cpt": case("continued-pretraining", text),
    "cpt-unpacked": case("continued-pretraining", text, options={"packing": False}, data={"max_tokens": 64}),
    "cpt-short": case("continued-pretraining", text, options={"end_of_text": False}, data={"max_tokens": 50}),
    "pretrain": case("pretrain", text, data={"max_tokens": 64}, train={"epochs": 2}, options={"vocabulary": 320}),
    "pretrain-chats": case("pretrain", chat, options={"vocabulary": 330, "packing": False}),
    "pretrain-reuse": case("pretrain", text, options={"tokenizer": "reuse"}, data={"max_tokens": 64}),
    "reward": case("reward", pair),
    "dpo": case("dpo", pair, data={"max_tokens": 900}),
    "dpo-cut": case("dpo", pair, pair, data=CUT),
    "kto": case("kto", labelled),
    "kto-pairs": case("kto", pair, data=DROP),
    "orpo": case("orpo", pair, data={**SHARES}, train={"epochs": 3}),
    "distill": case("distill", chat, options={"teacher": "org/teacher"}),
    "ppo": case("ppo", random_conversation, options={"reward": REWARD, "max_new_tokens": 8, "passes": 2}),
    "rloo": case("rloo", random_conversation, options=WRITE),
    "grpo": case("grpo", chat, random_conversation, options={**WRITE, "passes": 2}, data=CUT),
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the tiny model's tokenizer with each of the templates; Llama's begins texts with its own token."""
    folders = {}
    for name, template in TEMPLATES.items():
        folder = tmp_path_factory.mktemp(name) / "model"
        shutil.copytree(tiny_model, folder)
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config.pop("chat_template", None)
        if name == "llama3":
            config["bos_token"] = "<|tool|>"
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        folders[name] = folder
    return folders


def recipe_of(described: dict[str, Any], folder: Path, model: Path) -> Any:
    drawn = random.Random(repr(sorted(described["objective"])))

    def write(name: str, kind: Any, count: int) -> str:
        return str(write_rows(folder / name, (kind(drawn) for _ in range(count))))

    data = dict(described["data"])
    shares, roles = data.pop("shares", (None, None)), data.pop("roles", ("train", "train"))
    take = data.pop("take", None)
    sources = [
        {
            "path": write(f"{at}.jsonl", kind, 60 - 20 * at),
            "share": shares[at],
            "role": roles[at],
            "rows": take,
        }
        for at, kind in enumerate(described["rows"])
    ]
    data = {"train": sources, "max_tokens": 700, "on_long": "error-over-5%", **data}
    whole = {
        "recipe": 1, "name": "tiny", "model": {"id": str(model)},
        "method": {"name": "full" if described["objective"]["name"] == "pretrain" else "lora"},
        "objective": described["objective"], "data": data,
        "train": {"epochs": 2.0, "batch_size": 4, "grad_accumulation": 2, **described["train"]},
        "check": {"general": None}, "ask": described.get("ask", {}),
    }  # fmt: skip
    if "own_eval" in described:
        data["eval"] = [{"path": write("eval.jsonl", described["own_eval"], 9)}]
    if "replay" in described:
        path = write("replay.jsonl", described["replay"]["kind"], 30)
        whole["protect"] = {"replay": {"path": path, "share": described["replay"]["share"]}}
    if "documents" in described:
        (folder / "notes.md").write_text("\n\n".join(random_text(drawn, 90) for _ in range(20)))
        whole["ask"] = {"documents": [str(folder / "notes.md")], "chunk_words": 30, "overlap_words": 5}
    return resolve_text(json.dumps(whole)).recipe


def prepared(recipe: Any, model: Path, folder: Path) -> SimpleNamespace:
    """Make the examples and events of a recipe as its job does (core/train/train.py), and the packed data set."""
    from datasets import Dataset, disable_progress_bars
    from trl import pack_dataset

    disable_progress_bars()
    home, log = Home(folder / "home"), EventLog(folder / "events.jsonl")
    objective = objectives.load(recipe.objective.name)
    asker = open_asker(recipe.ask, recipe.data.train, home, shots=False)
    data, seed = recipe_protections.with_sources(recipe), recipe.train.seed
    rows = training_set.read(data, seed, home, log, objective.rows, None, asker)
    base = ResolvedModel(recipe.model.id, model, None, None, "", "")
    tokenizer = objective.make_tokenizer(recipe.objective.options, base, rows)
    options, most = recipe.objective.options, recipe.data.max_tokens

    def make(some: Any) -> Any:
        return objective.examples(some, options, tokenizer, most)

    examples = training_set.build(rows, recipe.data, make, seed, tokenizer, log)
    log.close()
    number = len(examples.train)
    if packs(recipe):
        ids = [example.columns()["input_ids"] for example in examples.train]
        number = len(pack_dataset(Dataset.from_dict({"input_ids": ids, "labels": ids}), most, "bfd"))
    happened = read_events(folder)
    return SimpleNamespace(
        train=examples.train,
        eval=examples.eval,
        sequences=number if packs(recipe) else None,
        steps=count_steps(recipe.train, number * objective.copies(options)),
        reports=tuple(of(DataRead, happened)),
        row=tuple(of(FirstRow, happened)[0].pieces),
    )


# One of each kind of rows that a template renders; the other pairs are for the slow tests.
RENDERED = {"sft", "sft-plain", "sft-all", "sft-tools", "sft-long-cut", "dpo-cut", "kto", "ppo", "grpo"}


@pytest.mark.parametrize(
    ("name", "template"),
    [
        pytest.param(name, text, marks=() if text == "chatml" or name in RENDERED else pytest.mark.slow)
        for name in CASES
        for text in TEMPLATES
    ],
)
def test_a_plan_is_what_the_job_makes(name, template, models, tmp_path, capsys):
    model = models[template]
    recipe = recipe_of(CASES[name], tmp_path, model)
    real = prepared(recipe, model, tmp_path)
    capsys.readouterr()
    planned = lengths.measure(recipe, model, Home(tmp_path / "home"), seconds=1e9)
    assert capsys.readouterr().out == ""  # a plan prints nothing itself
    assert planned is not None and planned.is_whole and planned.how == "by its tokenizer"
    assert planned.reports == real.reports
    assert planned.row == real.row
    assert (planned.rows, planned.eval_rows) == (len(real.train), len(real.eval))
    assert planned.tokens == sum(map(through_model, real.train))
    assert planned.eval_tokens == sum(map(through_model, real.eval))
    assert planned.answer_tokens == sum(example.answer_tokens for example in real.train)
    assert planned.longest == max(report.longest_tokens for report in real.reports)
    assert planned.longest_kept == max(example.tokens for example in (*real.train, *real.eval))
    assert planned.sequences == real.sequences
    assert schedule.steps_of(recipe, planned, 1).steps == real.steps


EXACT = {"rules": [{"rule": "exact_match"}]}


def unanswered(_: random.Random) -> dict[str, Any]:
    return {"prompt": "Why?"}


def assert_refused_alike(recipe: Any, model: Path, folder: Path, match: str | None = None) -> None:
    """Require that the plan refuses a recipe with the job's words."""
    with pytest.raises(BadInput, match=match) as of_job:
        prepared(recipe, model, folder)
    with pytest.raises(BadInput) as of_plan:
        lengths.measure(recipe, model, Home(folder / "home"))
    assert (str(of_plan.value), type(of_plan.value)) == (str(of_job.value), type(of_job.value))


REFUSED = {
    "too long": case("sft", long_chat, data={"max_tokens": 100}),
    "nothing left": case("sft", chat, plain, data={"max_tokens": 8, "on_long": "drop"}),
    "nothing to evaluate on": case("sft", plain, own_eval=long_chat, data={"max_tokens": 180, "on_long": "drop"}),
    "other rows": case("dpo", chat),
    "a row's key": case("kto", random_conversation),
    "no answer": case("grpo", plain, unanswered, options={**WRITE, "reward": EXACT}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_plan_refuses_with_the_job_s_words(name, models, tmp_path):
    model = models["chatml"]
    assert_refused_alike(recipe_of(REFUSED[name], tmp_path, model), model, tmp_path)


def test_a_row_that_the_template_refuses_is_named_as_by_the_job(models, tmp_path):
    model = Path(shutil.copytree(models["llama3"], tmp_path / "model"))
    template = "{% if messages|length > 5 %}{{ raise_exception('too many turns') }}{% endif %}" + LLAMA3
    (model / "chat_template.jinja").write_text(template)
    assert_refused_alike(recipe_of(CASES["sft"], tmp_path, model), model, tmp_path, "too many turns")


def test_rows_were_dropped_cut_repeated_and_packed_in_these_recipes(models, tmp_path):
    """The recipes above would prove little if nothing happened to their rows."""
    seen = {}
    for name in ("sft-long-dropped", "sft-long-cut", "sft-share-of-few", "sft-packed-shares"):
        recipe = recipe_of(CASES[name], tmp_path, models["chatml"])
        seen[name] = lengths.measure(recipe, models["chatml"], Home(tmp_path / "home"))
    dropped, cut, few, packed = seen.values()
    assert dropped and dropped.reports[0].dropped > 5
    assert cut and cut.reports[0].truncated > 5
    assert few and few.rows > 54 + 40
    assert packed and packed.sequences and packed.sequences < packed.rows
