"""What this machine offers: read from its tools and files."""

from __future__ import annotations

import pytest
from fake_nvml import Cards, FakeNvml

from finetop.core.models import cpu_formats
from finetop.core.plan import machine
from finetop.core.runtime import cgroups, gpus


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """Return two GPUs of a fake driver."""
    fake = Cards(tmp_path / "nvml.json")
    monkeypatch.setattr(gpus, "load", lambda: FakeNvml(fake.file))
    machine.gpus.cache_clear()
    yield fake
    machine.gpus.cache_clear()


def test_cards_are_read_from_the_driver(cards, tmp_path):
    here = machine.read_machine(tmp_path)
    assert (here.device, here.gpus, here.memory, here.flops) == ("gpu", 2, 80 * 2**30, 989e12)
    assert here.host == cgroups.total_memory()
    # the disk is that of the nearest folder there is
    assert machine.free_disk(tmp_path / "not" / "yet") == pytest.approx(machine.free_disk(tmp_path), rel=0.01)
    assert machine.read_machine(tmp_path, measure=False, use_gpu=False).device == "cpu"


def test_a_card_that_is_lost_is_none_and_a_driver_that_fails_has_none(cards, tmp_path):
    cards.change(0, error="GPU_IS_LOST")
    assert machine.read_machine(tmp_path, measure=False).gpus == 1
    cards.told["init"] = "UNKNOWN"
    cards.write()
    machine.gpus.cache_clear()
    here = machine.read_machine(tmp_path, measure=False)
    assert here.device == "cpu"
    assert here.memory is not None and here.memory > 1e6
    assert here.flops is None


def test_a_machine_has_bfloat16_where_one_of_its_cards_has(cards, tmp_path):
    cards.change(0, name="Tesla T4", total=15, capability=[7, 5])
    cards.change(1, name="Tesla T4", total=15, capability=[7, 5])
    here = machine.read_machine(tmp_path, measure=False)
    assert (here.name, here.memory, here.has_bfloat16) == ("Tesla T4", 15 * 2**30, False)
    cards.change(1, capability=[8, 0])
    machine.gpus.cache_clear()
    assert machine.read_machine(tmp_path, measure=False).has_bfloat16


def test_the_longest_known_name_wins_and_a_core_does_some_arithmetic():
    names = ("NVIDIA RTX A6000", "NVIDIA A10G", "NVIDIA L40S", "Some card")
    assert [machine.card_flops(name) for name in names] == [155e12, 70e12, 362e12, None]
    assert 1e8 < machine.cpu_flops() < 1e14


def test_what_was_measured_of_a_cpu_is_read_again(home, monkeypatch):
    before = machine.read_machine(home.root, measure=False, use_gpu=False)
    assert before.speeds is None
    monkeypatch.setattr(cpu_formats, "measure", lambda: cpu_formats.Speeds(343, 177))
    cpu_formats.measured(home)  # as the job and its rehearsal do
    assert machine.as_measured(before).speeds == cpu_formats.Speeds(343, 177)
    again = machine.read_machine(home.root, measure=False, use_gpu=False)
    assert again.speeds == cpu_formats.Speeds(343, 177)
