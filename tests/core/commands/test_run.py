"""`finetop run` refuses at once what the job would, with the same message; --force queues it anyway."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from msgspec import structs

from finetop.core.client.connection import Client
from finetop.core.commands.main import main
from finetop.core.models.resolved import Moving
from finetop.core.plan import ahead, lengths, machine
from finetop.core.plan.shape import read_shape
from finetop.core.protocol.messages.runs import Runs
from finetop.core.recipe.load import load_recipe
from finetop.core.runtime.gpu import Gpu
from finetop.core.runtime.home import Home

PLAIN = {"prompt": "What opens at nine?", "completion": "The shop opens at nine."}
CHOICE = {"question": "Two and two?", "choices": ["four", "five"], "answer": 0}


class Folder:
    """A folder with a recipe for the tiny model, whose sections and files a test changes."""

    def __init__(self, root, model):
        self.root = root
        self.write("rows.jsonl", [PLAIN] * 20)
        self.recipe: dict[str, Any] = {
            "recipe": 1,
            "name": "mine",
            "model": {"id": str(model)},
            "method": {"name": "lora"},
            "objective": {"name": "sft"},
            "data": {"train": [{"path": self.at("rows.jsonl")}], "max_tokens": 200},
            "check": {"at_end": True, "general": None},
        }

    def at(self, name):
        return str(self.root / name)

    def write(self, name, rows):
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        (self.root / name).write_text(text)
        return self.at(name)

    def file(self, **sections):
        whole = {
            name: {**self.recipe.get(name, {}), **section} if isinstance(section, dict) else section
            for name, section in {**self.recipe, **sections}.items()
        }
        (self.root / "mine.yaml").write_text(json.dumps(whole))
        return self.at("mine.yaml")


@pytest.fixture
def folder(tmp_path, tiny_model, monkeypatch):
    monkeypatch.setenv("FINETOP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(machine, "gpus", lambda: ())
    return Folder(tmp_path, tiny_model)


OWN = json.dumps({"suite": 1, "name": "own", "tasks": [{"data": "items.jsonl"}]})
BY_RULE = {"name": "grpo", "reward": {"rules": [{"rule": "exact_match"}]}}
BAD_ROW = {"rows.jsonl": [PLAIN] * 5 + [{"prompt": "Why?", "completion": 5}]}
REFUSED = {  # files, sections of the recipe (@ is the folder), what is said
    "a long row": (
        {"rows.jsonl": [PLAIN] * 5 + [{"prompt": "Why?", "completion": "so " * 500}] * 5},
        {"data": {"eval": {"share": 0.1}}},
        "rows are longer than data.max_tokens (200); the longest has",
    ),
    "a bad row": (BAD_ROW, {}, "rows.jsonl:6: completion is a number; it must be text."),
    "other columns": (
        {"rows.jsonl": [{"first": "a", "second": "b"}] * 5},
        {},
        "rows.jsonl:1: no format fits a row with first, second.",
    ),
    "a bad eval row": (
        {"eval.jsonl": [PLAIN, {"prompt": "Why?"}]},
        {"data": {"eval": [{"path": "@eval.jsonl"}]}},
        "eval.jsonl:2: completion is missing.",
    ),
    "a bad replay row": (
        {"replay.jsonl": [{"chosen": "a"}]},
        {"protect": {"replay": {"path": "@replay.jsonl"}}},
        "replay.jsonl:1: no format fits a row with chosen.",
    ),
    "a bad prompt of replay": (
        {"prompts.jsonl": [{"text": "a"}]},
        {"protect": {"replay": {"from_base": 5, "prompts": "@prompts.jsonl"}}},
        "prompts.jsonl:1: no format fits a row with text.",
    ),
    "a bad suite row": (
        {"items.jsonl": [CHOICE] * 3 + [{**CHOICE, "answer": 7}], "own.yaml": OWN},
        {"check": {"general": {"suite": "@own.yaml"}}},
        "items.jsonl:4: answer is 7, and there are 2 choices.",
    ),
    "no file of the suite": (
        {"own.yaml": OWN},
        {"check": {"general": {"suite": "@own.yaml"}}},
        "data: there is no file",
    ),
    "no such suite": ({}, {"check": {"general": {"suite": "quik"}}}, "there is no suite 'quik'."),
    "a bad target row": (
        {"test.jsonl": [PLAIN, {"prompt": "Why?", "completion": ""}]},
        {"check": {"target": {"path": "@test.jsonl"}}},
        "test.jsonl:2: completion is empty.",
    ),
    "no answer for a reward": (
        {"rows.jsonl": [{"prompt": "Two and two?"}] * 20},
        {"objective": BY_RULE, "data": {"train": [{"path": "@rows.jsonl"}], "max_tokens": 200}},
        "rows.jsonl:1: answer is missing, and the rule exact_match compares with it.",
    ),
    "an unknown split": (
        {},
        {"data": {"train": [{"id": "@set", "split": "tests"}]}},
        "has no split tests. There is train.",
    ),
    "a template that refuses": (
        {"odd.jinja": "{{ raise_exception('never') }}"},
        {"model": {"chat_template": "@odd.jinja"}},
        "rows.jsonl:1: the model's chat template refuses the row: never",
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_what_the_job_would(name, folder, command):
    files, sections, said = REFUSED[name]
    for file, rows in files.items():
        folder.write(file, rows)
    if name == "an unknown split":
        import datasets

        datasets.disable_progress_bars()
        datasets.DatasetDict({"train": datasets.Dataset.from_list([PLAIN] * 5)}).save_to_disk(
            folder.at("set")
        )
    sections = json.loads(json.dumps(sections).replace("@", f"{folder.root}/"))
    code, out, err = command("run", folder.file(**sections))
    assert (code, out, said in err, err.count("\n")) == (2, "", True, 1), err
    assert not (folder.root / "home").exists()  # no supervisor was asked to queue it


def test_a_machine_that_is_too_small_is_refused_with_what_makes_it_fit(folder, monkeypatch, capsys):
    monkeypatch.setattr(machine.cpu_formats, "total_memory", lambda: 1.5 * 2**30)
    monkeypatch.setattr(machine, "free_memory", lambda: 0.0)  # a queued job waits for free memory
    path = folder.file(train={"batch_size": 65536, "grad_accumulation": 1})
    assert main(["run", path]) == 1
    stderr = capsys.readouterr().err
    assert "mine does not fit this machine: it needs" in stderr and "have 1.5 in all" in stderr
    assert "It fits with batches of" in stderr and "--set train.batch_size=" in stderr


def test_a_model_that_is_no_llama_is_built_before_its_size_is_judged(folder, tmp_path, monkeypatch):
    """Gemma's head is its embedding again, which its config does not say: as a Llama it has 2.5 GiB more in float32."""
    config = {"model_type": "gemma", "hidden_size": 2048, "num_hidden_layers": 1, "num_attention_heads": 8}
    config |= {"num_key_value_heads": 1, "intermediate_size": 1024, "vocab_size": 256000, "head_dim": 256}
    (tmp_path / "gemma").mkdir()
    (tmp_path / "gemma" / "config.json").write_text(json.dumps(config))
    built = []

    class Built:
        def __init__(self, _recipe, file, *_given):
            built.append(file)

        def answer(self):
            tied = {**config, "tie_word_embeddings": True}
            return Moving(shape=structs.replace(read_shape(tied), is_known=True))

    monkeypatch.setattr(ahead, "Rehearsal", Built)
    monkeypatch.setattr(ahead.lengths, "measure", lambda *_given, **_named: None)
    monkeypatch.setattr(machine, "free_memory", lambda: 0.0)
    recipe = load_recipe(folder.file(model={"id": str(tmp_path / "gemma")}, train={"batch_size": 1})).recipe
    looker = ahead.RunChecker(Home(tmp_path / "home"))
    for total, problems, times in ((16, 0, 1), (5, 0, 2), (1, 1, 3)):
        monkeypatch.setattr(machine.cpu_formats, "total_memory", lambda total=total: total * 2**30)
        assert len(ahead.check_before_queue(recipe, looker).problems) == problems
        assert len(built) == times


def test_with_force_it_is_queued_and_what_will_happen_is_said(rig, folder, monkeypatch, command):
    monkeypatch.setenv("FINETOP_HOME", str(rig.home.root))
    folder.write("rows.jsonl", BAD_ROW["rows.jsonl"])
    code, out, err = command("run", folder.file(), "--force", "--hold", "--json")
    assert (code, json.loads(out)["run"]) == (0, "mine")
    assert "queued anyway; the job will fail with: rows.jsonl:6: completion is a number" in err


def test_a_chain_and_a_sweep_are_looked_at_before_anything_is_queued(rig, folder, monkeypatch, capsys):
    monkeypatch.setenv("FINETOP_HOME", str(rig.home.root))
    looks = []
    measure = lengths.measure
    monkeypatch.setattr(
        lengths, "measure", lambda *given, **named: looks.append(0) or measure(*given, **named)
    )
    good = folder.file()
    assert main(["run", good, "--seeds", "3", "--hold"]) == 0
    assert len(looks) == 1  # the runs share their data
    folder.write("bad.jsonl", [{"prompt": "Why?", "completion": 5}])
    sets = [
        "--sweep",
        f"data.train=[{{path: {folder.at('rows.jsonl')}}}],[{{path: {folder.at('bad.jsonl')}}}]",
    ]
    assert main(["run", good, *sets]) == 2
    assert "bad.jsonl:1: completion is a number" in capsys.readouterr().err
    whole = json.loads((folder.root / "mine.yaml").read_text())
    del whole["recipe"], whole["name"]
    second = {**whole, "model": {"id": "stage:one"}, "data": {"train": [{"path": folder.at("bad.jsonl")}]}}
    chain = {"recipe": 1, "name": "two", "stages": [{"name": "one", **whole}, {"name": "then", **second}]}
    (folder.root / "two.yaml").write_text(json.dumps(chain))
    assert main(["run", folder.at("two.yaml")]) == 2
    assert "bad.jsonl:1: completion is a number" in capsys.readouterr().err
    with Client(rig.home) as client:
        assert len(client.ask(Runs()).rows) == 3


def test_it_looks_without_the_training_stack(folder):
    folder.write("rows.jsonl", BAD_ROW["rows.jsonl"])
    code = (
        "import sys\nfrom finetop.core.commands.main import main\n"
        f"assert main(['run', {folder.file()!r}]) == 2\n"
        "print(sorted({'torch', 'transformers', 'trl', 'peft', 'duckdb'} & set(sys.modules)))\n"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"


@pytest.fixture
def on_a_t4(folder, monkeypatch):
    card = Gpu(0, "GPU-0", "Tesla T4", total_gib=15.0, capability=(7, 5))
    monkeypatch.setattr(machine, "gpus", lambda: (card,))
    return folder


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"model": {"dtype": "bfloat16"}},
            "model.dtype is bfloat16, and Tesla T4 can't compute in it. Set model.dtype to auto, which is float16",
        ),
        (
            {"method": {"name": "full"}, "train": {"master": "stochastic"}},
            "train.master: stochastic rounding works with bfloat16 weights, not with float16. Set train.master",
        ),
    ],
)
def test_what_a_t4_can_t_compute_is_refused_before_it_is_queued(on_a_t4, sections, said, capsys):
    assert main(["run", on_a_t4.file(**sections)]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_default_recipe_is_not_refused_for_a_t4(on_a_t4, method):
    recipe = load_recipe(on_a_t4.file(method={"name": method})).recipe
    assert ahead.check_before_queue(recipe, ahead.RunChecker(Home(on_a_t4.root / "home"))).problems == ()


def test_what_is_read_names_all_that_a_look_depends_on(folder):
    first_recipe, other = (
        load_recipe(folder.file(), [setting]).recipe for setting in ("train.seed=1", "train.seed=2")
    )
    assert ahead.what_is_read(first_recipe) == ahead.what_is_read(other)
    cut = load_recipe(folder.file(), ["data.max_tokens=9"]).recipe
    assert ahead.what_is_read(first_recipe) != ahead.what_is_read(cut)
