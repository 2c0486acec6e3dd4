"""Commands as Slurm's jobs: queued, read, stopped, ended; their output is imported and checked there too."""

import command_runs
import pytest
from command_runs import LOOP, noted, python, stored, submit
from made_elsewhere import write_adapter, write_base
from waiting import TORCH_LIMIT_S, wait_until

from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.runs import word

pytestmark = pytest.mark.slow  # if Slurm is installed: a cluster is started
ENDS = ("finished", "stopped", "failed", "lost")
TRAIN = f"{LOOP}    __import__('shutil').copytree('../adapter', 'out')\n    print('on', os.environ['SLURM_JOB_ID'])\n"


@pytest.fixture
def rig(slurm_rig, tmp_path):
    write_adapter(tmp_path / "adapter", write_base(tmp_path / "base"))
    command_runs.up(slurm_rig)
    return slurm_rig


def test_a_command_is_a_job_of_slurm_and_its_output_is_checked_there(rig, cluster, tmp_path):
    folder = tmp_path / "work"
    name = submit(rig, folder, python(TRAIN, 40, 0.1), "there", "budget.gpus=0", output="out")
    rig.wait_step(name, 2)
    assert [state for _, state, comment in cluster.jobs() if name in comment] == ["RUNNING"]
    (folder / "end").touch()
    row = rig.wait_state(name, *ENDS, limit_s=TORCH_LIMIT_S)
    assert word(row.state) == "finished", rig.about(name)
    detail = wait_until(lambda: len((detail := rig.ask(GetRun(name))).jobs) == 3 and detail, cluster.log)
    assert [job.verb for job in detail.jobs] == ["command", "import", "check"]
    assert stored(rig, name) == noted(folder) == [*range(1, row.step + 1)]
    log = rig.home.root / detail.folder / detail.jobs[0].folder / "log.txt"
    assert f"on {cluster.jobs()[0][0]}\n" in log.read_text()
    assert (detail.row.method, detail.row.model) == ("lora", str(tmp_path / "base"))
    wait_until(lambda: rig.ask(GetRun(name)).checks, cluster.log, TORCH_LIMIT_S)
    assert len([None for _, _, comment in cluster.jobs() if name in comment]) == 2, (
        "an import only reads, here"
    )


def test_a_stop_reaches_a_command_there_with_time_to_end(rig, tmp_path):
    ends = "import signal; signal.signal(15, lambda *_: open('end', 'w'))\n    last,"
    program = python(LOOP.replace("last,", ends), 10_000, 0.05)
    name = submit(rig, tmp_path / "work", program, "stops", "budget.gpus=0")
    rig.wait_step(name, 2)
    rig.ask(Stop(name))
    row = rig.wait_state(name, *ENDS, limit_s=TORCH_LIMIT_S)
    assert (word(row.state), row.state.how) == ("stopped", "stop"), rig.about(name)
    assert stored(rig, name) == noted(tmp_path / "work")
    assert rig.orphans() == []


def test_a_command_on_two_nodes_starts_on_the_first_and_reaches_the_other_by_srun(rig, tmp_path):
    program = ["srun", "--ntasks=2", "--ntasks-per-node=1", "printenv", "SLURMD_NODENAME"]
    name = submit(rig, tmp_path / "work", program, "two", "budget={nodes: 2, gpus: 0}")
    row = rig.wait_state(name, *ENDS, limit_s=TORCH_LIMIT_S)
    assert word(row.state) == "finished", rig.about(name)
    log = (rig.job_folder(name) / "log.txt").read_text()
    assert {"n1", "n2"} <= set(log.split()), log
