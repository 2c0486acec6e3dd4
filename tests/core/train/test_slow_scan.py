"""A model that scans token by token without its kernels raises an alarm before the first step; others do not."""

from contextlib import closing

import architectures
import pytest
from tiny_run import read_events
from transformers import AutoConfig, AutoModelForCausalLM

from finetop.core.runtime.event_log import EventLog
from finetop.core.train import slow_scan


@pytest.mark.filterwarnings("ignore")  # transformers', about the kernels
@pytest.mark.parametrize(("architecture", "spec", "alarms"), [
    ("mamba", None, ["compiler"]), ("mamba", "mamba_ssm", []), ("llama", None, []),
])  # fmt: skip
def test_a_scan_without_its_kernels_is_an_alarm(architecture, spec, alarms, tmp_path, monkeypatch):
    monkeypatch.setattr(slow_scan, "find_spec", lambda _: spec)
    config = AutoConfig.for_model(architecture, **architectures.MODELS[architecture])
    with closing(EventLog(tmp_path / "events.jsonl")) as events:
        slow_scan.report(AutoModelForCausalLM.from_config(config), events)
    assert [alarm.kind for alarm in read_events(tmp_path)] == alarms
