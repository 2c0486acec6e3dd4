"""When waiting jobs would start: simulated by hand, and in the listing of a store with ended runs."""

import asyncio
import time

import pytest
from rig import load_recipe

from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.queue import Hold, Queue, Release
from finetop.core.protocol.messages.submit import Submit
from finetop.core.protocol.runs import Share
from finetop.core.runtime.gpu import Gpu
from finetop.core.store import jobs
from finetop.core.store.database import transaction
from finetop.core.supervisor.gpus.placement import Rules, Waiting, Want
from finetop.core.supervisor.queue import ready
from finetop.core.supervisor.queue.start_times import MOST, Coming, Going, Start, kind_of, simulate
from finetop.core.supervisor.requests import queue, submit

CPU = Rules(cpu_jobs=1)
GPUS = tuple(Gpu(index, f"GPU-{index}", "H100", 80.0) for index in range(2))


def on(*indices, gib=None):
    return tuple(Share(f"GPU-{index}", index, "H100", gib) for index in indices)


def coming(number, want=None, lasts_s=None):
    return Coming(Waiting(number, f"run-{number}", want or Want(gpus=0)), lasts_s)


@pytest.mark.parametrize(
    ("going", "waits", "cards", "expected"),
    [
        # one slot: one after another, as far as lengths are known
        ([Going("a", (), 60.0)], [coming(1, lasts_s=30.0), coming(2), coming(3)], (),
         {1: Start(60.0, "a"), 2: Start(90.0, "run-1")}),
        ([Going("a", (), None)], [coming(1)], (), {}),
        ([], [coming(1), coming(2)], (), {1: Start(0.0)}),
        # two GPUs: the big job reserves the free one, the small one behind it waits
        ([Going("a", on(0), 60.0)], [coming(1, Want(2), 10.0), coming(2, Want(1))], GPUS,
         {1: Start(60.0, "a"), 2: Start(70.0, "run-1")}),
        # a job that could only start after an unknown end gets no time
        ([Going("a", on(0), None), Going("b", on(1), 5.0)], [coming(1, Want(1), 9.0), coming(2, Want(1))], GPUS,
         {1: Start(5.0, "b"), 2: Start(14.0, "run-1")}),
        ([Going("a", on(0, gib=30), 9.0)], [coming(1, Want(1, 100.0))], GPUS, {}),  # never
        # a job beyond its expected time ends at once
        ([Going("a", (), -5.0)], [coming(1)], (), {1: Start(0.0, "a")}),
    ],
)  # fmt: skip
def test_cases(going, waits, cards, expected):
    assert simulate(going, waits, cards, CPU) == expected


def test_a_long_queue_is_told_of_as_far_as_it_is_played():
    found = simulate([Going("a", (), 1.0)], [coming(n, lasts_s=1.0) for n in range(1000)], (), CPU)
    assert list(found) == list(range(MOST))
    assert [start.in_s for start in found.values()] == [float(n + 1) for n in range(MOST)]


def test_a_sweep_over_rates_has_runs_of_one_length_and_other_data_another():
    recipe = load_recipe().resolved
    train = {**recipe["train"], "learning_rate": 9.0, "seed": 7}
    assert kind_of("train", {}, {**recipe, "train": train}) == kind_of("train", {}, recipe)
    assert kind_of("train", {}, {**recipe, "train": {**train, "epochs": 9.0}}) != kind_of("train", {}, recipe)
    assert kind_of("train", {}, {**recipe, "data": {}}) != kind_of("train", {}, recipe)


def listed(still):
    ready.read(still.supervisor)
    ready.ready(still.supervisor, time.time())
    return queue.listing(still.supervisor, Queue())


def seen_since(now, seconds):
    """So many seconds after the moment of a listing, which was made between now and this moment."""
    half = (time.time() - now) / 2
    return pytest.approx(now + half + seconds, abs=half + 0.001)


def test_a_listing_tells_when_by_what_such_runs_took_here(quiet):
    """Check two runs of one kind behind a running one: they take as long as the one that has ended."""
    connection, now = quiet.supervisor.connection, time.time()
    for name in ("before", "going", "next", "last", "held"):
        quiet.queue(name)
    with transaction(connection):
        jobs.set_state(connection, 1, data.Finished(now - 700.0, now - 600.0))
        jobs.set_state(connection, 2, data.Running(now - 9.0, "training", 10, 20, "steps", 40.0))
    queue.hold(quiet.supervisor, Hold("held"))
    answer = listed(quiet)
    assert [(row.run, row.what, row.state.left_s) for row in answer.live] == [("going", "train", 40.0)]
    told = {row.run: (row.starts_at, row.after) for row in answer.rows}
    assert told["next"][0] == seen_since(now, 40.0)
    assert told["last"][0] == seen_since(now, 140.0)
    assert (told["next"][1], told["last"][1], told["held"]) == ("going", "next", (None, ""))
    queue.hold(quiet.supervisor, Hold())
    assert {row.starts_at for row in listed(quiet).rows} == {None}
    queue.release(quiet.supervisor, Release())
    quiet.supervisor.quiet_until = now + 9000.0
    assert [row.starts_at for row in listed(quiet).rows if row.run != "held"] == [now + 9000.0] * 2


def test_the_first_run_of_a_sweep_tells_of_the_rest_while_it_runs(quiet):
    connection, now = quiet.supervisor.connection, time.time()
    for name in ("going", "next", "last"):
        quiet.queue(name)
    with transaction(connection):
        jobs.set_state(connection, 1, data.Running(now - 60.0, "training", 60, 100, "steps", 40.0))
    first, then = [row.starts_at for row in listed(quiet).rows]
    assert first == seen_since(now, 40.0)
    assert then - first + now == seen_since(now, 100.0)  # as long as it has taken by then, and will take


def test_the_start_behind_a_training_counts_its_check_or_is_not_told(quiet):
    """The phases of a training before its steps have an end of their own, and its check follows it."""
    connection, now = quiet.supervisor.connection, time.time()
    loaded = load_recipe()
    checked = {**loaded.resolved, "check": {**loaded.resolved["check"], "at_end": True}}
    for name in ("going", "next"):
        asyncio.run(submit.submit(quiet.supervisor, Submit(checked, loaded.text, name)))
    with transaction(connection):
        jobs.set_state(connection, 1, data.Running(now - 60.0, "training", 60, 100, "steps", 40.0))
    assert [row.starts_at for row in listed(quiet).rows] == [None], "nobody knows how long its check takes"
    quiet.job(quiet.run("before"), "check", [], data.Finished(now - 900.0, now - 600.0))
    assert [row.starts_at for row in listed(quiet).rows] == [seen_since(now, 340.0)]


def test_an_export_goes_on_for_as_long_as_the_one_before_took(quiet):
    now = time.time()
    run = quiet.run("before")
    quiet.job(run, "export", [], data.Finished(now - 900.0, now - 600.0))
    quiet.job(run, "export", [], data.Running(now - 100.0, "merging", 1, 2, "files", 5.0))
    quiet.queue("next")
    assert [row.starts_at for row in listed(quiet).rows] == [seen_since(now, 200.0)]


def test_what_a_run_wants_is_said_in_few_words():
    recipe = load_recipe().resolved

    def said(gpus=None, gib=None, estimate=None):
        budget = {**recipe["budget"], "gpus": gpus, "memory_gib": gib}
        return queue.needs_text({**recipe, "budget": budget}, estimate)

    guess = Want(2, 11.6, is_estimate=True)
    assert [said(), said(0), said(1), said(2), said(1, 24), said(2, 24.5), said(None, 9)] == [
        "", "no GPU", "1 GPU", "2 GPUs", "24 GiB", "2 x 24.5 GiB", "9 GiB",
    ]  # fmt: skip
    assert [said(estimate=guess), said(2, estimate=guess), said(2, 24, guess), said(0, estimate=Want(0))] == [
        "about 12 GiB", "2 x about 12 GiB", "2 x 24 GiB", "no GPU",
    ]  # fmt: skip


def test_a_run_that_asks_for_nothing_gets_one_gpu_or_the_cpu(quiet):
    quiet.queue("a")
    pool = quiet.supervisor.pool
    assert [row.wants for row in listed(quiet).rows] == [""], "nobody has looked yet"
    pool.tried_at = 0.0  # no driver
    assert [row.wants for row in listed(quiet).rows] == ["CPU"]
    with transaction(quiet.supervisor.connection):
        jobs.set_state(quiet.supervisor.connection, 1, data.Running(time.time(), "training"))
    assert [row.on for row in listed(quiet).live] == ["CPU"]
    quiet.queue("b")
    pool.watch = object()  # a driver
    assert [row.wants for row in listed(quiet).rows] == ["1 GPU"]
    assert [row.on for row in listed(quiet).live] == [""]
