"""Which job gets which GPUs: cases by hand, and invariants of all of them."""

from itertools import combinations

import pytest
from hypothesis import given, settings, strategies as st

from finetop.core.protocol.runs import Share
from finetop.core.runtime.gpu import Gpu
from finetop.core.supervisor.gpus.placement import IDLE_GIB, Rules, Waiting, Want, decide, in_the_way, place

RULES = Rules(share=True, reserve_gib=1.0)
ALONE = Rules(share=False)


def card(index=0, total=80.0, others=0.0, **more):
    return Gpu(index, f"GPU-{index}", "H100", total, others_gib=others, **more)


def share(index=0, gib=None):
    return Share(f"GPU-{index}", index, "H100", gib)


def indices(found):
    return [entry.index for entry in found] if isinstance(found, tuple) else found


TWO = (card(0), card(1))
CASES = [
    # wanted, GPUs, held, rules -> indices of the GPUs, or the reason
    (Want(), TWO, (), RULES, [0]),
    (Want(2), TWO, (), RULES, [0, 1]),
    (Want(), TWO, [share(0)], RULES, [1]),
    (Want(), TWO, [share(0), share(1)], RULES, "waits for a free GPU"),
    (Want(2), TWO, [share(0)], RULES, "wants 2 GPUs, 1 is free"),
    (Want(2, 40), TWO, [share(0), share(1, 50)], RULES, "wants 2 GPUs with 40 GiB, 0 are free"),
    (Want(3), TWO, (), RULES, "wants 3 GPUs, 2 are here"),
    (Want(1), (), (), RULES, "wants 1 GPU, 0 are here"),
    # shared memory: an idle GPU first, then the one with fewer jobs, then the one that fits
    (Want(1, 20), TWO, [share(0, 30)], RULES, [1]),
    (Want(1, 20), TWO, [share(0, 30), share(1, 20), share(1, 20)], RULES, [0]),
    (Want(1, 40), TWO, [share(0, 30), share(0, 9), share(1, 45)], RULES, [0]),
    (Want(1, 49), (card(),), [share(0, 30)], RULES, [0]),
    (Want(1, 49.5), (card(),), [share(0, 30)], RULES, "waits for 50 GiB on a GPU"),
    (Want(1, 20), (card(),), [share(0, None)], RULES, "waits for 20 GiB on a GPU"),
    (Want(1, None), (card(),), [share(0, 1)], RULES, "waits for a free GPU"),
    (Want(1, 20), TWO, [share(0, 30), share(1, 30)], ALONE, "waits for a free GPU"),
    # others' memory is waited for
    (Want(), (card(others=38),), (), RULES, "waits for GPU memory: 38 of 80 GiB are used by others on GPU 0"),
    (Want(1, 30), (card(others=38),), (), RULES, [0]),
    (Want(1, 41.5), (card(others=38),), (), RULES, "waits for GPU memory: 38 of 80 GiB are used by others on GPU 0"),
    (Want(1, 30), (card(others=38),), (), ALONE, "waits for GPU memory: 38 of 80 GiB are used by others on GPU 0"),
    (Want(1, 30), (card(0, others=38), card(1)), (), RULES, [1]),
    (Want(), (card(0, others=60), card(1, others=10)), (), RULES,
     "waits for GPU memory: 10 of 80 GiB are used by others on GPU 1"),
    (Want(2, 60), (card(0, others=38), card(1)), (), RULES,
     "wants 2 GPUs with 60 GiB, 1 is free: 38 of 80 GiB are used by others on GPU 0"),
    (Want(), (card(others=0.1),), (), RULES, [0]),  # a screen's
    # large and small GPUs
    (Want(1, 20), (card(0), card(1, total=24)), (), RULES, [1]),
    (Want(1, 30), (card(0, total=24), card(1)), (), RULES, [1]),
    (Want(1, 100), TWO, (), RULES, "wants 100 GiB of GPU memory, the largest here has 80"),
    (Want(2, 30), (card(0, total=24), card(1)), (), RULES, "wants 2 GPUs with 30 GiB, 1 large enough"),
    (Want(1, 79.9), (card(),), (), RULES, [0]),  # alone it needs no reserve
    # an estimate that is too large for all becomes a whole GPU, the largest
    (Want(1, 100, True), (card(0, total=24), card(1)), (), RULES, [1]),
    (Want(1, 100, True), (card(0, total=24), card(1)), [share(1, 1)], RULES, "waits for a free GPU"),
    (Want(2, 100, True), (card(0, total=24), card(1)), (), RULES, [1, 0]),
    # an instance of a divided GPU is never one of two
    (Want(2), (card(0, is_part=True), card(1, is_part=True)), (), RULES,
     "wants 2 GPUs, 0 are here (a process can use one instance of a divided GPU)"),
    (Want(1), (card(0, is_part=True), card(1, is_part=True)), (), RULES, [0]),
]  # fmt: skip


@pytest.mark.parametrize(("want", "cards", "held", "rules", "expected"), CASES)
def test_cases(want, cards, held, rules, expected):
    placement = place(want, cards, held, rules)
    got = sorted(indices(placement)) if isinstance(placement, tuple) else placement
    assert got == (sorted(expected) if isinstance(expected, list) else expected)


def test_what_is_placed_says_what_it_has_and_what_others_had_and_gpus_out_of_service_are_told_of():
    assert place(Want(1, 30), (card(others=38),), (), RULES) == (Share("GPU-0", 0, "H100", 30, 38),)
    assert place(Want(), (card(),), (), RULES)[0].gib is None
    assert place(Want(2), (card(),), (), RULES, unfit=1) == "wants 2 GPUs, 1 works and 1 is out of service"
    assert place(Want(1), (), (), RULES, unfit=2) == "wants 1 GPU, 0 works and 2 are out of service"
    placement = place(Want(1, 100), (card(),), (), RULES, unfit=1)
    assert placement == "wants 100 GiB of GPU memory, the largest here has 80 and 1 is out of service"


def jobs(*wants):
    return [Waiting(number, f"run{number}", want) for number, want in enumerate(wants, 1)]


def started(decision):
    return {job: indices(placement) for job, placement in decision.starts.items()}


def test_the_queue_is_gone_through_in_order_and_each_start_counts_for_the_next():
    decision = decide(jobs(Want(1, 30), Want(), Want(1, 30), Want()), TWO, (), RULES)
    assert started(decision) == {1: [0], 2: [1], 3: [0]}
    assert decision.reasons == {4: "waits for a free GPU"}
    # the first that waits for us keeps what is free, and those behind say so
    decision = decide(jobs(Want(2), Want(), Want(gpus=0)), TWO, [share(0)], RULES)
    assert set(decision.starts) == {3}
    assert decision.kept == {"GPU-0": "run1", "GPU-1": "run1"}
    behind = "waits behind run1, for which GPU 0, 1 is reserved"
    assert decision.reasons == {1: "wants 2 GPUs, 1 is free", 2: behind}
    # who waits for other people, or can never start here, keeps nothing
    decision = decide(jobs(Want(2), Want()), (card(0, others=38), card(1)), (), RULES)
    assert decision.kept == {}
    assert started(decision) == {2: [1]}
    decision = decide(jobs(Want(3), Want(1, 100), Want(2)), TWO, (), RULES)
    assert started(decision) == {3: [0, 1]}
    assert len(decision.reasons) == 2


def test_without_gpus_so_many_jobs_run_as_is_set():
    of_two = "waits for one of 2 jobs to end"
    for cards, cpu_jobs, live, started, words in (
        ((), 1, 0, [1], {2: "", 3: ""}),
        ((), 2, 0, [1, 2], {3: of_two}),
        ((), 2, 2, [], dict.fromkeys((1, 2, 3), of_two)),
        ((), 1, 1, [], dict.fromkeys((1, 2, 3), "")),
        (TWO, 1, 1, [], dict.fromkeys((1, 2, 3), "waits for the one job on the CPU to end")),
    ):
        decision = decide(jobs(*[Want(gpus=0)] * 3), cards, (), Rules(cpu_jobs=cpu_jobs), cpu_live=live)
        assert (list(decision.starts), decision.reasons) == (started, words)


# --- invariants -----------------------------------------------------------------------------------------------

sizes = st.sampled_from([4.0, 8.0, 24.0, 79.5, 80.0, 100.0])
wants = st.builds(
    Want, gpus=st.integers(0, 3), gib=st.none() | sizes | st.floats(0.1, 100), is_estimate=st.booleans()
)
rules = st.builds(
    Rules, share=st.booleans(), reserve_gib=st.sampled_from([0.0, 1.0, 5.0]), cpu_jobs=st.integers(1, 3)
)


@st.composite
def machines(draw):
    totals, others = st.sampled_from([24.0, 40.0, 80.0]), st.sampled_from([0, 0, 0, 0.1, 6, 38])
    parts = st.sampled_from([False, False, False, True])
    count = draw(st.integers(0, 4))
    return tuple(
        Gpu(n, f"GPU-{n}", "H100", draw(totals), others_gib=draw(others), is_part=draw(parts))
        for n in range(count)
    )


def check_memory(cards, held, rules):
    """No GPU is promised beyond its memory, and a whole-GPU job is alone on it."""
    by_uuid = {gpu.uuid: gpu for gpu in cards}
    assert all(gpu.uuid in by_uuid for gpu in held)
    for gpu in cards:
        mine = [other for other in held if other.uuid == gpu.uuid]
        if not mine:
            continue
        theirs = gpu.others_gib if gpu.others_gib > IDLE_GIB else 0.0
        if any(other.gib is None for other in mine) or not rules.share:
            assert len(mine) == 1
            assert theirs == 0
            continue
        spare = rules.reserve_gib if theirs or len(mine) > 1 else 0.0
        assert sum(other.gib for other in mine) + theirs + spare <= gpu.total_gib + 1e-3


@settings(max_examples=300, deadline=None)
@given(machines(), st.lists(wants, max_size=8), rules, st.integers(0, 2))
def test_memory_is_never_promised_twice_and_everybody_is_answered(cards, wanted, rules, unfit):
    decision = decide(jobs(*wanted), cards, (), rules, unfit=unfit)
    held = [share_of_job for placement in decision.starts.values() for share_of_job in placement]
    check_memory(cards, held, rules)
    assert set(decision.starts) | set(decision.reasons) == {job.job for job in jobs(*wanted)}
    assert not set(decision.starts) & set(decision.reasons)
    for job in jobs(*wanted):
        placement = decision.starts.get(job.job)
        if placement is not None:
            assert len({share_of_job.uuid for share_of_job in placement}) == len(placement) == job.want.gpus
        elif job.want.gpus:
            assert decision.reasons[job.job]
    assert sum(1 for placement in decision.starts.values() if not placement) <= rules.cpu_jobs


@settings(max_examples=150, deadline=None)
@given(machines(), wants, rules, st.lists(st.tuples(wants, st.integers(1, 4)), min_size=1, max_size=6))
def test_a_big_job_is_not_starved_by_an_endless_stream_of_small_ones(cards, big, rules, stream):
    """Small jobs arrive behind it in every round, ending a few rounds later: it starts once all older ones end."""
    if isinstance(place(big, cards, (), rules), str) or not big.gpus:
        return  # it can never start here, or needs no GPU
    longest = max(rounds for _, rounds in stream)
    live, number = {}, 100
    for turn in range(3 + len(cards) * (longest + 1) + 1):
        if turn >= 3:  # at first all stay: the machine is full
            live = {job: (found, ends) for job, (found, ends) in live.items() if ends > turn}
        held = [own_share for found, _ in live.values() for own_share in found]
        small = [Waiting(number + n, "s", want) for n, (want, _) in enumerate(stream)]
        # at first only the small ones
        decision = decide(small if turn < 3 else [Waiting(1, "big", big), *small], cards, held, rules)
        if 1 in decision.starts:
            return
        live |= {job: (found, turn + stream[job - number][1]) for job, found in decision.starts.items()}
        check_memory(cards, [own_share for found, _ in live.values() for own_share in found], rules)
        number += len(stream)
    raise AssertionError("it never started")


# --- chats in the way -----------------------------------------------------------------------------------------


def fewest(job, cards, others, chats, rules):
    """Try all subsets of chats, the smallest first: what `in_the_way` must equal in number."""
    for size in range(len(chats) + 1):
        for going in combinations(sorted(chats), size):
            held = [*others, *(own for chat in chats.keys() - set(going) for own in chats[chat])]
            if not isinstance(place(job.want, cards, held, rules), str):
                return size
    return None


@pytest.mark.slow
@given(machines(), wants.filter(lambda want: want.gpus), rules, st.lists(sizes, max_size=5), st.data())
@settings(max_examples=300, deadline=None)
def test_as_few_chats_make_room_as_that_takes(cards, want, rules, shares, data):
    places = st.integers(0, max(0, len(cards) - 1))
    chats = {number: [share(data.draw(places), gib)] for number, gib in enumerate(shares)}
    job = Waiting(99, "run", want)
    going = in_the_way([job], cards, (), chats, rules)
    assert len(going) == (fewest(job, cards, (), chats, rules) or 0)
    assert set(going.values()) <= {"run"}
    left = [own for chat in chats.keys() - going.keys() for own in chats[chat]]
    assert not going or not isinstance(place(want, cards, left, rules), str)


def test_many_chats_are_no_work():
    """All subsets of forty would never be done."""
    chats = {number: [share(0, 2.0)] for number in range(40)}
    blocked = [Waiting(100, "never", Want(9)), Waiting(101, "run", Want(1, 8.0))]
    assert in_the_way(blocked, [card()], (), chats, Rules(reserve_gib=0.0)) == dict.fromkeys(range(4), "run")
