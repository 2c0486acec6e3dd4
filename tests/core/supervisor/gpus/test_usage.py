"""Who uses a GPU's memory: known processes, unknown ones, and a container that hides them."""

import pytest
from hypothesis import given, settings, strategies as st

from finetop.core.protocol.runs import Share
from finetop.core.runtime.gpu import Gpu, Process
from finetop.core.supervisor.gpus.usage import card_of, unassigned_shares, use_of


def gpu(used, *processes, told=True):
    return Gpu(0, "GPU-0", "H100", 80.0, used, processes=tuple(processes) if told else None)


def share(gib=None, others=0.0, uuid="GPU-0"):
    return Share(uuid, 0, "H100", gib, others)


CASES = {
    # used, processes, what jobs hold, process owners, same pids as here -> ours, others, strangers
    "nobody": (gpu(0.1), [], {}, True, 0, 0.1, []),
    "others alone": (gpu(38, Process(5, 38)), [], {}, True, 0, 38, [5]),
    "ours and others": (gpu(21, Process(5, 1), Process(7, 20)), [(1, share())], {7: 1}, True, 20, 1, [5]),
    "ours has not touched it": (gpu(1, Process(5, 1)), [(1, share(24))], {}, True, 0, 1, [5]),
    "another GPU's share": (gpu(9), [(1, share(24, uuid="GPU-1"))], {}, True, 0, 9, []),
    # in a container no process is listed, or by the host's pids
    "hidden": (gpu(20), [(1, share(24))], {}, False, 20, 0, []),
    "hidden, more than was promised": (gpu(50), [(1, share(24))], {}, False, 24, 26, []),
    "hidden, others were there": (gpu(20), [(1, share(24, others=6))], {}, False, 14, 6, []),
    "hidden, others have left": (gpu(4), [(1, share(24, others=6))], {}, False, 0, 4, []),
    "hidden, a whole GPU": (gpu(70), [(1, share())], {}, False, 70, 0, []),
    "hidden, by host numbers": (gpu(20, Process(99, 20)), [(1, share(24))], {}, False, 20, 0, []),
    "hidden, none of ours": (gpu(20, Process(99, 20)), [], {}, False, 0, 20, [99]),
    "not told at all": (gpu(20, told=False), [(1, share(24))], {}, True, 20, 0, []),
    "ours without a size": (gpu(20, Process(7, None)), [(1, share(24))], {7: 1}, True, 20, 0, []),
    # its process is ours, but was given no GPU
    "ours without a share": (gpu(20, Process(7, 19)), [], {7: 1}, True, 19, 1, []),
}


@pytest.mark.parametrize(
    ("seen", "held", "owners", "sees_all", "ours", "others", "strangers"), CASES.values(), ids=CASES
)
def test_cases(seen, held, owners, sees_all, ours, others, strangers):
    use = use_of(seen, held, owners, sees_all=sees_all)
    assert (use.ours_gib, use.others_gib) == pytest.approx((ours, others))
    assert [process.pid for process in use.others] == strangers
    assert card_of(seen, use).others_gib == use.others_gib


def test_memory_is_told_by_job():
    seen = gpu(50, Process(7, 20), Process(8, 5), Process(9, 12))
    held = [(1, share(24)), (2, share(24)), (3, share(4))]
    assert use_of(seen, held, {7: 1, 8: 1, 9: 2}, sees_all=True).by_job == {1: 25, 2: 12, 3: None}
    assert use_of(gpu(0), held, {}, sees_all=True).by_job == {1: 0, 2: 0, 3: 0}
    assert use_of(gpu(0), held, {}, sees_all=False).by_job == {1: None, 2: None, 3: None}


def test_what_is_used_without_having_been_given_counts_as_a_whole_gpu():
    seen = [gpu(20, Process(7, 19), Process(8, 1)), gpu(3, Process(9, 1))]
    assert unassigned_shares(seen[:1], [], {7: 1, 8: 1}) == [(1, share())]
    assert unassigned_shares(seen[:1], [(1, share(24))], {7: 1}) == []
    assert unassigned_shares(seen, [(1, share(24))], {9: 2}) == [(2, share())]


@given(
    used=st.floats(0, 80),
    processes=st.lists(st.tuples(st.integers(1, 6), st.none() | st.floats(0, 80)), max_size=4),
    held=st.lists(st.tuples(st.integers(1, 3), st.none() | st.floats(0.1, 80), st.floats(0, 80)), max_size=3),
    sees_all=st.booleans(),
    told=st.booleans(),
)
@settings(deadline=None)
def test_all_that_is_used_is_somebodys(used, processes, held, sees_all, told):
    seen = gpu(used, *(Process(*one) for one in processes), told=told)
    shares = [(job, share(gib, others)) for job, gib, others in held]
    use = use_of(seen, shares, {1: 1, 2: 2}, sees_all=sees_all)
    assert use.ours_gib + use.others_gib == pytest.approx(used)
    assert min(use.ours_gib, use.others_gib) >= 0
    assert {job for job, _ in shares} <= set(use.by_job)
