"""`--on HOST` with other programs: commands and watches on another machine, over a stand-in for ssh."""

import json
import shutil
import subprocess
import sys
from functools import partial

import command_runs
import pytest
from command_runs import python, stored
from typed import refuses
from waiting import wait_until

from finetop.core.protocol.messages.runs import GetRun

PYTHON = sys.executable
ENDS = ("finished", "stopped", "failed", "lost")
TRAIN = """
import json, os, shutil, sys
print(json.dumps(sys.argv[1:]))
for step in range(1, 5):
    print(json.dumps({"step": step, "loss": 1 / step}))
shutil.copytree("adapter", "out")
"""
WATCHED = """
    import json, pathlib, shutil, time
    made = pathlib.Path("made")
    made.mkdir()
    with open(made / "metrics.jsonl", "w", buffering=1) as file:
        for step in range(1, 5):
            print(json.dumps({"step": step, "loss": 1 / step}), file=file)
        while not pathlib.Path("go").exists():
            time.sleep(0.05)
        shutil.copytree("adapter", made, dirs_exist_ok=True)
"""


@pytest.fixture
def lab(hosts):
    """Another machine whose commands, watches and imports are real."""
    rig = hosts.rigs.get("commands")
    if rig is None:
        rig = hosts.add("commands", start=False)
        command_runs.up(rig)
    return rig


@pytest.fixture
def finetop(lab, command, tmp_path, monkeypatch, adapter):
    """Run one command on that machine, in the test's folder, where train.py and an adapter lie."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    return partial(command, "--on", "commands")


def require_checked(lab, name, verb):
    """Require that a run ends well, its numbers are there, its output is imported, and a check is queued."""
    assert type(lab.wait_state(name, *ENDS).state).__name__ == "Finished", lab.about(name)
    verbs = wait_until(lambda: len(jobs := lab.ask(GetRun(name)).jobs) == 3 and [job.verb for job in jobs])
    assert verbs == [verb, "import", "check"]
    assert stored(lab, name) == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_command_runs_in_this_folder_of_that_machine_and_not_with_this_shells_environment(finetop, lab):
    code, out, err = finetop("run", "--name", "far", "--output", "out", "--json", "--", PYTHON, "train.py")
    assert (code, err) == (0, "")
    name = json.loads(out)["run"]
    require_checked(lab, name, "command")
    assert lab.ask(GetRun(name)).recipe["command"]["env"] == {}


@pytest.mark.slow
def test_a_recipe_and_another_trainers_file_run_there_too_in_the_folder_that_is_named(
    finetop, lab, base, tmp_path
):
    there = tmp_path / "there"
    (there / "bin").mkdir(parents=True)
    (tmp_path / "adapter").rename(there / "adapter")
    (tmp_path / "train.py").rename(there / "train.py")
    run = {"run": [PYTHON, "train.py", "{lr}"], "workdir": "there", "values": {"lr": 2}, "output": "out"}
    (tmp_path / "c.yaml").write_text(f"recipe: 1\nname: by-recipe\ncommand: {json.dumps(run)}\n")
    code, _, err = finetop("run", "c.yaml")
    assert (code, err) == (0, "")
    require_checked(lab, "by-recipe", "command")
    program = there / "bin" / "trl"
    program.write_text(f"#!{PYTHON}\n{TRAIN}")
    program.chmod(0o700)
    conf = tmp_path / "sft.yaml"
    conf.write_text(f"model_name_or_path: {base}\noutput_dir: out\n")
    sets = ("--set", "command.workdir=there", "--set", f"command.env.PATH={there}/bin")
    code, _, err = finetop("run", "--with", "trl", "sft.yaml", "--name", "by-trl", *sets)
    assert (code, err.count("\n")) == (1, 1) and f"{there}/out is the output of by-recipe" in err
    wait_until(lambda: finetop("rm", "by-recipe", "--yes")[0] == 0, "the end of its check")
    shutil.rmtree(there / "out")
    code, _, err = finetop("run", "--with", "trl", "sft.yaml", "--name", "by-trl", *sets)
    assert (code, err) == (0, "")
    require_checked(lab, "by-trl", "command")
    detail = lab.ask(GetRun("by-trl"))
    log = lab.home.root / detail.folder / detail.jobs[0].folder / "log.txt"
    assert json.dumps(["sft", "--config", str(conf)]) in log.read_text()


def test_what_can_not_run_there_is_refused_in_one_line(finetop):
    cases = {
        "run -- nosuchprogram x": "there is no program nosuchprogram. Give its path there",
        f"run --set command.workdir=nowhere -- {PYTHON}": "commands has no",
        f"run --base nowhere/model/x -- {PYTHON}": "model.id: no folder 'nowhere/model/x'",
        "watch nowhere": "there is no folder",
        "watch 999999999": "there is no process 999999999",
    }
    refuses(finetop, cases)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["folder", "pid"])
def test_a_program_of_that_machine_is_watched_to_its_end_and_by_one_run(finetop, lab, tmp_path, by):
    with (tmp_path / "own.log").open("wb") as log:
        command_line = [*python(WATCHED), "--output_dir", "made"]
        program = subprocess.Popen(command_line, cwd=tmp_path, stdout=log, stderr=log)
    try:
        wait_until((tmp_path / "made" / "metrics.jsonl").exists)
        target = "made" if by == "folder" else str(program.pid)
        code, out, err = finetop("watch", target, "--name", f"by-{by}")
        assert (code, err) == (0, "")
        assert f"by-{by} is watched until process {program.pid} ends" in out
        already = f"finetop: it is watched already, as by-{by}. Follow it: finetop tail by-{by}.\n"
        assert finetop("watch", "made") == (1, "", already)
        (tmp_path / "go").touch()
        assert program.wait() == 0
    finally:
        program.kill()
        program.wait()
    require_checked(lab, f"by-{by}", "watch")
