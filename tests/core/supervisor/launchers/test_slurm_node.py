"""The keeper on a Slurm node: what it makes of an ending, and of another start of the same job."""

import json
import os
import signal
import time

import msgspec
import pytest
from still import make_checkpoint
from store_rows import write

from finetop.core.protocol import events
from finetop.core.protocol.runs import JobSpec
from finetop.core.runtime.job_folder import read_spec
from finetop.core.supervisor.launchers import slurm_node
from finetop.core.train.resume.earlier_jobs import read_earlier_jobs

STOPPED = events.Ended("stopped", "asked to stop, after step 9 of 50", kind="asked")


def job_folder(tmp_path, *, nodes=2, ranks=2, name="0001-train", verb="train", recipe=None, **args):
    folder = tmp_path / "runs" / "0001-r" / "jobs" / name
    folder.mkdir(parents=True)
    spec = JobSpec(1, 1, 1, "r", verb, recipe or {}, args, ranks=ranks, nodes=nodes)
    (folder / "job.json").write_bytes(msgspec.json.encode(spec))
    return folder


def facts_of(code):
    return {"code": code if code >= 0 else None, "signal": -code if code < 0 else None}


@pytest.mark.parametrize(
    ("nodes", "code", "said", "goes_on"),
    [
        (1, 0, STOPPED, True),
        (2, 0, STOPPED, True),
        (2, 143, STOPPED, True),  # a launcher's code is not the run's word
        (1, -9, None, True),
        (2, 137, None, True),  # srun's code of tasks that were killed before they wrote an event
        (1, 1, None, False),
        (2, 1, events.Ended("failed", "row 3", kind="bad_data"), False),
        (2, 0, events.Ended("finished"), False),
    ],
)
def test_what_slurm_cut_short_is_told_by_the_run_s_last_word(
    tmp_path, monkeypatch, nodes, code, said, goes_on
):
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 200))
    folder = job_folder(tmp_path, nodes=nodes)
    write(folder / "events.jsonl", events.Phase("training") if said is None else said)
    make_checkpoint(folder.parents[1], 9, 1)
    node = slurm_node.Node(folder, 1)
    node.on_term(signal.SIGTERM, None)
    facts = node.facts(facts_of(code))
    assert facts.get("goes_on", False) is goes_on
    assert node.code == (0 if goes_on else int(code != 0))


@pytest.mark.parametrize(
    ("resume_command", "left_s", "goes_on"),
    [([], 5, False), (["again"], 5, True), ([], 5000, True)],  # near its time limit, or preempted
)
def test_a_command_that_hit_its_time_limit_goes_on_if_it_can(
    tmp_path, monkeypatch, resume_command, left_s, goes_on
):
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + left_s))
    recipe = {"command": {"run": ["x"], "resume_command": resume_command}}
    folder = job_folder(tmp_path, nodes=1, ranks=1, verb="command", recipe=recipe)
    write(folder / "events.jsonl", events.Ended("stopped", "asked to stop", kind="asked"))
    node = slurm_node.Node(folder, 1)
    node.on_term(signal.SIGTERM, None)
    assert node.facts(facts_of(0)).get("goes_on", False) is goes_on
    slurm_node.go_on(folder)  # its attempt, not its arguments, says that it goes on
    assert read_spec(folder).args == {}


def test_a_wish_of_slurm_s_that_comes_before_the_job_is_passed_on_once_it_is_there(tmp_path):
    node, asked = slurm_node.Node(job_folder(tmp_path), 1), []
    node.on_term(signal.SIGTERM, None)
    node.begin(1, lambda: asked.append(1))
    assert asked == [1]
    node.on_term(signal.SIGTERM, None)
    assert asked == [1, 1]


def test_what_a_killed_srun_leaves_is_ended_before_the_record_is_written(tmp_path, monkeypatch):
    list_steps = "#!/bin/sh\ntest -e killed && exit 0\nprintf '7.batch\\n7.0\\n7.extern\\n'\n"
    for name, program in {"squeue": list_steps, "scancel": '#!/bin/sh\necho "$@" >> killed\n'}.items():
        (tmp_path / name).write_text(program)
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    slurm_node.Node(job_folder(tmp_path), 1).facts(facts_of(-9))
    assert (tmp_path / "killed").read_text() == "--signal=KILL 7.0\n"


def test_a_job_that_is_started_again_keeps_the_rows_of_its_own_ranks(tmp_path):
    first = job_folder(tmp_path, ranks=4)
    make_checkpoint(first.parents[1], 9, 1)
    for _ in range(2):
        slurm_node.go_on(first)
        resume = read_spec(first).args["resume"]
        assert (resume["step"], resume["began"]) == (9, True)
        assert read_earlier_jobs(first.parents[1], first).ranks == 4
    second = job_folder(tmp_path, ranks=2, name="0002-train", resume={"step": 9, "anyway": False})
    for _ in range(2):
        slurm_node.go_on(second)
        assert read_spec(second).args["resume"]["began"] is False
        assert read_earlier_jobs(first.parents[1], second).ranks == 4


@pytest.fixture
def main(monkeypatch):
    """Run slurm_node as on a node; the command that it would start is only recorded, with the folder's content."""

    def run(folder):
        (folder / "attempt").write_text("1")
        started = []

        def start(*given):
            started.append((list(folder.glob("ranks/*")), dict(os.environ)))

        monkeypatch.setattr(slurm_node.keeper, "start", start)
        monkeypatch.setattr(slurm_node.keeper, "become_subreaper", lambda: None)
        monkeypatch.setattr(slurm_node.signal, "signal", lambda *given: None)
        monkeypatch.setattr(slurm_node.os, "umask", lambda mask: 0)
        monkeypatch.setattr(slurm_node.sys, "argv", ["slurm_node", str(folder), "1", "true"])
        slurm_node.main()
        return started[0]

    return run


def test_what_ranks_said_in_the_last_start_is_not_of_the_next(tmp_path, main):
    folder = job_folder(tmp_path)
    (folder / "ranks").mkdir()
    (folder / "ranks" / "1.json").write_text("{}")
    record = {"attempt": 1, "pid": 1, "job_pid": 1, "boot": "x", "start": "1"}
    (folder / "keeper.json").write_text(json.dumps(record))
    assert main(folder)[0] == []


@pytest.mark.parametrize(("nodes", "threads"), [(1, "8"), (2, None)])
def test_ranks_of_one_node_share_the_job_s_cores(tmp_path, monkeypatch, main, nodes, threads):
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "16")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that what is set here is undone with the test
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert main(job_folder(tmp_path, nodes=nodes))[1].get("OMP_NUM_THREADS") == threads
