"""The queue's order: by priority, then place, then arrival; with any number of moves by the user."""

import random

from store_rows import add_run

from finetop.core.store import jobs, queue_order


def queue(connection, count, priority=jobs.TRAIN_PRIORITY):
    """Queue jobs of one run each."""
    for _ in range(count):
        jobs.add_job(connection, run_id=add_run(connection), verb="train", args={}, priority=priority)


def listed(connection):
    return [job.id for job in jobs.queued(connection)]


def by(connection, number):
    return next(job for job in jobs.queued(connection) if job.id == number)


def test_a_job_goes_first_last_and_before_another(connection):
    queue(connection, 5)
    first = jobs.queued(connection)[0]
    queue_order.move(connection, [by(connection, 4)], first)
    assert listed(connection) == [4, 1, 2, 3, 5]
    queue_order.move(connection, [by(connection, 1)], None)
    assert listed(connection) == [4, 2, 3, 5, 1]
    queue_order.move(connection, [by(connection, 1)], by(connection, 5))
    assert listed(connection) == [4, 2, 3, 1, 5]
    queue_order.move(connection, [by(connection, 3), by(connection, 5)], by(connection, 4))
    assert listed(connection) == [3, 5, 4, 2, 1]
    queue(connection, 1)
    assert listed(connection) == [3, 5, 4, 2, 1, 6], "what is queued later stands behind what was moved last"


def test_a_move_takes_the_priority_of_its_new_neighbour(connection):
    queue(connection, 2)
    queue(connection, 1, priority=20)
    queue(connection, 1, priority=jobs.CHECK_PRIORITY)
    assert listed(connection) == [4, 1, 2, 3]
    queue_order.move(connection, [by(connection, 3)], by(connection, 1))
    assert (listed(connection), by(connection, 3).priority) == ([4, 3, 1, 2], 10)
    queue_order.move(connection, [by(connection, 2)], by(connection, 4))
    assert (listed(connection), by(connection, 2).priority) == ([2, 4, 3, 1], 0)
    queue_order.set_priority(connection, 1, 5)
    assert listed(connection) == [2, 4, 1, 3]
    queue_order.set_priority(connection, 2, 10)
    assert listed(connection) == [4, 1, 3, 2], "in its new priority it stands where it came"
    queue_order.move(connection, [by(connection, 4)], None)
    assert (listed(connection), by(connection, 4).priority) == ([1, 3, 2, 4], 10)


def test_many_moves_to_one_spot_keep_the_order(connection):
    """Between two doubles there is room for only some fifty moves: then places are renumbered."""
    count, moves = 6, random.Random(5)
    queue(connection, count)
    before = {job.id: job for job in jobs.queued(connection)}
    wanted, spot, renumbered = list(before), 3, 0
    for turn in range(90):
        moving = wanted[-1] if turn < 75 else wanted[moves.randrange(count)]
        others = [number for number in wanted if number != moving]
        other = others[spot] if turn < 75 else others[moves.randrange(count - 1)]
        wanted = [n for number in others for n in ((moving, number) if number == other else (number,))]
        queue_order.move(connection, [before[moving]], before[other])
        after = {job.id: job for job in jobs.queued(connection)}
        assert list(after) == wanted, turn
        renumbered += sum(job.place != before[number].place for number, job in after.items()) > 1
        before = after
    assert 0 < renumbered < 4


def test_what_is_held_stands_behind_what_starts_by_itself(connection):
    queue(connection, 3)
    queue_order.hold(connection, 1, held=True)
    waiting, _ = jobs.places(connection)
    assert [(number, waiting[number].place, waiting[number].held) for number in (2, 3, 1)] == [
        (2, 1, False), (3, 2, False), (1, 3, True),
    ]  # fmt: skip
    assert waiting[1].because == "held"
    queue_order.hold(connection, 1, held=False)
    assert jobs.places(connection)[0][1].place == 1
