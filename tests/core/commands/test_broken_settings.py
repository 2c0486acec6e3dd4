"""Unreadable settings: nothing starts on a guess at them, and every list says why."""

from __future__ import annotations

from finetop.core.protocol.messages.runs import GetRun

FAULT = "settings.yaml:2: gpus.only is 'none'"
RECIPE = """\
recipe: 1
extends: lora
name: next
about: "{}"
check: {at_end: false}
data: {train: [{path: rows.jsonl}]}
"""


def test_after_a_restart_nothing_starts_and_ls_run_and_queue_say_why(finetop, rig, tmp_path, monkeypatch):
    going = rig.submit("going", holds=["train"])
    rig.wait_state(going, "running")
    settings = rig.home.root / "settings.yaml"
    good = settings.read_text()
    settings.write_text("settings: 1\ngpus: {only: none}\n")
    rig.restart()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 30)
    (tmp_path / "next.yaml").write_text(RECIPE)
    code, _, errors = finetop("run", "next.yaml")
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
