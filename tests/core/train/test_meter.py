"""What the trainer tells while it evaluates."""

import math
from types import SimpleNamespace

from finetop.core.protocol import events
from finetop.core.runtime import event_log


def test_an_evaluation_counts_its_batches_so_that_a_long_one_is_no_silence(tmp_path):
    from finetop.core.train.callbacks import Meter

    log = event_log.EventLog(tmp_path / "events.jsonl")
    meter = Meter(log, "cpu", {}, SimpleNamespace())
    for _ in range(3):
        meter.shown = -math.inf  # a second has passed
        meter.on_prediction_step(None, None, None, eval_dataloader=range(7))
    meter.on_prediction_step(None, None, None, eval_dataloader=range(7))  # at once: nothing is said
    told = [events.decode(line).e for line in (tmp_path / "events.jsonl").read_bytes().splitlines()]
    assert told == [events.Phase("evaluating", float(n), 7.0, "batches") for n in (1, 2, 3)]


def test_a_sensor_that_fails_is_left_out_and_ends_nothing(monkeypatch):
    import torch

    from finetop.core.train.callbacks import gpu_facts

    class NotSupported(Exception):
        """As the driver library's own error: it derives from nothing closer."""

    def not_of_this_card(device):
        raise NotSupported

    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 91)
    monkeypatch.setattr(torch.cuda, "temperature", not_of_this_card)
    monkeypatch.setattr(torch.cuda, "power_draw", lambda device: 412_500)
    assert gpu_facts("cuda:0") == {"gpu_util": 91.0, "gpu_watts": 412.5}


def test_energy_is_power_over_time_and_goes_on_in_a_resumed_run(tmp_path, monkeypatch):
    from finetop.core.train import callbacks

    log = event_log.EventLog(tmp_path / "events.jsonl")
    meter = callbacks.Meter(log, "cuda:0", {}, SimpleNamespace(), energy_wh=50.0)
    meter.looked = 0.0
    for at, watts in ((3600.0, 300.0), (7200.0, 500.0)):
        monkeypatch.setattr(callbacks, "gpu_facts", lambda device, watts=watts: {"gpu_watts": watts})
        meter._look_at_gpu(at)
    assert meter.gpu["energy_wh"] == 50.0 + 300.0 + 400.0
    monkeypatch.setattr(callbacks, "gpu_facts", lambda device: {})
    meter._look_at_gpu(9000.0)
    assert "energy_wh" not in meter.gpu and meter.energy_wh == 750.0
