"""What this machine offers: read from its tools and files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from finetop.core.plan import machine


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """An nvidia-smi that prints what it is told."""

    def make(said: str, code: int = 0) -> None:
        file = tmp_path / "bin" / "nvidia-smi"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\nprintf '%s' '{said}'\nexit {code}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(file.parent))
        machine.gpus.cache_clear()

    yield make
    machine.gpus.cache_clear()


def test_cards_are_read_from_the_driver_s_tool(tool, tmp_path):
    tool("NVIDIA H100 80GB HBM3, 81559\nNVIDIA H100 80GB HBM3, 81559\n")
    found = machine.look(tmp_path)
    assert (found.device, found.gpus, found.memory) == ("gpu", 2, 81559 * 2**20)
    assert found.flops == 989e12
    assert machine.look(tmp_path, measure=False, use_gpu=False).device == "cpu"


def test_a_tool_that_fails_is_no_card(tool, tmp_path):
    tool("no devices were found", code=6)
    found = machine.look(tmp_path, measure=False)
    assert found.device == "cpu"
    assert found.memory is not None and found.memory > 1e6
    assert found.flops is None


def test_the_longest_known_name_wins():
    assert machine.card_flops("NVIDIA RTX A6000") == 155e12
    assert machine.card_flops("NVIDIA A10G") == 70e12
    assert machine.card_flops("NVIDIA L40S") == 362e12
    assert machine.card_flops("Some card") is None


def test_the_disk_is_that_of_the_nearest_folder_there_is(tmp_path):
    assert machine.free_disk(tmp_path / "not" / "yet") == pytest.approx(machine.free_disk(tmp_path), rel=0.01)


def test_bfloat16_is_there_where_torch_says_so():
    import torch

    if not Path("/proc/cpuinfo").exists():
        pytest.skip("no /proc/cpuinfo")
    assert machine.cpu_has_bfloat16() is bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def test_a_core_does_some_arithmetic():
    assert 1e8 < machine.cpu_flops() < 1e14
