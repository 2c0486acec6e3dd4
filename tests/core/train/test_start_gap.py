"""Virtual tokens that begin far above the base raise an alarm before step 1; methods that begin at the base do not."""

import torch
from method_bench import base_of

from finetop.core.data.examples import Example
from finetop.core.models import load
from finetop.core.runtime.event_log import EventLog
from finetop.core.train import methods, start_gap
from finetop.core.train.methods._start import Start

ROWS = [Example([5, 6, 7, 8, 9, 10], [-100, -100, 7, 8, 9, 10])] * 2


def test_how_far_above_the_base_it_begins_is_told(tiny_model, tmp_path, capsys, monkeypatch):
    base = base_of(tiny_model)
    events = EventLog(tmp_path / "events.jsonl")

    def begin(name, **options):
        torch.manual_seed(0)
        method = methods.load(name)
        model = load.load_model(base, torch.float32, "cpu")[0]
        wrapped = method.prepare(
            model, method.options(**options), Start(pad_token_id=0, base_path=tiny_model)
        )
        start_gap.report(name, wrapped, ROWS, events)
        return str(capsys.readouterr().out)

    assert begin("lora", rank=4) == ""
    said = begin("prefix-tuning", tokens=4)
    assert (
        "nats/token with the virtual tokens" in said and "alarm" not in said
    )  # a model of noise loses nothing
    monkeypatch.setattr(start_gap, "MOST", -100.0)
    assert "nats/token above its base" in begin("prefix-tuning", tokens=4)
    events.close()
    assert b'"alarm"' in (tmp_path / "events.jsonl").read_bytes()
