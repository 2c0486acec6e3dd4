"""What the trainer reports: its progress, evaluations, energy."""

import math
from types import SimpleNamespace

import pytest
import torch
from fake_nvml import UUIDS, Cards, FakeNvml
from tiny_run import read_events

from finetop.core.protocol import events
from finetop.core.runtime import event_log, gpu_share, gpus
from finetop.core.runtime.gpu_share import GpuShare
from finetop.core.train import meter as meters
from finetop.core.train.meter import Meter, gpu_facts


def test_an_evaluation_counts_its_batches_so_that_a_long_one_is_no_silence(tmp_path):
    log = event_log.EventLog(tmp_path / "events.jsonl")
    meter = Meter(log, "cpu", {}, SimpleNamespace())
    for _ in range(3):
        meter.shown = -math.inf  # a second has passed
        meter.on_prediction_step(None, None, None, eval_dataloader=range(7))
    meter.on_prediction_step(None, None, None, eval_dataloader=range(7))  # at once: nothing is reported
    assert read_events(tmp_path) == [events.Phase("evaluating", float(n), 7.0, "batches") for n in (1, 2, 3)]


def test_the_time_left_leaves_the_first_step_out(tmp_path, monkeypatch):
    log = event_log.EventLog(tmp_path / "events.jsonl")
    meter = Meter(log, "cpu", {}, SimpleNamespace(begin=lambda steps: None))
    meter.began = 0.0
    left = []
    for step, now in enumerate((60.0, 61.0, 62.0), 1):  # a minute to warm up, then a second a step
        monkeypatch.setattr(meters.time, "monotonic", lambda now=now: now)
        state = SimpleNamespace(global_step=step, max_steps=12)
        meter.on_step_end(None, state, None)
        left.append(meter._phase(state, now))
    assert left == [660.0, 10.0, 9.0]


def test_a_sensor_that_fails_is_left_out_and_ends_nothing(monkeypatch):
    class NotSupported(Exception):
        """Like the driver library's own error, which has no closer base class."""

    def not_of_this_card(device):
        raise NotSupported

    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 91)
    monkeypatch.setattr(torch.cuda, "temperature", not_of_this_card)
    monkeypatch.setattr(torch.cuda, "power_draw", lambda device: 412_500)
    assert gpu_facts("cuda:0") == {"gpu_util": 91.0, "gpu_watts": 412.5}


@pytest.fixture
def cards(tmp_path):
    cards = Cards(tmp_path / "nvml.json")
    cards.change(0, joules=1000.0)
    return cards


@pytest.fixture
def make(tmp_path, cards, monkeypatch):
    """Return a function that makes a meter on a GPU of a fake NVML, with a power of 300 W."""
    monkeypatch.setattr(
        meters, "energy_counter", lambda device: gpus.energy_counter(FakeNvml(cards.file), UUIDS[0])
    )
    monkeypatch.setattr(meters, "gpu_facts", lambda device: {"gpu_watts": 300.0})
    monkeypatch.setattr(gpu_share, "_own", gpu_share._Own())

    def made(**more):
        log = event_log.EventLog(tmp_path / "events.jsonl")
        meter = Meter(log, "cuda:0", {}, SimpleNamespace(begin=lambda steps: None), **more)
        meter.on_train_begin(None, SimpleNamespace(global_step=0, num_input_tokens_seen=0, max_steps=9), None)
        return meter

    return made


def energy_of(meter, seconds=1.0):
    """Return the run's energy after one more look at the GPU."""
    meter._look_at_gpu(meter.began + seconds)
    meter.take_energies(meter.own_energy())
    return meter.energy_wh


def test_energy_is_what_the_gpu_counted_and_goes_on_in_a_resumed_run(make, cards):
    meter = make()
    cards.change(0, joules=1000.0 + 3600 * 20)
    assert energy_of(meter) == pytest.approx(20.0)
    cards.change(0, joules=1000.0 + 3600 * 500)  # while no job of this run was running
    again = make(energy_wh=meter.energy_wh)
    assert again.energy_wh == pytest.approx(20.0)
    cards.change(0, joules=1000.0 + 3600 * 503)
    assert energy_of(again) == pytest.approx(23.0)


def test_without_a_counter_energy_is_power_over_time_and_without_both_there_is_none(make, cards, monkeypatch):
    cards.change(0, joules=None)
    assert energy_of(make(energy_wh=50.0), 3600.0) == pytest.approx(50.0 + 300.0)
    monkeypatch.setattr(meters, "gpu_facts", lambda device: {})
    meter = make()
    energy_of(meter)
    assert (meter.own_energy(), meter.energies) == ([0], [])


def test_on_a_shared_gpu_energy_and_power_are_the_jobs_part_and_said_to_be(
    make, cards, tmp_path, monkeypatch, capsys
):
    gpu_share.begin(tmp_path, None)
    meter = make()
    gpu_share.write_share(tmp_path, GpuShare(40.0, ("other",), (2,)))
    meter.device = "cpu"  # its memory has no limit here
    monkeypatch.setattr(meters, "keep_to", lambda gib, device: None)
    cards.change(0, joules=1000.0 + 7200)
    assert (energy_of(meter), meter.gpu["gpu_watts"]) == (pytest.approx(1.0), 150.0)
    meter.on_train_end(None, SimpleNamespace(global_step=9, max_steps=9), None)
    assert "energy: 1 Wh of its share of the GPU, over the whole run" in capsys.readouterr().out


def test_a_neighbour_that_comes_and_goes_moves_the_limit(make, tmp_path, monkeypatch, capsys):
    held = []
    monkeypatch.setattr(meters, "keep_to", lambda gib, device: held.append((gib, device)))
    gpu_share.write_share(tmp_path, GpuShare(None, (), (1,)))
    gpu_share.begin(tmp_path, None)
    meter = make()
    meter._look_at_gpu(1.0)
    assert held == []
    for share in (GpuShare(49.0, ("second",), (2,)), GpuShare(None, (), (1,))):
        gpu_share.write_share(tmp_path, share)
        for _ in range(2):
            meter._look_at_gpu(2.0)
    assert held == [(49.0, "cuda:0"), (None, "cuda:0")]
    said = capsys.readouterr().out
    assert "GPU memory allowed from now on: at most 49 GiB, beside run second" in said
    assert "from now on: all of it" in said
