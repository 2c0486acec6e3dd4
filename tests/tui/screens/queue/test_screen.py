"""The Queue screen by its keys: order, holds, removal, undo, and the state of the machines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from machine_fakes import Linked, app_on
from queue_fakes import BUSY, FAULTY, LIVE, WAITING, QueueFake, make_gpu, make_gpus, make_live, make_waiting
from tui_fakes import HOSTILE, NOW, is_clean, make_app, pressed, row_with, settled, shown_app, text_of
from waiting import LIMIT_S

from finetop.core.protocol.messages.machine import GpuJob, GpuProcess
from finetop.core.protocol.messages.queue import Hold, Move, Pause, Prioritise, Release, Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.tui.screens.queue.machine import machine_lines
from finetop.tui.screens.queue.state import OnMachine
from finetop.tui.text import line_width
from finetop.tui.theme import Look

SIZE = (80, 24)
LONG = "smollm2-135m-instruct-support-lr2e-5-s2"
ON_CPU = make_gpus(on_cpu=[GpuJob(1, "demo-remembers", "train", None, None)], cores=2)


def names(app: Any) -> list[str]:
    """Return the waiting runs in their order on the screen."""
    return [line[8:32].strip() for line in text_of(app).splitlines() if line[2:3] in ("○", "■")]


async def opened(pilot: Any) -> None:
    await settled(pilot)
    await pressed(pilot, "3", within_s=0.2)


async def test_keys_change_the_order_the_cursor_stays_on_its_run_and_u_takes_it_back() -> None:
    fake = QueueFake()
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        await pressed(pilot, "right_square_bracket", within_s=0.1)
        assert fake.orders() == [Move("support-dpo", "before", "support-old")]
        assert "▸ ○   2 support-dpo" in text_of(app)
        await pressed(pilot, "u", within_s=0.1)
        assert [row.run for row in fake.waiting] == [row.run for row in WAITING]
        assert "undone: the position of support-dpo." in text_of(app)
        await pressed(pilot, "left_square_bracket")
        assert "support-dpo is first already." in text_of(app)
        await pressed(pilot, "j", "left_square_bracket", within_s=0.1)
        assert fake.orders()[-1] == Move(LONG, "before", "support-dpo")
        await pressed(pilot, "right_curly_bracket", within_s=0.1)
        assert fake.orders()[-1] == Move(LONG, "last")


async def test_h_holds_r_releases_p_does_either_and_the_priority_goes_by_names() -> None:
    fake = QueueFake()
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        await pressed(pilot, "H", within_s=0.1)
        assert fake.orders() == [Hold("support-dpo")]
        assert "next  R  release it" not in text_of(app)  # the result is shown first
        await pressed(pilot, "R", within_s=0.1)
        assert fake.orders()[-1] == Release("support-dpo")
        await pressed(pilot, "P", within_s=0.1)
        assert fake.orders()[-1] == Hold("support-dpo")
        await pressed(pilot, "u", within_s=0.1)
        assert fake.orders()[-1] == Release("support-dpo")
        await pressed(pilot, "k", "P", within_s=0.1)
        assert fake.orders()[-1] == Pause("support-r16")
        await pressed(pilot, "H")
        assert "support-r16 is not waiting." in text_of(app)
        # the priority goes up and down by its names, and the filter hides rows
        await pressed(pilot, "j", "plus", within_s=0.1)
        assert fake.orders()[-1] == Prioritise("support-dpo", 5)
        await pressed(pilot, "plus")
        assert "support-dpo has the highest priority already." in text_of(app)
        await pressed(pilot, "minus", "minus", within_s=0.2)
        assert [order.priority for order in fake.orders() if isinstance(order, Prioritise)] == [5, 10, 20]
        assert "priority" in row_with(app, "── support-dpo")
        await pressed(pilot, "slash", *"eval", "enter")
        assert names(app) == ["support-eval"]
        assert "/ eval: 1 match" in text_of(app)
        await pressed(pilot, "escape")
        assert len(names(app)) == 4
        await pressed(pilot, "enter")
        assert GetRun("support-eval") in fake.asked


async def test_what_is_taken_out_or_held_as_a_whole_is_asked_for() -> None:
    fake = QueueFake()
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        await pressed(pilot, "j", "j", "S")
        assert "Remove the check of support-old from the queue?  It has not started." in text_of(app)
        await pilot.press("escape")
        assert not fake.orders()
        await pressed(pilot, "S", "y", within_s=0.1)
        assert fake.orders() == [Stop("support-old")]
        assert "support-old" not in names(app)
        assert "▸ ○   4 support-eval" in text_of(app)  # the cursor is on its neighbour
        await pressed(pilot, "W")
        assert "Hold the whole queue?" in text_of(app)
        await pressed(pilot, "y", within_s=0.1)
        await pressed(pilot, "k", within_s=0.1)
        assert "nothing starts: the queue is held" in text_of(app)
        assert "next  W  release the queue" in text_of(app)
        await pressed(pilot, "W", within_s=0.1)
        assert fake.orders()[-2:] == [Hold(), Release()]


async def test_the_list_follows_what_starts_and_ends_and_the_cursor_stays_on_its_run() -> None:
    fake = QueueFake()
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        await pilot.press("j")
        fake.live = [make_live(1, "support-dpo", "GPU 0, 3", phase="loading model", done=None)]
        fake.waiting = fake.waiting[1:]
        fake.change()
        async with asyncio.timeout(LIMIT_S):
            while "820/1,200" in text_of(app):
                await settled(pilot, 0.1)
        assert "3 waiting   1 running" in text_of(app)
        assert "loading model, ends 14:38" in row_with(app, "support-dpo ")
        assert LONG[-8:] in row_with(app, "▸")


async def test_a_machine_without_gpus_has_slots_and_an_empty_queue_says_what_to_do() -> None:
    fake = QueueFake([make_live(9, "demo-remembers")], [make_waiting(1, "next-one")], ON_CPU)
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        assert "████████████████████  1 of 1 job at a time   2 cores, no GPU" in text_of(app)
        assert "GPU  memory" not in text_of(app)
        fake.live, fake.waiting, fake.gpus = [], [], make_gpus(cores=2)
        fake.change()
        async with asyncio.timeout(LIMIT_S):
            while "The queue is empty" not in text_of(app):
                await pressed(pilot, "k", within_s=0.1)
        assert "next  4  launch a run" in text_of(app)
        await pressed(pilot, "H", "R", "S", "P", "left_square_bracket", "enter", "plus")
        assert not fake.orders()


class LinkedQueue(QueueFake, Linked):
    """A queue behind a link."""

    def __init__(self, label: str) -> None:
        Linked.__init__(self, label, [])
        self.live, self.waiting, self.gpus, self.stopped = LIVE, WAITING, BUSY, ""


async def test_several_machines_have_their_gpus_and_queue_under_their_names() -> None:
    lab, box = LinkedQueue("lab"), LinkedQueue("box")
    lab.waiting, box.waiting = WAITING[:2], [make_waiting(1, "alone", wants="6 GiB"), *WAITING[3:]]
    box.gpus = make_gpus(cores=8)
    async with shown_app(app_on(lab, box), (120, 40)) as (app, pilot):
        await opened(pilot)
        for words in ("waiting on lab", "waiting on box", "running on lab", "4 waiting   2 running"):
            assert words in text_of(app)
        await pressed(pilot, *"jj", "j", "right_square_bracket", within_s=0.2)
        assert box.orders() == [Move("alone", "last")]
        assert not lab.orders()
        await pressed(pilot, "W", "y", within_s=0.1)
        assert box.orders()[-1] == Hold()
        assert "box: the queue is held" in text_of(app)
        lab.down()
        await settled(pilot, 0.3)
        box.change()
        async with asyncio.timeout(LIMIT_S):
            while "out of reach; last known state" not in text_of(app):
                await settled(pilot, 0.2)
        assert "support-dpo" in text_of(app)


def test_what_does_not_fit_is_counted_and_no_row_is_too_wide() -> None:
    machine = OnMachine(None, "", None, make_gpus(*(make_gpu(i, kept_for="x" * 90) for i in range(16))))  # type: ignore[arg-type]
    for width in (60, 80, 99, 120, 200):
        lines = machine_lines([machine], width=width, rows=9)
        assert len(lines) == 9
        assert "9 more lines: finetop gpus" in lines[-1][0][0]
        assert all(line_width(line) <= width for line in lines)


def test_hostile_words_of_a_machine_are_cleaned() -> None:
    jobs = [GpuJob(1, HOSTILE, "train", None, None)]
    others = [GpuProcess(1, HOSTILE, HOSTILE, 1.0)]
    gpus = make_gpus(
        make_gpu(0, jobs=jobs, kept_for=HOSTILE, others=others, others_gib=1.0),
        make_gpu(1, fault="failing", trouble=HOSTILE), make_gpu(2, left_out=HOSTILE), trouble=HOSTILE, on_cpu=jobs,
    )  # fmt: skip
    lines = machine_lines([OnMachine(None, HOSTILE, None, gpus)], width=200, rows=40)  # type: ignore[arg-type]
    assert all(text.isprintable() for line in lines for text, _ in line)


async def test_hostile_names_reach_no_row() -> None:
    waiting = make_waiting(2, HOSTILE, HOSTILE, wants=HOSTILE, after=HOSTILE, starts_at=NOW)
    fake = QueueFake([make_live(1, HOSTILE, HOSTILE)], [waiting])
    fake.stopped = HOSTILE
    async with shown_app(make_app(fake), (120, 40)) as (app, pilot):
        await opened(pilot)
        await pressed(pilot, "S")
        assert "<202E>" in text_of(app)
        assert is_clean(app)


async def test_without_utf_8_ours_others_and_free_memory_are_told_apart() -> None:
    app = make_app(QueueFake())
    app.look = Look("none", ascii=True)
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        assert text_of(app).isascii()
        assert "#############-------   51 of 80" in text_of(app)
        assert "%%%%%%%%%%%%%%%%%%%-   74 of 80" in text_of(app)


FAKES = {
    "gpus": QueueFake,
    "faults": lambda: QueueFake([], WAITING[1:], FAULTY),
    "none": lambda: QueueFake([make_live(9, "demo-remembers")], [make_waiting(1, "demo-forgets")], ON_CPU),
    "empty": lambda: QueueFake([], [], make_gpus(cores=2)),
}


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)], ids=["60x20", "80x24", "120x40"])
@pytest.mark.parametrize("kind", FAKES)
def test_picture(pictured: Any, size: tuple[int, int], kind: str) -> None:
    assert pictured(make_app(FAKES[kind]()), size, "3")
