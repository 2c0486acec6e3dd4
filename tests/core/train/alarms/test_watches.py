"""What each alarm detects and what it ignores: it speaks once when a problem begins, and once when it is over."""

import math
import random

import pytest

from finetop.core.train import alarms

STEPS = 3000
RUN = alarms.Run(STEPS)


def feed(kind, rows, *, run=RUN, seconds_a_step=1.0, **options):
    """Feed a row of values per step; return (step, is it over, text) of all alarm notes."""
    alarm = alarms.load(kind)
    watch = alarm.watch(alarm.options(**options), run)
    told = []
    for step, values in enumerate(rows, 1):
        said = watch.check(step, step * seconds_a_step, values)
        if said is not None:
            told.append((step, said.is_over, said.text))
    return told


def noisy(level, sigma=0.1, seed=1):
    """Return losses around a level, as noisy as batches make them; `level` is a function of the step."""
    draw = random.Random(seed)
    return [{"loss": level(step) * math.exp(draw.gauss(0, sigma))} for step in range(1, STEPS + 1)]


def falling(step):
    return 1.0 + math.exp(-step / 300)


def test_nan_speaks_once_at_its_step_and_is_over_when_numbers_come_back():
    rows = [{"loss": 1.0, "grad_norm": 1.0}] * 5 + [{"loss": math.nan, "grad_norm": math.nan}] * 7
    rows += [{"loss": 1.0, "grad_norm": 1.0}] * 50
    told = feed("nan", rows)
    assert [(step, over) for step, over, _ in told] == [(6, False), (32, True)]
    assert told[0][2] == "loss is nan at step 6: lower train.learning_rate"


def test_one_overflown_gradient_is_the_scale_of_float16_and_three_in_a_row_are_an_alarm():
    fine, bad = {"loss": 1.0, "grad_norm": 1.0}, {"loss": 1.0, "grad_norm": math.inf}
    assert feed("nan", ([fine] * 30 + [bad, bad]) * 20) == []
    (told,) = feed("nan", [fine, bad, bad, bad])
    assert told == (4, False, "grad_norm is inf at step 4: lower train.learning_rate")


def test_a_loss_scale_that_falls_is_no_alarm_and_one_that_is_used_up_is():
    falls = [{"loss": 1.0, "grad_norm": math.inf, "loss_scale": 2.0**power} for power in range(16, -4, -1)]
    assert feed("nan", falls[:17]) == []  # from 65,536 to 1
    (told,) = feed("nan", falls)
    assert told == (20, False, "grad_norm is inf at step 20: lower train.learning_rate")
    (told,) = feed("nan", [{"loss": math.nan, "grad_norm": math.nan, "loss_scale": 65536.0}])
    assert told[2] == "loss is nan at step 1: lower train.learning_rate"


def test_a_spike_that_stays_for_some_steps_is_told_and_is_over_when_the_loss_is_back():
    rows = noisy(lambda step: falling(step) * (3 if 1000 <= step < 1060 else 1))
    (first, over) = feed("spike", rows)
    assert 1004 <= first[0] < 1015
    assert 1060 <= over[0] < 1080
    assert (first[1], over[1]) == (False, True)
    assert first[2].startswith("spike: the loss rose to ")


def test_a_loss_that_diverges_stays_told():
    (told,) = feed("spike", noisy(lambda step: 9.0 if step > 500 else falling(step)))
    assert told[0] < 520


@pytest.mark.parametrize(("sigma", "risen"), [
    (0.6, lambda step: 4.0 if step > 1000 else 1.0),  # 2.3 deviations of a step
    (0.4, lambda step: min(10.0, math.exp(max(0, step - 1000) / 40))),  # rises within 92 steps
])  # fmt: skip
def test_a_rise_in_much_noise_is_told_and_a_climb_does_not_hide_itself(sigma, risen):
    (told,) = feed("spike", noisy(lambda step: falling(step) * risen(step), sigma))
    assert 1000 < told[0] < 1055


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.3])
def test_noise_and_single_bad_batches_are_no_spike(sigma):
    rows = noisy(falling, sigma)
    for step in range(50, STEPS, 97):
        rows[step] = {"loss": 20.0}
    assert feed("spike", rows) == []


def test_what_is_learned_by_heart_may_waver_as_it_likes():
    draw = random.Random(3)
    rows = [{"loss": draw.choice([0.001, 0.002, 0.004, 0.01])} for _ in range(STEPS)]
    assert feed("spike", rows) == []


def with_rate(rows, rate):
    return [{**row, "learning_rate": rate(step / STEPS)} for step, row in enumerate(rows)]


def warm_cosine(at):
    return at / 0.05 if at < 0.05 else (1 + math.cos(math.pi * at)) / 2


def test_a_loss_that_never_falls_is_a_plateau_told_once():
    told = feed("plateau", with_rate(noisy(lambda _: 1.3, 0.05), warm_cosine))
    assert [over for _, over, _ in told] == [False]
    assert "has not fallen since step" in told[0][2]


def test_a_loss_that_falls_again_is_over():
    rows = noisy(lambda step: 1.3 if step < 1500 else 1.3 * math.exp(-(step - 1500) / 1000), 0.03)
    told = feed("plateau", with_rate(rows, lambda _: 1.0))
    assert [over for _, over, _ in told] == [False, True]


@pytest.mark.parametrize(("level", "sigma", "rate"), [
    *((lambda step: 2.0 - 0.4 * step / STEPS, sigma, warm_cosine) for sigma in (0.02, 0.1, 0.5)),
    (lambda step: max(1.0, 2.0 - step / 1500), 0.03, lambda at: 1.0 if at < 0.5 else 0.1),
    (lambda _: 1.3, 0.5, warm_cosine),
], ids=["slow", "slow in noise", "slow in much noise", "the tail of a schedule", "too much noise to tell"])  # fmt: skip
def test_what_is_no_plateau(level, sigma, rate):
    assert feed("plateau", with_rate(noisy(level, sigma), rate)) == []


@pytest.mark.parametrize("left", [0.0, 1e-5])
def test_a_dead_gradient_is_told_after_so_many_steps_and_over_when_it_is_back(left):
    draw = random.Random(1)
    alive = [{"grad_norm": 0.4 * math.exp(draw.gauss(0, 0.5))} for _ in range(100)]
    told = feed("dead_gradient", alive + [{"grad_norm": left}] * 300 + alive)
    assert [(step, over) for step, over, _ in told] == [(120, False), (405, True)]
    assert told[0][2].startswith("no gradient for 20 steps: grad_norm ")


def test_a_gradient_that_is_nothing_from_the_start_is_told_and_one_that_is_now_and_then_is_not():
    assert [step for step, _, _ in feed("dead_gradient", [{"grad_norm": 0.0}] * 50)] == [20]
    draw = random.Random(2)
    rows = [{"grad_norm": 0.0 if draw.random() < 0.4 else draw.expovariate(1.0)} for _ in range(STEPS)]
    assert feed("dead_gradient", rows) == []


def steps_of(seconds, tokens=1000.0):
    total, rows = 0.0, []
    for step_s in seconds:
        total += tokens
        rows.append({"step_s": step_s, "tokens": total})
    return rows


def test_a_slow_down_is_told_when_it_lasts_and_over_when_it_ends():
    told = feed("slow_down", steps_of([9.0] * 3 + [1.0] * 200 + [3.0] * 300 + [1.0] * 100))
    assert [over for _, over, _ in told] == [False, True]
    assert 300 < told[0][0] < 340  # 11 steps until the median has moved, then 120 s
    assert 504 <= told[1][0] < 520
    assert told[0][2].startswith("slow: 3.00 s a step since step 2")
    assert told[0][2].endswith(", 1.00 s before")


def test_a_slow_down_of_a_minute_single_slow_steps_and_longer_answers_are_not_told():
    assert feed("slow_down", steps_of([1.0] * 200 + [3.0] * 60 + [1.0] * 200)) == []
    assert feed("slow_down", steps_of([60.0 if step % 9 == 0 else 1.0 for step in range(STEPS)])) == []
    longer = [
        {**row, "step_s": 4.0, "tokens": 5e5 + 4000.0 * at} for at, row in enumerate(steps_of([1.0] * 499), 1)
    ]
    assert feed("slow_down", steps_of([1.0] * 500) + longer) == []


def test_drift_is_told_over_its_limit_and_over_well_below():
    values = [0.02, 0.09, 0.11, 0.098, 0.12, 0.095, 0.08, 0.3]
    told = feed("drift", [{"drift": one} for one in values], run=alarms.Run(10, drift_limit=0.1))
    assert [(step, over) for step, over, _ in told] == [(3, False), (7, True), (8, False)]
    assert told[0][2] == "drift 0.11 nats/token on general text is over 0.1"


def room(free, need=0.0, disk=100.0):
    return {"free_bytes": free * 2**30, "disk_bytes": disk * 2**30, "checkpoint_bytes": need * 2**30}


def test_a_disk_that_fills_is_told_before_it_is_full_and_over_when_there_is_room():
    told = feed("disk", [room(9), room(5.1), room(4.9), room(5.5), room(4.8), room(6.1)])
    assert [(step, over) for step, over, _ in told] == [(3, False), (6, True)]
    assert told[0][2] == "disk almost full: 4.9 GiB free"


def test_what_the_next_checkpoint_takes_must_be_free_and_no_twentieth_of_a_large_disk():
    told = feed("disk", [room(40, need=30), room(29, need=30)])
    assert told == [(2, False, "disk almost full: 29 GiB free, the next save needs 30")]
    assert feed("disk", [room(11, disk=8000.0)]) == []


def test_a_checkpoint_that_could_not_be_written_is_told_until_one_is():
    rows = [room(9), {"unwritten": 1.0}, room(9), {"unwritten": 0.0}, room(9)]
    told = feed("disk", rows)
    assert [(step, over) for step, over, _ in told] == [(2, False), (5, True)]
    assert "could not be written" in told[0][2]


PAID = {"reward": 0.5, "reward_deviation": 0.3, "groups_alike": 0.5}
UNPAID = {"reward": 0.0, "reward_deviation": 0.0, "groups_alike": 1.0}
ALL_RIGHT = {"reward": 1.0, "reward_deviation": 0.0, "groups_alike": 1.0}


def test_a_reward_that_stays_0_is_told_at_the_fifth_step_by_one_alarm():
    rows = [UNPAID] * 30 + [PAID] * 3
    assert feed("no_reward", rows) == [
        (5, False, "the reward is 0 for 5 steps: no answer gets a reward"),
        (33, True, "answers get rewards again: 0.5"),
    ]
    assert feed("groups_alike", rows) == []
    assert feed("no_reward", [{**UNPAID, "reward_deviation": 0.5}] * 30) == []  # rewards cancel out
    assert feed("no_reward", [{"loss": 0.0}] * 30) == []


def test_groups_that_are_all_alike_are_told_at_the_fifth_step():
    assert feed("groups_alike", [ALL_RIGHT] * 8 + [PAID] * 3) == [
        (5, False, "all answers to a prompt got the same reward for 5 steps: 1"),
        (11, True, "answers to a prompt get different rewards again"),
    ]
    assert feed("groups_alike", [PAID] * 20 + [ALL_RIGHT] * 8)[0][0] == 25
    assert feed("no_reward", [ALL_RIGHT] * 30) == []


def test_where_such_steps_are_usual_more_of_them_are_needed():
    usual = [PAID, UNPAID] * 100
    assert feed("no_reward", usual + [UNPAID] * 6) == []
    assert feed("no_reward", usual + [UNPAID] * 30)[0][0] == 216  # the 17th: 1 in 100,000 at a rate of 1/2
    assert feed("no_reward", [UNPAID] * 2, steps=2)[0][0] == 2


def steps(losses, norms):
    return [{"loss": loss, "grad_norm": norm} for loss, norm in zip(losses, norms, strict=True)]


def test_a_run_that_diverges_in_its_first_steps_is_told_of_at_once():
    (told,) = feed("divergence", steps([3.9, 3.8, 5.1, 9.0, 16.0, 68.0, 71.0], [5, 4, 9, 30, 120, 420, 300]))
    grown = "loss 68 (3.8 at first), grad_norm 420 (4 at first)"
    assert told == (6, False, f"diverging at step 6: {grown}: lower train.learning_rate")


@pytest.mark.parametrize(("losses", "norms"), [
    ([3.9, 16.0, 68.0, 80.0], [5.0, 200.0, 420.0, 300.0]),  # diverges from the second step
    ([0.69, 0.7, 14.0, 30.0, 41.0], [2.0, 2.0, 9.0, 9.0, 9.0]),  # pairs, by the loss alone
    ([0.5, 0.5, 0.5, 0.5, 0.5], [1.0, 1.0, 40.0, 90.0, 60.0]),  # a loss that is bounded
    ([25.0, 24.0, 120.0, 4000.0, 9000.0], [9.0, 9.0, 90.0, 90.0, 90.0]),  # a squared loss
])  # fmt: skip
def test_either_sign_alone_is_enough_after_three_steps(losses, norms):
    (told,) = feed("divergence", steps(losses, norms))
    assert not told[1]
    assert told[0] <= 5


def test_where_the_loss_says_nothing_the_gradient_alone_is_compared():
    rows = steps([0.0, 0.001, -0.3, 50.0, 60.0, 70.0], [0.0, 0.4, 0.5, 30.0, 40.0, 90.0])
    (told,) = feed("divergence", rows, run=alarms.Run(STEPS, loss_falls=False))
    assert told[2].startswith("diverging at step 6: grad_norm 90 (0.4 at first): ")
    rows = steps([0.0, 0.001, -0.3, 50.0, 60.0, 70.0], [0.5] * 6)
    assert feed("divergence", rows, run=alarms.Run(STEPS, loss_falls=False)) == []


def test_a_run_that_diverges_no_longer_is_over():
    rows = steps([2.0, 2.0, 20.0, 30.0, *[3.0] * 9], [1.0, 1.0, 50.0, 60.0, *[2.0] * 9])
    assert [(step, over) for step, over, _ in feed("divergence", rows)] == [(4, False), (9, True)]


@pytest.mark.parametrize(("losses", "norms"), [
    ([2.1] * 40, [90.0, 40.0, 20.0, *[2.0] * 37]),  # the first gradients are large, and fall
    ([11.0 - step / 9 for step in range(60)], [0.3 * (1 + step / 4) for step in range(60)]),  # warm-up
    ([0.0, 0.02, 0.3, 1.2, 1.1, 1.3, 1.0], [0.0, 1e-4, 0.1, 2.0, 3.0, 2.5, 2.0]),  # begins like its teacher
    ([0.02, 0.03, *[2.5] * 40], [0.1, 0.1, *[4.0] * 40]),  # easy rows first
    ([1.0, 1.1, 1.0, 30.0, 1.0, 14.0, 1.1] * 5, [2.0, 2.0, 2.0, 90.0, 2.0, 2.0, 60.0] * 5),  # wild batches
    ([0.69, 0.5, 3.0, 0.1, 5.0, 0.3, 4.0] * 6, [8.0, 4.0, 30.0, 1.0, 40.0, 3.0, 35.0] * 6),  # one pair per step
    ([math.nan] * 40, [math.inf] * 40),  # the nan alarm covers this
])  # fmt: skip
def test_what_is_large_or_begins_near_nothing_is_no_divergence(losses, norms):
    assert feed("divergence", steps(losses, norms)) == []


def test_behind_the_first_steps_another_alarm_speaks_of_a_divergence():
    assert feed("divergence", steps([2.0] * 32 + [90.0] * 30, [1.0] * 32 + [400.0] * 30)) == []
