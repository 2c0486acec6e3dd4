"""`finetop select` as typed: rows verbatim and in order, a manifest, curves, and one line for each refusal."""

import hashlib
import json

import pytest
from typed import refuses

from finetop.core.errors import BadInput
from finetop.core.features.select import curve, request as _request
from finetop.core.features.select.commands import select as commands
from finetop.core.features.select.request import Ask, Wanted
from finetop.core.protocol.messages.runs import GetRun, Sweeps
from finetop.core.runtime import child
from finetop.core.runtime.home import Home

LINES = [
    b'\xef\xbb\xbf{"prompt": "a", "completion": "one"}\r\n',
    b"\n",
    b'{"prompt":   "b", "completion": "caf\\u00e9"}\n',
    b'{"completion": "three and more", "prompt": "c"}\n',
    '{"prompt": "d", "completion": "fünf"}'.encode(),
]

RECIPE = (
    "recipe: 1\nextends: lora\nname: tone\ncheck: {at_end: false}\n"
    "data: {train: [{path: rows.jsonl}], eval: {share: 0.1}}\n"
    "train: {epochs: 2, batch_size: 2, grad_accumulation: 2}\n"
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_bytes(b"".join(LINES))
    return tmp_path


@pytest.fixture
def quietly(monkeypatch):
    monkeypatch.setattr(commands, "SAY_EVERY_S", 1e9)  # no progress lines, which a busy machine would print


@pytest.fixture
def typed(here, finetop_of, quietly):
    return finetop_of(Home(here / "home"))


def test_rows_are_the_source_s_own_bytes_in_its_order_with_a_manifest(here, typed):
    code, out, err = typed("select", "rows.jsonl", "--rows", "3", "--by", "length", "--to", "few.jsonl")
    assert (code, out.splitlines()[0], err) == (0, f"3 of 4 rows, by length, in {here}/few.jsonl", "")
    content = (here / "few.jsonl").read_bytes()
    assert content == LINES[2] + LINES[3] + LINES[4]
    document = json.loads((here / "few.manifest.json").read_text())
    sha256 = hashlib.sha256(b"".join(LINES)).hexdigest()
    assert document["source"] == {"path": str(here / "rows.jsonl"), "sha256": sha256, "rows": 4}
    wanted = ("length", 1, [3, 4, 5], [4.0, 14.0, 4.0])
    assert (document["by"], document["seed"], document["lines"], document["scores"]) == wanted
    assert document["sha256"] == hashlib.sha256(content).hexdigest()
    typed("select", "rows.jsonl", "--rows", "2", "--seed", "7", "--to", "one.jsonl")
    code, out, _ = typed("select", "rows.jsonl", "--rows", "2", "--seed", "7", "--to", "two.jsonl", "--json")
    assert (here / "one.jsonl").read_bytes() == (here / "two.jsonl").read_bytes()
    manifest = json.loads((here / "one.manifest.json").read_text())
    assert json.loads(out)["selected"]["sha256"] == manifest["sha256"]
    assert not list(here.glob(".sel*"))


def test_what_can_t_be_is_one_line_and_writes_nothing(here, typed):
    (here / "bad.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": \n')
    (here / "home").mkdir()
    cases = {
        "rows.jsonl --rows 5 --to x.jsonl": "rows.jsonl has 4 rows, but 5 were requested.",
        "rows.jsonl --rows 0 --to x.jsonl": "--rows is '0'; it must be a whole number",
        "rows.jsonl --rows 1": "--to is missing.",
        "rows.jsonl --to x.jsonl": "--rows is missing.",
        "org/name --rows 1 --to x.jsonl": "Save a hub data set to a file first",
        "rows.jsonl --rows 1 --by best --to x.jsonl": "there is no selector 'best'.",
        "rows.jsonl --rows 1 --to rows.jsonl": "already exists and is not overwritten.",
        "rows.jsonl --rows 1 --to /": "--to: / is a folder.",
        "rows.jsonl --rows 1 --to no/x.jsonl": "no folder",
        "bad.jsonl --rows 1 --to x.jsonl": "bad.jsonl:2: is not JSON",
        "home --rows 1 --to x.jsonl": "home is a folder.",
        "": "select from what?",
        "--curve": "--curve needs a recipe.",
        "rows.jsonl --curve": "--curve needs a recipe, but rows.jsonl is a file of rows.",
    }
    refuses(typed, cases, "select")
    assert not (here / "x.jsonl").exists()


def test_a_model_that_is_nowhere_is_one_line_behind_what_is_done(here, typed, monkeypatch):
    monkeypatch.setattr(commands, "SAY_EVERY_S", 0.0)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    command_line = "select rows.jsonl --rows 1 --by difficulty --model no/one --to x.jsonl"
    code, _, err = typed(*command_line.split())
    assert (code, err.splitlines()[0]) == (4, "finding the model")
    assert err.splitlines()[1].startswith("finetop: --model: no/one is not here") and err.count("\n") == 2


def test_the_process_ends_when_nobody_listens(here, monkeypatch):
    """It can't be done writing by then: a pipe holds 64 KiB, and each file is sent with its path, twice 600 bytes."""
    monkeypatch.setattr(child, "ENDS_S", 0.1)
    rows = [json.dumps({"prompt": str(number), "completion": "b"}) for number in range(100)]
    (here / "many.jsonl").write_text("\n".join(rows))
    home = Home(here.joinpath(*["long" * 50] * 3))
    wanted = [Wanted("random", seed, 10) for seed in range(200)]
    request = _request.select(Ask({"path": str(here / "many.jsonl")}, wanted), home)
    first = next(request)
    assert first.by == "random"
    request.close()
    files_made = {str(file) for file in (home.root / "selected").glob("random-10-*.jsonl")}
    assert first.path in files_made and len(files_made) < 200
    assert not list((home.root / "selected").glob(".selecting-*"))


def test_amounts_that_can_t_be():
    for text in ("1/0", "2/1", "0", ""):
        with pytest.raises(BadInput, match=f"'{text}' is not a number of rows"):
            curve.amounts_of(text)
    with pytest.raises(BadInput, match="with all rows there is nothing to choose"):
        curve.amounts_of("all")


def test_a_curve_is_queued_as_one_sweep_and_shown(rig, finetop, tmp_path, quietly):
    rows = [{"prompt": f"question {n}", "completion": "word " * (n % 7 + 1)} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(run) + "\n" for run in rows))
    recipe = tmp_path / "tone.yaml"
    recipe.write_text(RECIPE)
    command_line = "--curve --by length,no-near-duplicates --rows 1/4,all --seeds 2 --hold"
    code, out, err = finetop("select", str(recipe), *command_line.split())
    assert (code, err) == (0, ""), err
    assert out == "6 runs in the sweep tone, 18 steps each. Results: finetop select --show tone\n"
    reply = rig.ask(Sweeps("tone"))
    assert reply.keys == ["select.by", "rows"]
    assert [tuple(run.values.values()) for run in reply.runs] == [
        ("random,no-near-duplicates", "10", "1"), ("random,no-near-duplicates", "10", "2"),
        ("length", "10", "1"), ("length", "10", "2"), ("all", "40", "1"), ("all", "40", "2"),
    ]  # fmt: skip
    wanted = ["sweep/tone", "select.by/random", "select.by/no-near-duplicates", "rows/10"]
    assert reply.runs[0].row.tags == wanted
    recipes = [rig.ask(GetRun(run.row.name)).recipe for run in reply.runs]
    assert {(run["train"]["max_steps"], run["train"]["epochs"]) for run in recipes} == {(18, None)}
    paths = [run["data"]["train"][0]["path"] for run in recipes]
    assert paths[-1] == str(tmp_path / "rows.jsonl") and paths[2] == paths[3] != paths[0]
    finetop("queue", "release", reply.runs[0].row.name)
    rig.wait_state(reply.runs[0].row.name, "finished")
    code, out, _ = finetop("select", "--show", "tone")
    wanted = [["random", "10", "1/2"], ["length", "10", "0/2"]]
    assert [line.split()[:3] for line in out.splitlines()[1:3]] == wanted
    assert "Would more rows help? Not known" in out
    assert json.loads(finetop("sweep", "tone", "--json")[1])["curves"]["metric"] == "evaluation loss"


def test_a_recipe_that_a_curve_can_t_take_is_one_line(finetop_of, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 5)
    for train, says in {
        "[{path: rows.jsonl}, {path: rows.jsonl}]": "data.train has 2 sources to select from, but a curve needs one.",
        "[{id: org/name}]": "'org/name' is not a file; rows are selected from the lines of a file.",
        "[{path: rows.jsonl, rows: 5}]": "data.train[0].rows is set, but a curve sets it.",
    }.items():
        (tmp_path / "tone.yaml").write_text(RECIPE.replace("[{path: rows.jsonl}]", train))
        refuses(finetop_of(Home(tmp_path / "home")), {f"{tmp_path}/tone.yaml --curve": says}, "select")
    assert not (tmp_path / "home").exists(), "no supervisor was asked"
