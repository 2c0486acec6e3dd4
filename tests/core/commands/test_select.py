"""`finetop select` as typed: rows verbatim and in order, a manifest, reproducible, and one line for each refusal."""

import hashlib
import json

import pytest
from typed import refuses

from finetop.core.commands import select as commands
from finetop.core.runtime import child
from finetop.core.runtime.home import Home
from finetop.core.select import _request
from finetop.core.select._request import Ask, Wanted

LINES = [
    b'\xef\xbb\xbf{"prompt": "a", "completion": "one"}\r\n',
    b"\n",
    b'{"prompt":   "b", "completion": "caf\\u00e9"}\n',
    b'{"completion": "three and more", "prompt": "c"}\n',
    '{"prompt": "d", "completion": "fünf"}'.encode(),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_bytes(b"".join(LINES))
    return tmp_path


@pytest.fixture
def typed(here, finetop_of, monkeypatch):
    monkeypatch.setattr(commands, "SAY_EVERY_S", 1e9)  # no progress lines, which a busy machine would print
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
    words = "select rows.jsonl --rows 1 --by difficulty --model no/one --to x.jsonl"
    code, _, err = typed(*words.split())
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
