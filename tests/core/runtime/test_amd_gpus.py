"""AMD's GPUs, tested on a stand-in for its management library."""

from types import SimpleNamespace
from typing import Any

import pytest

from finetop.core.runtime.amd_gpus import AmdReader, energy_counter
from finetop.core.runtime.gpu import Gpu, Process


class AmdSmiException(Exception):  # the library's name
    pass


class FakeAmdSmi:
    """The amdsmi functions in use; a missing function counts as not supported."""

    AmdSmiException = AmdSmiException
    AmdSmiTemperatureType = SimpleNamespace(HOTSPOT=1)
    AmdSmiTemperatureMetric = SimpleNamespace(CURRENT=0)

    def __init__(self, **more: Any) -> None:
        self.answers: dict[str, Any] = {
            "init": None,
            "shut_down": None,
            "get_processor_handles": ["a"],
            "get_gpu_driver_info": {"driver_version": "6.12.12"},
            "get_gpu_asic_info": {"market_name": "AMD Instinct MI300X"},
            "get_gpu_vram_usage": {"vram_total": 196_608, "vram_used": 2_048},
            "get_gpu_device_uuid": "c4ff74a1-0000-1000-80f9-d1aae12cdd17",
            **more,
        }

    def __getattr__(self, name: str) -> Any:
        def ask(*words: Any) -> Any:
            key = name.removeprefix("amdsmi_")
            if key not in self.answers:
                raise AmdSmiException("AMDSMI_STATUS_NOT_SUPPORTED")
            return self.answers[key]

        return ask


def test_what_a_card_tells_is_read_and_what_it_does_not_is_none() -> None:
    (gpu,) = AmdReader(FakeAmdSmi()).read().gpus
    assert gpu == Gpu(
        0, "c4ff74a1-0000-1000-80f9-d1aae12cdd17", "AMD Instinct MI300X", total_gib=192.0, used_gib=2.0
    )
    more = {
        "get_gpu_activity": {"gfx_activity": 87, "umc_activity": "N/A"},
        "get_power_info": {"current_socket_power": "N/A", "average_socket_power": 612},
        "get_temp_metric": 61,
        "get_gpu_process_list": [{"pid": 77, "memory_usage": {"vram_mem": 3 << 30}}],
    }
    seen = AmdReader(FakeAmdSmi(**more)).read()
    (gpu,) = seen.gpus
    assert (gpu.busy, gpu.watts, gpu.celsius, gpu.processes) == (87, 612.0, 61, (Process(77, 3.0),))
    assert (seen.driver, seen.trouble) == ("6.12.12", "")
    smi = FakeAmdSmi()
    del smi.answers["get_processor_handles"]
    assert "does not answer" in AmdReader(smi).read().trouble


def test_energy_is_the_accumulator_in_its_unit_by_either_name() -> None:
    smi = FakeAmdSmi(
        get_energy_count={"energy_accumulator": 2_000_000, "counter_resolution": 15.3, "timestamp": 1}
    )
    assert energy_counter(smi, 0)() == pytest.approx(30.6)
    smi.answers["get_energy_count"] = {"power": 1_000_000, "counter_resolution": 15.3}
    assert energy_counter(smi, 0)() == pytest.approx(15.3)
    smi.answers["get_energy_count"] = {"energy_accumulator": "N/A", "counter_resolution": 15.3}
    assert energy_counter(smi, 0)() is None
    del smi.answers["get_energy_count"]
    assert energy_counter(smi, 0)() is None
