"""Energy from the driver's counter, from power without one, and divided among jobs that share a GPU."""

import time

import pytest
from fake_nvml import UUIDS, FakeNvml

from finetop.core.runtime import gpus
from finetop.core.runtime.gpu_energy import Energy


def energy_of(cards, number=0):
    return Energy(gpus.energy_counter(FakeNvml(cards.file), UUIDS[number]))


@pytest.mark.parametrize(
    ("first", "facts", "watts", "used_j"),
    [
        # the counter counts, whatever the power is at a look; an earlier user's share does not
        (5_000_000.0, [{"joules": 5_000_700.5}, {"joules": 5_001_000.0}], 90.0, 1000.0),
        # a counter that begins again, as the driver was reloaded, takes nothing back
        (9000.0, [{"joules": 9500.0}, {"joules": 120.0}, {"joules": 150.0}], None, 500 + 120 + 30),
        # a GPU that does not answer for a while loses nothing
        (100.0, [{"error": "UNKNOWN"}, {"error": None, "joules": 400.0}], None, 300.0),
    ],
)
def test_the_counter_counts(cards, first, facts, watts, used_j):
    cards.change(0, joules=first)
    energy = energy_of(cards)
    energy.begin(0.0)
    for at, told in enumerate(facts, 1):
        cards.change(0, **told)
        energy.add(float(at), watts)
    assert energy.used_j == pytest.approx(used_j)


def test_each_of_two_jobs_on_a_gpu_counts_a_half_while_both_are_there(cards):
    cards.change(1, joules=100.0)
    first, second = energy_of(cards, 1), energy_of(cards, 1)
    first.begin(0.0)
    for at, joules, jobs in ((1.0, 400.0, 1), (2.0, 1000.0, 2), (3.0, 1300.0, 1)):
        if jobs == 2:
            second.begin(1.0)
        cards.change(1, joules=joules)
        first.add(at, None, jobs)
        if jobs == 2:
            second.add(at, None, jobs)
    assert (first.used_j, second.used_j) == (300 + 300 + 300, 300)
    assert first.used_j + second.used_j == 1300 - 100


def test_without_a_counter_it_is_power_over_time(cards):
    energy = energy_of(cards)  # NVML: not supported
    energy.begin(0.0)
    energy.add(10.0, 300.0)
    energy.add(20.0, 500.0)
    energy.add(30.0, 500.0, 2)
    assert energy.used_j == 3000 + 4000 + 2500


def test_what_tells_nothing_counts_nothing(cards):
    energy = energy_of(cards)
    energy.begin(0.0)
    energy.add(10.0, None)
    assert energy.used_j is None
    cards.change(0, parts=[{"uuid": "MIG-1"}], joules=7.0)
    assert gpus.energy_counter(FakeNvml(cards.file), "MIG-1")() is None
    assert gpus.energy_counter(FakeNvml(cards.file), "GPU-of-nobody")() is None
    assert gpus.energy_counter(FakeNvml(cards.file), UUIDS[0])() == 7.0


@pytest.mark.gpu(needs="driver")
def test_a_real_gpu_counts_about_what_it_draws():
    torch = pytest.importorskip("torch")
    from finetop.core.models import devices
    from finetop.core.train.meter import gpu_facts

    energy = Energy(devices.energy_counter("cuda:0"))
    if energy.count_j() is None:
        pytest.skip("this GPU does not count, or is divided")
    by_power = Energy(lambda: None)
    factor = torch.randn(8192, 8192, device="cuda:0")
    began = time.monotonic()
    for one in (energy, by_power):
        one.begin(began)
    while time.monotonic() < began + 5.0:
        for _ in range(20):
            factor @ factor
        torch.cuda.synchronize()
        for one in (energy, by_power):
            one.add(time.monotonic(), gpu_facts("cuda:0")["gpu_watts"])
    assert 0.7 < energy.used_j / by_power.used_j < 1.4
