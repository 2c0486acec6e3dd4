"""Fault 23: secrets stay in the environment: canaries appear nowhere, and a recipe that holds one is refused."""

import asyncio
import os
from pathlib import Path

import pytest
from dumping import dump
from waiting import wait_until

from finetop import recipes
from finetop.core.commands.main import main
from finetop.core.errors import BadInput, RecipeError
from finetop.core.protocol.messages.notes import Note
from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.session import Shutdown
from finetop.core.protocol.messages.submit import Submit
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import secrets
from finetop.core.supervisor.requests import notes

CANARY = "hf_" + "Canary7" * 6
SECRETS = {"HF_TOKEN": CANARY, "WANDB_API_KEY": "c4n4ry" * 7, "MY_PASSWORD": "a canary that sings"}


def test_secrets_of_the_environment_are_nowhere_to_be_found(cold_rig, tmp_path, monkeypatch, capfd, survived):
    """In the database, run folders, logs, exports, what commands print, or the arguments of any process."""
    cold_rig.up(**SECRETS)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    live = cold_rig.submit("lives", waits_at=2, grandchild=True)
    cold_rig.wait_state(live, "running")
    arguments = [
        p.read_bytes()
        for p in Path("/proc").glob("[0-9]*/cmdline")
        if p.parent.name != str(os.getpid()) and readable(p)
    ]
    wait_until((cold_rig.job_folder(live) / "keeper.json").exists, "its keeper has written")
    child = cold_rig.keeper(live)["job_pid"]
    environment = Path(f"/proc/{child}/environ").read_bytes()
    assert CANARY.encode() in environment, "the job needs them, and must have them"
    cold_rig.ask(Kill(live))
    cold_rig.wait_state(live, "stopped")
    done = cold_rig.submit("done", steps=5, saved=[5], lost=3, check=True)
    cold_rig.wait_state(done, "finished")
    cold_rig.wait_state(cold_rig.submit("broken", steps=3, end="crash"), "failed")
    home = ["--home", str(cold_rig.home.root)]
    asked = [["ls"], ["show", done], ["show", done, "--recipe"], ["tail", done, "--log", "--no-follow"]]
    asked += [["doctor"], ["doctor", "--json"], ["show", "broken", "--json"], ["supervisor", "status"]]
    for words in asked:
        main([*home, *words])
    printed = "".join(capfd.readouterr())
    assert "broken" in printed
    cold_rig.ask(Shutdown())
    cold_rig.processes[-1].wait()
    places = {
        str(p): p.read_bytes() for p in cold_rig.home.root.rglob("*") if p.is_file() and not p.is_symlink()
    }
    places["rows"] = repr(dump(cold_rig.home.database)).encode()
    places["printed"] = printed.encode()
    places |= {f"arguments {number}": words for number, words in enumerate(arguments)}
    hits = [where for where, held in places.items() for value in SECRETS.values() if value.encode() in held]
    assert hits == []
    survived("23", "canaries in the environment", repeats=len(SECRETS), written=len(places), wrong=len(hits))


@pytest.mark.parametrize("words", [
    ["note", "{name}", "as {value} says"],
    ["tag", "{name}", "+{value}"],
    ["accept", "{name}", "--reason", "{value}"],
    ["run", "--env", "PYTHONPATH", "--", "python", "train.py"],
    ["run", "--name", "theirs", "--", "python", "train.py", "{value}"],
], ids=["note", "tag", "reason", "PYTHONPATH", "argument"])  # fmt: skip
def test_a_secret_of_the_client_s_environment_alone_is_not_sent(rig, tmp_path, monkeypatch, capfd, words):
    """The supervisor was started without it, or on another machine."""
    name = rig.submit("told", steps=1)
    rig.wait_state(name, "finished")
    value = "a-canary-that-sings"
    monkeypatch.setenv("MY_PASSWORD", value)
    monkeypatch.setenv("PYTHONPATH", f"/opt/{value}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    runs = len(list(rig.home.runs.iterdir()))
    given = [word.format(name=name, value=value) for word in words]
    assert main(["--home", str(rig.home.root), *given]) == 2
    error = capfd.readouterr().err
    assert "the value of MY_PASSWORD" in error and value not in error
    assert len(list(rig.home.runs.iterdir())) == runs


def readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("token: hf_abcdefghijklmnopqrstuvwxyz0123456789", "Hugging Face"),
        ("about: sk-proj-abcdefghijklmnopqrstuvwxyz", "API key"),
        ("path: https://me:pa55word@host/data.jsonl", "password in an address"),
        ("# github_pat_11ABCDEFG0abcdefghijklmnopqrstuvwxyz", "GitHub"),
        ("# AKIAIOSFODNN7EXAMPLE", "AWS"),
        ("-----BEGIN RSA PRIVATE KEY-----", "private key"),
        ("about: a canary that sings", "MY_PASSWORD"),
    ],
)
def test_a_secret_in_a_recipe_is_refused_without_repeating_it(monkeypatch, text, what):
    monkeypatch.setenv("MY_PASSWORD", SECRETS["MY_PASSWORD"])
    with pytest.raises(BadInput, match=what) as caught:
        secrets.require_none(f"recipe: 1\n{text}\n", "the recipe")
    assert text.split(": ")[-1].strip("# ") not in str(caught.value)


# What lint finds in rows; assembled here, so that no scanner takes this file for a leak.
OF_LINT = {
    "Slack token": "xox" + "b-2489751034-9aKf72LmQ0xZ81bV",
    "Slack webhook": "hooks.slack" + ".com/services/T0123ABCD/B0123ABCD/9aKf72LmQ0xZ81bVt6Yw",
    "GitLab token": "glpat" + "-9aKf72LmQ0xZ81bVt6Yw",
    "Google API key": "AIza" + "SyD9aKf72LmQ0xZ81bVt6Yw3Rc5NpGh2Jk4",
    "JWT": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJ4OTg3In0.4pcPyMD09olPSyXnrXCjTwXyr4BsezdI1AVTmud2fU4",
    "npm token": "npm_" + "9aKf72LmQ0xZ81bVt6Yw3Rc5NpGh2Jk4aB1c",
    "service's key": "dckr_pat_" + "9aKf72LmQ0xZ81bVt6Yw3Rc5",
    "password that is assigned": "password" + "=Xk29vTq7Lw",
    "Weights & Biases key": "WANDB_API_KEY=" + "3f9c01b27ae84d65901f2c7be8a4d0533f9c01b2",
    "Authorization header": "Authorization: " + "Bearer npJE9aJHPlH1pVCDwsgHb6ZB41",
}


@pytest.mark.parametrize("kind", OF_LINT)
def test_a_recipe_and_a_note_may_hold_nothing_that_lint_knows(quiet, kind):
    text = f"seen with {OF_LINT[kind]} today"
    with pytest.raises(
        RecipeError, match=f"^the recipe:2: holds what looks like an? {kind}, which"
    ) as caught:
        resolve_text(f"recipe: 1\nabout: {text!r}\n", label="the recipe")
    quiet.queue("one")
    with pytest.raises(
        BadInput, match=f"^the note holds what looks like an? {kind}; secrets are not stored"
    ) as noted:
        notes.note(quiet.supervisor, Note("one", text))
    assert OF_LINT[kind] not in f"{caught.value} {noted.value}"
    assert quiet.rows("SELECT note FROM runs") == [("",)]


def test_every_built_in_recipe_and_the_names_of_tokenizers_are_no_secrets():
    for file in sorted(Path(recipes.__file__).parent.rglob("*.yaml")):
        assert secrets.describe_secret(file.read_text()) == "", file
    for text in (
        "tokenizer: Qwen/Qwen2.5-0.5B-Instruct",
        "pad_token: <|endoftext|>",
        "about: a task-oriented desk-top-publishing assistant",
        "path: data/sha256-3f9c01b27ae84d65901f2c7be8a4d0533f9c01b2.jsonl",
    ):
        assert secrets.describe_secret(text) == "", text


def test_what_is_no_secret_passes(monkeypatch):
    monkeypatch.setenv("SHORT_TOKEN", "lora")
    secrets.require_none("recipe: 1\nextends: lora\nmodel: {id: org/hf_model}\nsee: https://host/a@b\n", "it")
    secrets.require_no_setting({"eos_token": "<eos>", "max_tokens": 5, "hub_token": None}, "trainer_args")
    for name in ("hub_token", "hub_api_key", "password"):
        with pytest.raises(BadInput, match="is a secret"):
            secrets.require_no_setting({name: "x"}, "trainer_args")


def test_the_supervisor_refuses_a_secret_and_keeps_nothing_of_the_run(quiet):
    from finetop.core.supervisor.requests import submit

    recipe = {"trainer_args": {"hub_token": "x"}, "model": {"id": "m"}, "method": {"name": "lora"},
              "objective": {"name": "sft"}}  # fmt: skip
    for source, expected in (("recipe: 1 # " + CANARY, "Hugging Face"), ("recipe: 1", "hub_token")):
        with pytest.raises(BadInput, match=expected):
            asyncio.run(submit.submit(quiet.supervisor, Submit(recipe, source, "one")))
    assert list(quiet.home.runs.iterdir()) == []
    assert quiet.rows("SELECT * FROM runs") == []
