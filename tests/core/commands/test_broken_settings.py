"""Unreadable settings: nothing starts on a guess at them, and every list says why."""

from rig import write_recipe

from finetop.core.protocol.messages.runs import GetRun

FAULT = "settings.yaml:2: gpus.only is 'none'"


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
