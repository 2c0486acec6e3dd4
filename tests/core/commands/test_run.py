"""`finetop run` refuses at once what the job would, with the same message; --force queues it anyway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs
from typed import loaded_by, refuses

from finetop.core.client.connection import Client
from finetop.core.models.resolved import Moving
from finetop.core.plan import ahead, lengths, machine
from finetop.core.plan.shape import read_shape
from finetop.core.protocol.messages.runs import Runs
from finetop.core.recipe.load import load_recipe
from finetop.core.runtime import ranks
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
BY_SUITE = {"check": {"general": {"suite": "@own.yaml"}}}
BY_RULES = {"objective": BY_RULE, "data": {"train": [{"path": "@rows.jsonl"}], "max_tokens": 200}}
LONG_ROWS = [PLAIN] * 5 + [{"prompt": "Why?", "completion": "so " * 500}] * 5
REFUSED = {  # what the error says: files, sections of the recipe (@ is the folder)
    "rows are longer than data.max_tokens (200); the longest has": (
        {"rows.jsonl": LONG_ROWS}, {"data": {"eval": {"share": 0.1}}}),
    "rows.jsonl:6: completion is a number; it must be text.": (BAD_ROW, {}),
    "rows.jsonl:1: no format fits a row with first, second.": (
        {"rows.jsonl": [{"first": "a", "second": "b"}] * 5}, {}),
    "eval.jsonl:2: completion is missing.": (
        {"eval.jsonl": [PLAIN, {"prompt": "Why?"}]}, {"data": {"eval": [{"path": "@eval.jsonl"}]}}),
    "replay.jsonl:1: no format fits a row with chosen.": (
        {"replay.jsonl": [{"chosen": "a"}]}, {"protect": {"replay": {"path": "@replay.jsonl"}}}),
    "prompts.jsonl:1: no format fits a row with text.": (
        {"prompts.jsonl": [{"text": "a"}]}, {"protect": {"replay": {"from_base": 5, "prompts": "@prompts.jsonl"}}}),
    "items.jsonl:4: answer is 7, and there are 2 choices.": (
        {"items.jsonl": [CHOICE] * 3 + [{**CHOICE, "answer": 7}], "own.yaml": OWN}, BY_SUITE),
    "data: there is no file": ({"own.yaml": OWN}, BY_SUITE),
    "there is no suite 'quik'.": ({}, {"check": {"general": {"suite": "quik"}}}),
    "test.jsonl:2: completion is empty.": (
        {"test.jsonl": [PLAIN, {"prompt": "Why?", "completion": ""}]}, {"check": {"target": {"path": "@test.jsonl"}}}),
    "rows.jsonl:1: answer is missing, and the rule exact_match compares with it.": (
        {"rows.jsonl": [{"prompt": "Two and two?"}] * 20}, BY_RULES),
    "has no split tests. There is train.": ({}, {"data": {"train": [{"id": "@set", "split": "tests"}]}}),
    "rows.jsonl:1: the model's chat template refuses the row: never": (
        {"odd.jinja": "{{ raise_exception('never') }}"}, {"model": {"chat_template": "@odd.jinja"}}),
    "`n_frequency` should be less than or equal to the product": (
        {}, {"method": {"name": "peft", "type": "fourierft", "options": {"n_frequency": 10**7}}}),
    "data.train: no row is left to learn from.": (
        {"rows.jsonl": [{"messages": [
            {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So.", "weight": 0}]}] * 20}, {}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("error", REFUSED)
def test_it_refuses_what_the_job_would(error, folder, command, warm):
    files, sections = REFUSED[error]
    for file, rows in files.items():
        folder.write(file, rows)
    if "split" in error:
        import datasets

        datasets.disable_progress_bars()
        rows = datasets.Dataset.from_list([PLAIN] * 5)
        datasets.DatasetDict({"train": rows}).save_to_disk(folder.at("set"))
    sections = json.loads(json.dumps(sections).replace("@", f"{folder.root}/"))
    refuses(command, {folder.file(**sections): error}, "run")
    assert not (folder.root / "home").exists()  # no supervisor was asked to queue it


def test_a_machine_that_is_too_small_is_refused_with_what_makes_it_fit(folder, monkeypatch, command):
    monkeypatch.setattr(machine.cgroups, "total_memory", lambda: 1.5 * 2**30)
    monkeypatch.setattr(machine.cgroups, "free_memory", lambda: 0.0)  # a queued job waits for free memory
    path = folder.file(train={"batch_size": 65536, "grad_accumulation": 1})
    code, _, err = command("run", path)
    assert (code, "mine does not fit this machine: it needs" in err, "have 1.5 in all" in err) == (
        1,
        True,
        True,
    )
    assert "It fits with batches of" in err and "--set train.batch_size=" in err


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

    monkeypatch.setattr(ahead.rehearsal, "Rehearsal", Built)
    monkeypatch.setattr(ahead.lengths, "measure", lambda *_given, **_named: None)
    monkeypatch.setattr(machine.cgroups, "free_memory", lambda: 0.0)
    recipe = load_recipe(folder.file(model={"id": str(tmp_path / "gemma")}, train={"batch_size": 1})).recipe
    looker = ahead.RunChecker(Home(tmp_path / "home"))
    for total, problems, times in ((16, 0, 1), (5, 0, 2), (1, 1, 3)):
        monkeypatch.setattr(machine.cgroups, "total_memory", lambda total=total: total * 2**30)
        assert len(ahead.check_before_queue(recipe, looker).problems) == problems
        assert len(built) == times


def test_with_force_it_is_queued_and_what_will_happen_is_said(rig, folder, monkeypatch, command):
    monkeypatch.setenv("FINETOP_HOME", str(rig.home.root))
    for given, warns in (
        (None, False),
        ("1", False),
        ("2", True),
    ):  # the supervisor started without the variable
        if given is not None:
            monkeypatch.setenv(ranks.CPU_RANKS, given)
        code, _, err = command("run", folder.file(name="next"), "--hold")
        assert code == 0
        assert ("FINETOP_CPU_RANKS is 2 here, but the supervisor started with 1" in err) == warns
    monkeypatch.delenv(ranks.CPU_RANKS)
    folder.write("rows.jsonl", BAD_ROW["rows.jsonl"])
    code, out, err = command("run", folder.file(), "--force", "--hold", "--json")
    assert (code, json.loads(out)["run"]) == (0, "mine")
    assert "queued anyway; the job will fail with: rows.jsonl:6: completion is a number" in err


def test_a_chain_and_a_sweep_are_looked_at_before_anything_is_queued(rig, folder, monkeypatch, command):
    monkeypatch.setenv("FINETOP_HOME", str(rig.home.root))
    measured = []
    measure = lengths.measure
    monkeypatch.setattr(
        lengths, "measure", lambda *args, **more: measured.append(0) or measure(*args, **more)
    )
    good, bad = folder.file(), folder.write("bad.jsonl", [{"prompt": "Why?", "completion": 5}])
    assert command("run", good, "--seeds", "3", "--hold")[0] == 0
    assert len(measured) == 1  # the runs share their data
    error = "bad.jsonl:1: completion is a number"
    swept = f"data.train=[{{path: {folder.at('rows.jsonl')}}}],[{{path: {bad}}}]"
    refuses(command, {f"--sweep '{swept}'": error}, "run", good)
    whole = json.loads((folder.root / "mine.yaml").read_text())
    del whole["recipe"], whole["name"]
    second = {**whole, "model": {"id": "stage:one"}, "data": {"train": [{"path": bad}]}}
    chain = {"recipe": 1, "name": "two", "stages": [{"name": "one", **whole}, {"name": "then", **second}]}
    (folder.root / "two.yaml").write_text(json.dumps(chain))
    refuses(command, {folder.at("two.yaml"): error}, "run")
    with Client(rig.home) as client:
        assert len(client.ask(Runs()).rows) == 3


def test_it_looks_without_the_training_stack(folder):
    folder.write("rows.jsonl", BAD_ROW["rows.jsonl"])
    assert loaded_by("run", folder.file()) == (2, [])


@pytest.fixture
def on_a_t4(folder, monkeypatch):
    card = Gpu(0, "GPU-0", "Tesla T4", total_gib=15.0, capability=(7, 5))
    monkeypatch.setattr(machine, "gpus", lambda: (card,))
    return folder


def test_what_a_t4_can_t_compute_is_refused_before_it_is_queued_and_no_default_recipe_is(on_a_t4, command):
    no_bfloat16 = (
        "model.dtype is bfloat16, and Tesla T4 can't compute in it. Set model.dtype to auto, which is float16"
    )
    rounding = (
        "train.master: stochastic rounding works with bfloat16 weights, not with float16. Set train.master"
    )
    refuses(command, {on_a_t4.file(model={"dtype": "bfloat16"}): no_bfloat16}, "run")
    refuses(command, {on_a_t4.file(method={"name": "full"}, train={"master": "stochastic"}): rounding}, "run")
    for method in ("lora", "full"):
        recipe = load_recipe(on_a_t4.file(method={"name": method})).recipe
        assert not ahead.check_before_queue(recipe, ahead.RunChecker(Home(on_a_t4.root / "home"))).problems


def test_what_is_read_names_all_that_a_look_depends_on(folder):
    settings = ("train.seed=1", "train.seed=2", "data.max_tokens=9")
    first, other, cut = (ahead.what_is_read(load_recipe(folder.file(), [each]).recipe) for each in settings)
    assert first == other != cut
