"""Which jobs go into a cluster's queue, and with which options."""

import json

import pytest

from finetop.core.errors import BadInput
from finetop.core.protocol import runs as data
from finetop.core.recipe.home_settings import Settings, Slurm
from finetop.core.store import jobs, runs
from finetop.core.supervisor.launchers import slurm_commands
from finetop.core.supervisor.launchers.launcher import JobStatus, Place
from finetop.core.supervisor.queue import placement


@pytest.mark.parametrize(
    ("slurm", "budget", "has_gpus", "is_training", "wanted"),
    [
        (Slurm(), {}, False, True, ("--nodes=1",)),
        (Slurm(), {}, True, True, ("--nodes=1", "--gres=gpu:1")),
        (Slurm(), {"gpus": 0}, True, True, ("--nodes=1",)),
        (Slurm(), {"gpus": 4}, True, True, ("--nodes=1", "--gres=gpu:4")),
        (Slurm(), {"gpus": 4}, True, False, ("--nodes=1", "--gres=gpu:1")),
        (Slurm(), {"gpus": 8, "nodes": 2}, True, True, ("--nodes=2", "--gres=gpu:4")),
        (Slurm(extra=("--gpus=a100:1",)), {"gpus": 4}, True, True, ("--nodes=1", "--gpus=a100:1")),
        (
            Slurm(partition="p", account="a", time="1:00:00", qos="q", extra=("--mem=8G",)), {}, False, True,
            ("--partition=p", "--account=a", "--time=1:00:00", "--qos=q", "--nodes=1", "--mem=8G"),
        ),
    ],
)  # fmt: skip
def test_what_a_job_asks_for(slurm, budget, has_gpus, is_training, wanted):
    assert placement.options(slurm, budget, has_gpus=has_gpus, is_training=is_training) == wanted


def test_a_command_has_the_gpus_of_its_budget_and_what_only_reads_stays_here(quiet, monkeypatch):
    supervisor, connection = quiet.supervisor, quiet.supervisor.connection
    supervisor.settings = Settings(slurm=Slurm())
    monkeypatch.setattr(placement, "has_gpus", lambda supervisor: True)
    run_id = quiet.queue("x")
    recipe = runs.recipe(connection, run_id)
    recipe["budget"]["gpus"] = 4
    connection.execute("UPDATE runs SET recipe = ? WHERE id = ?", [json.dumps(recipe), run_id])
    for verb, gpus in (("command", 4), ("watch", None), ("import", None), ("check", 1)):
        connection.execute("UPDATE jobs SET verb = ? WHERE run_id = ?", [verb, run_id])
        (job,) = jobs.queued(connection)
        batch = placement.batch_of(supervisor, job)
        assert (batch and batch.options) == (gpus and ("--nodes=1", f"--gres=gpu:{gpus}")), verb
        assert placement.split_by_place(supervisor, [job]) == (([], [job]) if gpus else ([job], [])), verb


def test_more_nodes_than_jobs_can_have_are_refused_in_words(quiet):
    placement.require_nodes(quiet.supervisor, {"nodes": 1})
    says = r"budget.nodes is 2, but jobs run on this machine only.*docs/clusters.md"
    with pytest.raises(BadInput, match=says):
        placement.require_nodes(quiet.supervisor, {"nodes": 2})
    quiet.supervisor.settings = Settings(slurm=Slurm())
    placement.require_nodes(quiet.supervisor, {"nodes": 2})


def test_who_waits_there_is_seen_as_queued_and_runs_from_when_it_does(quiet):
    state = data.Running(since=1.0, waits="waits for: Priority")
    assert data.visible_state(state) == data.Queued(place=0, because="waits for: Priority")
    asked = data.Running(since=1.0, waits="waits for: Priority", asked="stop")
    assert data.visible_state(asked) is asked
    assert data.visible_state(data.Running(since=1.0)) == data.Running(since=1.0)
    # a look at this machine has no place
    looks = {1: JobStatus(None, True, 0), 2: JobStatus(None, True, 0, Place("", "n1"))}
    placement.update_places(quiet.supervisor, looks)
    assert quiet.supervisor.places == {2: Place("", "n1")}


def test_a_list_of_hosts_is_read():
    for text, names in {
        "": "", "n1": "n1", "n[01-03,7],login": "n01 n02 n03 n7 login", "a[1-2]b[3-4]": "a1b3 a1b4 a2b3 a2b4",
    }.items():  # fmt: skip
        assert slurm_commands.hosts(text) == names.split()


def test_nodes_are_read_once_each_with_their_gpus(monkeypatch):
    lines = (
        "n1|mixed|main*|gpu:rtx:4(S:0-1)|gpu:rtx:2(IDX:0-1)|1/7/0/8|none\n"
        "n1|mixed|debug|gpu:rtx:4(S:0-1)|gpu:rtx:2(IDX:0-1)|1/7/0/8|none\n"
        "n2|drained*|main*|(null)|gpu:0|0/8/0/8|bad fan\n"
    )
    monkeypatch.setattr(slurm_commands, "call", lambda words: lines)
    first, second = slurm_commands.nodes()
    assert first == slurm_commands.Node("n1", "mixed", "main*, debug", 4, 2, "rtx", "1/7/0/8", "")
    assert second == slurm_commands.Node("n2", "drained", "main*", 0, 0, "", "0/8/0/8", "bad fan")


def test_what_only_holds_on_this_machine_is_not_passed_on():
    kept = {"SLURM_CONF": "/x", "HOME": "/h", "SBATCH_QOS": "q"}
    assert slurm_commands.environment({**kept, "SLURM_JOB_ID": "1", "CUDA_VISIBLE_DEVICES": "0"}) == kept
