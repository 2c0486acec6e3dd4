"""`queue`, `pause`, `retry`, `run --hold` as typed: output, exit codes, JSON."""

import json
import re

from rig import write_recipe
from typed import refuses

from finetop.core.protocol.messages.runs import GetRun

FAULT = "settings.yaml:2: gpus.only is 'none'"


def test_what_waits_is_listed_and_changed_as_typed(rig, finetop, tmp_path):
    assert finetop("queue") == (0, "Nothing waits. Running: nothing.\n", "")
    rig.wait_step(rig.submit("busy", steps=10_000, pause_s=0.01), 4)
    for name in ("a", "b"):
        rig.submit(name, steps=1)
    recipe = str(write_recipe(tmp_path, "c", "budget: {gpus: 0}\n"))
    code, out, _ = finetop("run", recipe, "--hold", "--priority", "high")
    assert (code, out) == (0, "c is queued, held. finetop queue release c releases it\n")
    assert finetop("queue", "first", "b")[:2] == (0, "b is first in the queue.\n")
    code, out, _ = finetop("queue")
    assert re.sub(r"\d\d:\d\d", "14:38", out).splitlines() == [
        "Running: busy. Waiting, next to start first:",
        "#  run  what   wants   starts about  priority  why it waits",
        "1  b    train  CPU     14:38                   waits for the one job slot",
        "2  a    train  CPU     14:38                   waits for the one job slot",
        "3  c    train  no GPU                high      held",
        "next: finetop queue release c",
    ]
    assert finetop("queue", "release", "c")[1] == "c is released, place 1.\n"
    assert finetop("queue", "hold")[0] == 0
    wrong_words_are_one_line_with_the_fix(finetop)
    assert finetop("queue")[1].startswith("Nothing starts: the queue is held: finetop queue release\n")
    assert "queued, the queue is held" in finetop("ls")[1]
    assert finetop("ls")[1].endswith("Nothing starts: the queue is held.\n")
    document = json.loads(finetop("queue", "--json")[1])
    assert (document["schema"], document["stopped"], document["total"]) == (1, "the queue is held", 3)
    assert [(row["run"], row["state"]["place"], row["priority"]) for row in document["rows"]] == [
        ("c", 1, 5), ("b", 2, 10), ("a", 3, 10),
    ]  # fmt: skip
    assert finetop("pause", "busy")[1] == (
        "busy saves a checkpoint, then waits in the queue, held. To resume: finetop resume busy\n"
    )
    rig.wait_state("busy", "queued")
    code, out, _ = finetop("ls")
    assert "paused at step" in out
    code, out, _ = finetop("queue", "priority", "busy", "7")
    assert (code, out.startswith("busy has priority 7, place ")) == (0, True)
    assert "resume @" in finetop("queue")[1]
    code, out, _ = finetop("resume", "busy", "--json")
    assert json.loads(out)["resumed"]["step"] > 3
    code, _, err = finetop("retry", "busy")
    assert (code, "busy is queued" in err) == (1, True)


def wrong_words_are_one_line_with_the_fix(finetop):
    cases = {
        "frist": "finetop queue has no action 'frist'. Did you mean first?",
        "first": "finetop queue first: which run? Use first RUN",
        "hold a b": "finetop queue hold takes one run, not 'b' too.",
        "before a": "before which run? Name it: finetop queue before a OTHER",
        "priority a": "priority: which one? Use high (5), normal (10), low (20)",
        "priority a 101": "priority is '101'. Use high (5), normal (10), low (20) or a number from 0",
        "priority a -1": "",
        "priority a ²": "priority is '²'.",
        "hold '\x1b[31mx'": "there is no run",
    }
    refuses(finetop, cases, "queue")


def test_after_a_restart_nothing_starts_and_ls_run_and_queue_say_why(finetop, rig, tmp_path):
    going = rig.submit("going", holds=["train"])
    rig.wait_state(going, "running")
    settings = rig.home.root / "settings.yaml"
    good = settings.read_text()
    settings.write_text("settings: 1\ngpus: {only: none}\n")
    rig.restart()
    code, _, errors = finetop("run", str(write_recipe(tmp_path, "next", 'about: "{}"\n')))
    assert code == 0
    assert f"nothing starts: {rig.home.root}/{FAULT}" in errors
    for arguments in (("ls",), ("queue",)):
        assert f"Nothing starts: {rig.home.root}/{FAULT}" in finetop(*arguments)[1]
    rig.let_go(going, "train")
    rig.wait_state(going, "finished")
    waiting = rig.ask(GetRun("next")).row.state
    assert f"{rig.home.root}/{FAULT}" in waiting.because
    settings.write_text(good)
    rig.wait_state("next", "finished")
