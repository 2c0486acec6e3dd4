"""How much of a GPU a job may use: all of it alone, beside another what that leaves, or the user's limit."""

import json
from pathlib import Path

import fake_job
import msgspec
import pytest
from fake_nvml import UUIDS, Cards
from hypothesis import given, strategies as st
from rig import LONG
from waiting import wait_until as until

from finetop.core.protocol.messages.machine import Gpus
from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.runs import Share
from finetop.core.runtime import gpu_share
from finetop.core.runtime.gpu_share import GpuShare
from finetop.core.supervisor.gpus.neighbours import share_of
from finetop.core.supervisor.gpus.usage import Use, with_usage
from finetop.core.wording.gpus import lines_of

LLAMA_3B = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 3072, "intermediate_size": 8192,
    "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8, "vocab_size": 128256,
    "torch_dtype": "bfloat16", "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture
def cards(cold_rig, tmp_path):
    """One GPU of 80 GiB, and runs of a model whose plan needs some 15 to 40 of it."""
    gpus = Cards(tmp_path / "nvml.json", count=1)
    model = tmp_path / "llama"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(LLAMA_3B))
    cold_rig.model = str(model)
    job = Path(fake_job.__file__).with_name("hungry_job.py")
    cold_rig.variables = {"FINETOP_TEST_NVML": str(gpus.file), "FINETOP_TEST_JOB": str(job)}
    cold_rig.up()
    return gpus


@pytest.fixture
def rig(cold_rig, cards):
    return cold_rig


def told(rig, name):
    """The share written for a live job."""
    return msgspec.json.decode((rig.job_folder(name) / gpu_share.FILE).read_bytes(), type=GpuShare)


def promised(rig, name):
    (job,) = rig.ask(GetRun(name)).jobs
    return job.gpus[0].gib


@pytest.mark.slow
def test_alone_on_a_gpu_no_estimate_is_a_limit_and_beside_another_what_that_one_leaves_is(rig):
    name = rig.submit("alone", hungry=True)
    state = rig.wait_state(name, "failed").state
    assert 10 < promised(rig, name) < 60  # what a neighbour would leave it, no more
    assert state.cause == "out of memory on the GPU: 2.00 GiB more needed, 1.00 GiB of 80.00 GiB free"
    assert (state.kind, "budget" in state.hint) == ("gpu_out_of_memory", False)
    assert state.hint.startswith("Lower train.batch_size")
    # beside another it may take what that one leaves, and the failure names it
    first = rig.submit("first", budget={"memory_gib": 30}, **LONG)
    rig.wait_state(first, "running")
    name = rig.submit("second", hungry=True)
    state = rig.wait_state(name, "failed").state
    assert 10 < promised(rig, name) < 45
    assert state.cause == (
        "out of memory on the GPU: 2.00 GiB more needed, 48.00 GiB of the 49.00 GiB that are left beside run first"
        " are used"
    )
    assert state.kind == "gpu_taken"  # tried again later, as others' memory is
    assert "Try again once run first has ended, or: Lower train.batch_size" in state.hint
    assert state.hint.startswith("Beside it on GPU 0: first")


@pytest.mark.slow
def test_a_job_hears_of_a_neighbour_that_comes_and_goes_and_again_from_a_new_supervisor(rig, cards):
    first = rig.submit("first", budget={"memory_gib": 30}, **LONG)
    rig.wait_state(first, "running")
    assert told(rig, first) == GpuShare(None, (), (1,))
    second = rig.submit("second", budget={"memory_gib": 20}, **LONG)
    rig.wait_state(second, "running")
    assert told(rig, second) == GpuShare(49.0, ("first",), (2,))
    until(lambda: told(rig, first) == GpuShare(59.0, ("second",), (2,)))
    file = rig.job_folder(first) / gpu_share.FILE
    file.unlink()
    rig.restart()
    until(file.exists)
    assert told(rig, first) == GpuShare(59.0, ("second",), (2,))
    rig.ask(Kill(second))
    until(lambda: told(rig, first) == GpuShare(None, (), (1,)))
    # a folder that can't be written holds up nobody
    file.unlink()
    file.mkdir()
    third = rig.submit("third", budget={"memory_gib": 20}, **LONG)
    rig.wait_state(third, "running")
    rig.wait_state(rig.submit("cpu", budget={"gpus": 0}, steps=2), "finished")
    file.rmdir()
    until(lambda: file.exists() and told(rig, first) == GpuShare(59.0, ("third",), (2,)))
    rig.ask(Kill(third))
    until(lambda: told(rig, first) == GpuShare(None, (), (1,)))
    # what a job uses beyond its promise is nobody's to have: no neighbour is placed where memory has run out
    pid = rig.process_of(first)
    cards.change(0, used=60, processes=[[pid, 60]])
    row = until(lambda: (row := rig.ask(Gpus()).gpus[0]).ours_gib == 60 and row)
    assert "first (train) has 30 GiB, 60 used: 30 more than planned" in list(lines_of(row))
    waiting = rig.submit("waiting", budget={"memory_gib": 25}, steps=2)
    rig.wait_because(waiting, "waits for 25 GiB on a GPU")
    small = rig.submit("small", budget={"memory_gib": 10}, **LONG)
    rig.ask(Kill(waiting))
    rig.wait_state(small, "running")
    assert told(rig, small) == GpuShare(19.0, ("first",), (2,))
    rig.ask(Kill(first))
    until(lambda: told(rig, small) == GpuShare(None, (), (1,)))


def on(uuid, gib, others=0.0):
    return Share(uuid, UUIDS.index(uuid), "H100", gib, others)


def left(job, gpus, held, uses=None, totals=None, reserve=1.0):
    totals = totals or dict.fromkeys(UUIDS, 80.0)
    return share_of(job, gpus, held, {1: "one", 2: "two", 3: "three"}, totals, uses or {}, reserve)


CASES = {
    # the job's GPUs, what others hold, uses -> what it may use, beside which runs, jobs on each
    "alone": ([on(UUIDS[0], 20)], [], {}, None, (), (1,)),
    "alone, of no known size": ([on(UUIDS[0], None)], [], {}, None, (), (1,)),
    "on another GPU": ([on(UUIDS[0], 20)], [(2, on(UUIDS[1], 20))], {}, None, (), (1,)),
    "itself": ([on(UUIDS[0], 20)], [(1, on(UUIDS[0], 20))], {}, None, (), (1,)),
    "beside one": ([on(UUIDS[0], 20)], [(2, on(UUIDS[0], 30))], {}, 49.0, ("two",), (2,)),
    "beside two": ([on(UUIDS[0], 20)], [(2, on(UUIDS[0], 30)), (3, on(UUIDS[0], 20))], {},
                   29.0, ("three", "two"), (3,)),
    "beside one that uses more": ([on(UUIDS[0], 20)], [(2, on(UUIDS[0], 30))], {UUIDS[0]: Use(40, 5, {2: 40}, ())},
                                  34.0, ("two",), (2,)),
    "who uses what is hidden: what it uses itself is no stranger's": (
        [on(UUIDS[0], 20, others=3)], [(2, on(UUIDS[0], 30))], {UUIDS[0]: Use(50, 25, {1: None, 2: None}, ())},
        46.0, ("two",), (2,)),
    "never less than its promise": ([on(UUIDS[0], 20)], [(2, on(UUIDS[0], 30))], {UUIDS[0]: Use(75, 0, {2: 75}, ())},
                                    20.0, ("two",), (2,)),
    "of two GPUs the fuller one counts": ([on(UUIDS[0], 20), on(UUIDS[1], 20)], [(2, on(UUIDS[1], 30))], {},
                                          49.0, ("two",), (1, 2)),
    "a part of a GPU": ([on(UUIDS[2], 4)], [(2, on(UUIDS[2], 3))], {}, 6.0, ("two",), (2,)),
    "a GPU that is gone": ([on(UUIDS[7], 4)], [(2, on(UUIDS[7], 3))], {}, None, ("two",), (2,)),
}  # fmt: skip


@pytest.mark.parametrize(("gpus", "held", "uses", "gib", "beside", "jobs_on"), CASES.values(), ids=CASES)
def test_cases(gpus, held, uses, gib, beside, jobs_on):
    totals = {**dict.fromkeys(UUIDS[:7], 80.0), UUIDS[2]: 10.0}
    assert left(1, gpus, held, uses, totals) == GpuShare(gib, beside, jobs_on)


@given(
    promises=st.lists(st.floats(1, 30), min_size=2, max_size=3),
    more=st.lists(st.floats(0, 60), min_size=3, max_size=3),
    reserve=st.floats(0, 4),
)
def test_whoever_keeps_to_its_plan_has_room_for_it_whatever_one_neighbour_takes(promises, more, reserve):
    """Each may grow to its own limit at that moment: the others' promises still fit beside it."""
    if sum(promises) + reserve > 80:
        promises = [min(one, (80 - reserve) / len(promises)) for one in promises]
    held = [(job, on(UUIDS[0], gib)) for job, gib in enumerate(promises, 1)]
    used = {job: 0.0 for job, _ in held}
    for job, share in held:
        limit = left(job, [share], held, {UUIDS[0]: Use(0, 0, dict(used), ())}, reserve=reserve).gib
        assert limit >= share.gib
        used[job] = min(limit, share.gib + more[job - 1])
        taken = sum(max(used[other], one.gib) for other, one in held)
        assert taken <= 80 - reserve + 0.1 + 1e-6


def test_what_is_used_beyond_a_promise_counts_when_room_is_looked_for():
    held = [(1, on(UUIDS[0], 20)), (2, on(UUIDS[0], None)), (3, on(UUIDS[1], 20))]
    uses = {UUIDS[0]: Use(45, 0, {1: 25, 2: 20}, ()), UUIDS[1]: Use(15, 0, {3: 15}, ())}
    hidden = {UUIDS[0]: Use(9, 0, {1: None, 2: None}, ())}
    for seen, counted in ((uses, [25, None, 20]), ({}, [20, None, 20]), (hidden, [20, None, 20])):
        assert [share.gib for share in with_usage(held, seen)] == counted
