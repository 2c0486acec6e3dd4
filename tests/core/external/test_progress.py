"""The pace of a program: by its own clock, else by when its files were written."""

from finetop.core.external.progress import Progress

AT = 1.8e9


def at(*steps: tuple[int, float], total: int = 100) -> Progress:
    progress = Progress()
    progress.plan(total, 1)
    for step, seconds in steps:
        progress.reach(step, AT + seconds)
    return progress


def test_a_backlog_has_the_pace_of_the_times_it_tells_and_none_without_until_more_is_written() -> None:
    assert at(*((step, 3.0 * step) for step in range(1, 51))).left_s() == 150.0
    progress = at(*((step, 0.0) for step in range(1, 51)))
    assert progress.left_s() is None
    progress.reach(51, AT + 2.0)
    assert progress.left_s() == 98.0
    # without a total, or beyond it
    assert at((1, 1.0), (2, 2.0), total=0).left_s() is None
    assert at((1, 1.0), (101, 2.0)).left_s() is None
    assert at((1, 1.0), (100, 2.0)).left_s() == 0.0
    # it is measured anew after a restart
    progress = at((1, 1.0), (50, 2.0))
    progress.go_back(10)
    assert (progress.step, progress.left_s()) == (9, None)
    progress.reach(10, AT + 100.0)
    progress.reach(11, AT + 101.0)
    assert progress.left_s() == 89.0
