"""The real supervisor on GPUs of a fake NVML: which job gets which, which wait and why, what survives."""

import json
import os
import signal

import pytest
from fake_nvml import UUIDS, Cards
from rig import LONG
from waiting import wait_until as until

from finetop.core.client.connection import Client
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.external.recipe import CommandRequest, command_recipe
from finetop.core.protocol.messages.machine import Gpus
from finetop.core.protocol.messages.queue import Kill, Retry
from finetop.core.protocol.messages.runs import GetRun, Runs
from finetop.core.protocol.messages.session import Changes, Hello
from finetop.core.protocol.messages.submit import Resume, Submit
from finetop.core.protocol.runs import Queued, Running
from finetop.core.runtime.files import write_whole
from finetop.core.supervisor.rebuild import rebuild


@pytest.fixture
def cards(cold_rig, tmp_path):
    """Two GPUs, for the supervisors of a home whose runs are of unknown size: each needs a whole GPU."""
    gpus = Cards(tmp_path / "nvml.json")
    cold_rig.model = "org/nowhere"
    cold_rig.variables = {"FINETOP_TEST_NVML": str(gpus.file)}
    return gpus


@pytest.fixture
def rig(cold_rig, cards):
    cold_rig.up()
    return cold_rig


def seen_by(rig, name):
    """The GPUs in a running job's environment."""
    device = rig.wait_changes(lambda: rig.ask(GetRun(name)).device.strip(), lambda: rig.about(name))
    return device.split()[0].split(",")


def set_to(rig, text):
    """Write settings.yaml whole: the supervisor reads it at any moment."""
    write_whole(rig.home.root / "settings.yaml", f"settings: 1\n{text}\n".encode())


def gpus(rig):
    return rig.ask(Gpus())


@pytest.mark.slow
def test_two_gpus_take_two_jobs_the_third_waits_and_a_job_for_both_is_not_overtaken(rig):
    first, second = (rig.submit("one", **LONG), rig.submit("two", **LONG))
    third = rig.submit("three", steps=3)
    for name in (first, second):
        rig.wait_state(name, "running")
    assert [seen_by(rig, first), seen_by(rig, second)] == [[UUIDS[0]], [UUIDS[1]]]
    rig.wait_because(third, "waits for a free GPU")
    (job,) = rig.ask(GetRun(second)).jobs
    assert [(share.uuid, share.index, share.gib) for share in job.gpus] == [(UUIDS[1], 1, None)]
    rows = gpus(rig).gpus
    assert [[job.run for job in row.jobs] for row in rows] == [[first], [second]]
    assert [entry.run for entry in gpus(rig).waiting] == [third]
    assert [row.kept_for for row in rows] == [third, ""]
    rig.ask(Kill(second))
    rig.wait_state(third, "finished")
    assert seen_by(rig, third) == [UUIDS[1]]
    big = rig.submit("big", budget={"gpus": 2}, **LONG)
    behind = rig.submit("behind", steps=2)
    rig.wait_because(big, "wants 2 GPUs, 1 is free")
    rig.wait_because(behind, "waits behind big, for which GPU 0, 1 is reserved")
    rig.ask(Kill(first))
    rig.wait_state(big, "running")
    assert seen_by(rig, big) == UUIDS[:2]
    rig.ask(Kill(big))
    rig.wait_state(behind, "finished")


@pytest.mark.slow
def test_other_peoples_memory_is_left_alone_and_small_jobs_share_a_gpu_and_no_more(rig, cards):
    cards.change(0, used=38, processes=[[1, 38]])
    cards.change(1, used=70.2, processes=[[1, 70]])
    until(lambda: [round(row.others_gib) for row in gpus(rig).gpus] == [38, 70])
    name = rig.submit("whole", **LONG)
    rig.wait_because(name, "waits for GPU memory: 38 of 80 GiB are used by others on GPU 0")
    row = gpus(rig).gpus[0]
    assert (row.ours_gib, [process.pid for process in row.others]) == (0, [1])
    cards.change(1, used=0, processes=[])
    rig.wait_state(name, "running")
    assert seen_by(rig, name) == [UUIDS[1]]
    rig.ask(Kill(name))
    cards.change(0, used=0, processes=[])
    cards.change(1, used=79, processes=[[1, 79]])
    until(lambda: [row.others_gib > 70 for row in gpus(rig).gpus] == [False, True])
    names = [rig.submit(f"n{n}", budget={"memory_gib": 30}, **LONG) for n in range(3)]
    for name in names[:2]:
        rig.wait_state(name, "running")
    rig.wait_because(names[2], "waits for 30 GiB on a GPU")
    assert [seen_by(rig, name) for name in names[:2]] == [[UUIDS[0]]] * 2
    set_to(rig, "gpus: {share: false}")
    rig.ask(Kill(names[0]))
    rig.wait_state(names[0], "stopped")
    rig.wait_because(names[2], "waits for a free GPU")
    rig.ask(Kill(names[1]))
    rig.wait_state(names[2], "running")


@pytest.mark.slow
def test_a_new_supervisor_goes_on_with_what_jobs_have(rig, cards):
    first, second = rig.submit("one", **LONG), rig.submit("two", budget={"memory_gib": 50}, **LONG)
    for name in (first, second):
        rig.wait_state(name, "running")
    waiting = rig.submit("three", budget={"memory_gib": 20}, steps=2)
    rig.wait_state(waiting, "finished")  # beside the second
    assert seen_by(rig, waiting) == [UUIDS[1]]
    after = rig.submit("four", budget={"memory_gib": 40}, steps=2)
    for is_rebuilt in (False, True):
        rig.kill()
        if is_rebuilt:
            rebuild.rebuild(rig.home)
        rig.up()
        rig.wait_because(after, "waits for 40 GiB on a GPU")
    jobs = [[(job.run, job.gib) for job in row.jobs] for row in gpus(rig).gpus]
    assert jobs == [[(first, None)], [(second, 50)]]
    rig.ask(Kill(first))
    rig.wait_state(after, "finished")
    assert seen_by(rig, after) == [UUIDS[0]]


@pytest.mark.slow
def test_processes_are_told_apart_by_their_keeper_and_a_failure_names_the_gpu_that_fails(rig, cards):
    name = rig.submit("mine", **LONG)
    pid = rig.process_of(name)
    cards.change(0, used=21, processes=[[pid, 20], [1, 1]])
    row = until(lambda: (row := gpus(rig).gpus[0]).ours_gib and row)
    assert (row.ours_gib, round(row.others_gib, 3), row.jobs[0].used_gib) == (20, 1, 20)
    assert [(one.pid, one.gib) for one in row.others] == [(1, 1)]
    cards.change(1, used=20, processes=[[pid, 20]])  # a GPU that it was not given is held by it, too
    until(lambda: [len(row.jobs) for row in gpus(rig).gpus] == [1, 1])
    other = rig.submit("other", **LONG)
    rig.wait_because(other, "waits for a free GPU")
    cards.change(1, used=0, processes=[])
    cards.change(0, used=0, processes=[], ecc=2)
    rig.wait_state(other, "running")
    assert seen_by(rig, other) == [UUIDS[1]]
    assert isinstance(rig.ask(GetRun(name)).row.state, Running)
    os.kill(pid, signal.SIGKILL)
    state = rig.wait_state(name, "failed").state
    assert state.cause == (
        "GPU 0 (NVIDIA H100 80GB HBM3) fails: 2 uncorrectable memory errors since the driver was loaded:"
        " it needs a reset: nvidia-smi --gpu-reset -i 0"
    )
    assert (state.kind, "The job ended with: killed by signal 9" in state.hint) == ("gpu_lost", True)
    rig.ask(Kill(other))
    rig.wait_state(other, "stopped")
    cards.change(0, ecc=0)
    until(lambda: not rig.ask(Changes(0, 0.0)).trouble)
    # a lost GPU leaves the pool, and comes back
    cards.change(0, error="GPU_IS_LOST", mute=True)
    trouble = until(lambda: rig.ask(Changes(0, 0.0)).trouble)
    assert trouble == "GPU 0 (NVIDIA H100 80GB HBM3) is lost: GPU is lost"
    one = rig.submit("one", **LONG)
    rig.wait_state(one, "running")
    assert seen_by(rig, one) == [UUIDS[1]]
    pair = rig.submit("pair", budget={"gpus": 2}, steps=2)
    rig.wait_because(pair, "wants 2 GPUs, 1 works and 1 is out of service")
    cards.change(0, error=None, mute=False)
    until(lambda: not rig.ask(Changes(0, 0.0)).trouble)
    rig.wait_because(pair, "wants 2 GPUs, 1 is free")
    for run in (pair, one):
        rig.ask(Kill(run))
        rig.wait_state(run, "stopped")
    # settings choose GPUs, and a fault in them is told
    set_to(rig, "gpus: {only: [1]}")
    until(lambda: gpus(rig).gpus[0].left_out == "left out by settings.yaml gpus.only")
    two = rig.submit("two", **LONG)
    rig.wait_state(two, "running")
    assert seen_by(rig, two) == [UUIDS[1]]
    set_to(rig, "gpus: {only: [1], shar: true}")
    trouble = until(lambda: rig.ask(Changes(0, 0.0)).trouble)
    assert "settings.yaml:2: gpus.shar is not an option of gpus. Did you mean share?" in trouble
    rig.wait_because(rig.submit("three"), trouble.rstrip("."))  # nothing starts on a guess
    set_to(rig, f"gpus: {{only: [{UUIDS[0][:12]}]}}")
    until(lambda: [bool(row.left_out) for row in gpus(rig).gpus] == [False, True])


@pytest.mark.slow
def test_a_driver_that_hangs_holds_up_gpu_jobs_and_nobody_else(cold_rig, cards):
    rig = cold_rig
    rig.up(FINETOP_TEST_NO_ANSWER_S="1.0")
    cards.told["hangs"] = True
    cards.write()
    until(lambda: "does not answer" in rig.ask(Changes(0, 0.0)).trouble)
    name = rig.submit("one", steps=2)
    rig.ask(Runs())  # is answered, while the driver still hangs
    rig.wait_because(name, "waits: the GPU driver does not answer")
    alone = rig.submit("cpu", budget={"gpus": 0}, steps=2)
    rig.wait_state(alone, "finished")
    assert seen_by(rig, alone) == ["float32"]  # no GPU in its environment
    cards.told["hangs"] = False
    cards.write()
    rig.wait_state(name, "finished")


@pytest.mark.slow
def test_the_process_that_waits_is_used_where_it_can_see_the_gpu_that_was_given(cold_rig, cards):
    cold_rig.up(FINETOP_SPARE="1")
    until(lambda: "waits for the next" in cold_rig.ask(Hello()).spare)
    first = cold_rig.submit("one", **LONG)
    assert seen_by(cold_rig, first) == [UUIDS[0]]
    spare = json.loads((cold_rig.home.root / "spare.json").read_text())
    assert cold_rig.process_of(first) == spare["pid"]
    second = cold_rig.submit("two", **LONG)  # no process waits beside a job: it gets a new one
    assert seen_by(cold_rig, second) == [UUIDS[1]]


def test_without_gpus_jobs_run_one_at_a_time_or_as_is_set(cold_rig):
    cold_rig.up()
    names = [cold_rig.submit(f"n{n}", **LONG) for n in range(3)]
    cold_rig.wait_state(names[0], "running")
    with Client(cold_rig.home, start=False) as client:
        answer = client.ask(Gpus())
        assert (answer.gpus, answer.cpu_jobs, [job.run for job in answer.on_cpu]) == ([], 1, names[:1])
        assert client.ask(GetRun(names[1])).row.state == Queued(1, "waits for the one job slot")
    set_to(cold_rig, "slots: {cpu_jobs: 2}")
    cold_rig.wait_state(names[1], "running")
    cold_rig.wait_because(names[2], "waits for one of 2 jobs to end")


@pytest.mark.slow
def test_a_gpu_that_torch_can_not_use_is_refused_before_queueing_and_the_cpu_is_not(cold_rig, cards):
    """The installed torch may be built for the CPU; one for CUDA finds no driver behind these cards."""
    cold_rig.up(FINETOP_TEST_TORCH="real")
    with pytest.raises(EnvironmentTrouble, match="H100 80GB HBM3 can't be used: ") as refused:
        cold_rig.submit("one", steps=1)
    assert "budget.gpus to 0" in refused.value.hint
    assert cold_rig.ask(Runs()).rows == []
    assert not list((cold_rig.home.root / "runs").glob("*"))
    cold_rig.wait_state(cold_rig.submit("two", budget={"gpus": 0}, steps=1), "finished")
    cold_rig.restart(FINETOP_TEST_TORCH="fits")
    failed = cold_rig.submit("failed", end="crash", steps=1)
    cold_rig.wait_state(failed, "failed")
    cold_rig.restart(FINETOP_TEST_TORCH="real")
    for ask in (Resume(failed), Retry(failed)):
        with pytest.raises(EnvironmentTrouble, match="H100 80GB HBM3 can't be used: "):
            cold_rig.ask(ask)
    set_to(cold_rig, "gpus: {only: []}")
    until(lambda: gpus(cold_rig).gpus[0].left_out)
    cold_rig.wait_state(cold_rig.submit("three", steps=1), "finished")


def submit_command(rig, words, *sets):
    """Queue a command, which the fake job stands in for."""
    loaded = command_recipe(CommandRequest(tuple(words.split()), rig.home.root, name="program"), sets)
    return rig.ask(Submit(loaded.resolved, loaded.text, "program")).name


@pytest.mark.slow
def test_a_command_gets_its_gpus_by_number_and_instances_by_uuid(rig, cards):
    """deepspeed's launcher reads only numbers (int("GPU-…") fails); CUDA names an instance by its UUID alone."""
    assert seen_by(rig, submit_command(rig, "/bin/true", "budget.gpus=2")) == ["0", "1"]
    assert seen_by(rig, rig.submit("ours", steps=1)) == [UUIDS[0]]
    part = f"MIG-{UUIDS[1][4:]}"
    cards.change(1, parts=[{"uuid": part, "total": 20}])
    until(lambda: gpus(rig).gpus[1].uuid == part)
    assert seen_by(rig, submit_command(rig, "/bin/true", "budget.memory_gib=10")) in ([UUIDS[0]], [part])


def test_a_launcher_that_takes_other_gpus_is_refused_before_queueing(rig):
    for words, message in (
        ("/usr/bin/env deepspeed --num_gpus 2 train.py", "ignores CUDA_VISIBLE_DEVICES"),
        ("/usr/bin/env torchrun --nproc-per-node 2 train.py", "more processes than budget.gpus"),
    ):
        with pytest.raises(BadInput, match=message):
            submit_command(rig, words)
    assert rig.ask(Runs()).rows == []


@pytest.mark.slow
def test_a_job_that_is_done_with_its_gpu_leaves_it_to_others_and_goes_on(rig, cards):
    """Its process keeps a CUDA context there, which is no use of the GPU; nor is it killed with the GPU."""
    first = rig.submit("export", budget={"memory_gib": 60}, releases=2, **{**LONG, "waits_at": 3})
    rig.wait_step(first, 2)
    cards.change(0, used=0.5, processes=[[rig.process_of(first), 0.5]])
    cards.change(1, error="GPU_IS_LOST")
    until(lambda: [row.fault for row in gpus(rig).gpus] == ["", "lost"])
    whole = rig.submit("whole", **LONG)  # a whole GPU, alone
    rig.wait_state(whole, "running")
    assert seen_by(rig, whole) == [UUIDS[0]]
    assert [(job.run, job.gib) for job in gpus(rig).gpus[0].jobs] == [(first, 0.0), (whole, None)]
    cards.change(0, error="GPU_IS_LOST")
    rig.wait_state(whole, "failed")
    assert isinstance(rig.ask(GetRun(first)).row.state, Running)


def test_a_gpu_with_past_memory_errors_is_used_if_the_settings_say_so(rig, cards):
    for number in (0, 1):
        cards.change(number, ecc=1)
    name = rig.submit("one", steps=1)
    rig.wait_because(name, "wants 1 GPU, 0 works and 2 are out of service")
    set_to(rig, "gpus: {after_memory_errors: use}")
    rig.wait_state(name, "finished")
