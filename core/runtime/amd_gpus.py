"""The GPUs of this machine, read through AMD's management library (amdsmi, part of ROCm).

Used if the library is installed and NVIDIA's is not. Written from its documentation (ROCm 6.4 and 7) and tested only on
a stand-in: values that a card does not report are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from finetop.core.runtime.gpu import GIB, Gpu, GpuReading, Process

MIB = 2**20


def load() -> Any | None:
    """Return the amdsmi module, or None if it or its library is missing."""
    if find_spec("amdsmi") is None:
        return None
    try:
        import amdsmi
    except (ImportError, OSError, KeyError):  # it loads its library on import
        return None
    return amdsmi


class AmdReader:
    """Reads the GPUs repeatedly, as `NvidiaReader` does NVIDIA's."""

    def __init__(self, amdsmi: Any) -> None:
        self._smi = amdsmi
        self._is_open = False

    def read(self) -> GpuReading:
        """Read all GPUs. A failure of the whole driver is returned as `trouble`."""
        smi = self._smi
        try:
            if not self._is_open:
                smi.amdsmi_init()
                self._is_open = True
            handles = smi.amdsmi_get_processor_handles()
        except smi.AmdSmiException as error:
            self.close()
            return GpuReading(trouble=f"the GPU driver does not answer: {error}")
        gpus = tuple(self._gpu(index, handle) for index, handle in enumerate(handles))
        driver = self._call(smi.amdsmi_get_gpu_driver_info, handles[0]) if handles else None
        return GpuReading(gpus=gpus, driver=str((driver or {}).get("driver_version", "")))

    def close(self) -> None:
        """Close the library; the next reading opens it again."""
        if self._is_open:
            self._is_open = False
            try:
                self._smi.amdsmi_shut_down()
            except self._smi.AmdSmiException:
                pass

    def _gpu(self, index: int, handle: Any) -> Gpu:
        smi = self._smi
        asic = self._call(smi.amdsmi_get_gpu_asic_info, handle) or {}
        memory = self._call(smi.amdsmi_get_gpu_vram_usage, handle)
        busy = self._call(smi.amdsmi_get_gpu_activity, handle) or {}
        power = self._call(smi.amdsmi_get_power_info, handle) or {}
        place = (smi.AmdSmiTemperatureType.HOTSPOT, smi.AmdSmiTemperatureMetric.CURRENT)
        running = self._call(smi.amdsmi_get_gpu_process_list, handle)
        uuid = str(self._call(smi.amdsmi_get_gpu_device_uuid, handle) or "")
        name = str(asic.get("market_name", "AMD GPU"))
        if memory is None:
            text = "it does not report its memory"
            return Gpu(index, uuid, name, fault="unreadable", trouble=text)
        return Gpu(
            index=index,
            uuid=uuid,
            name=name,
            total_gib=memory["vram_total"] * MIB / GIB,
            used_gib=memory["vram_used"] * MIB / GIB,
            busy=_whole(busy.get("gfx_activity")),
            celsius=_whole(self._call(smi.amdsmi_get_temp_metric, handle, *place)),
            watts=_number(power.get("current_socket_power")) or _number(power.get("average_socket_power")),
            processes=None if running is None else tuple(_process(entry) for entry in running),
        )

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any | None:
        """Call a function that not every card or driver supports; None if it fails."""
        try:
            return function(*arguments)
        except self._smi.AmdSmiException:
            return None


def energy_counter(smi: Any, handle: Any) -> Callable[[], float | None]:
    """Return a function that reads a GPU's energy counter in joules, or None if it has none."""

    def joules() -> float | None:
        try:
            counter = smi.amdsmi_get_energy_count(handle)
        except smi.AmdSmiException:
            return None
        counted = _number(counter.get("energy_accumulator", counter.get("power")))  # its name before ROCm 6.4
        unit = _number(counter.get("counter_resolution"))  # microjoules
        return None if counted is None or unit is None else counted * unit / 1e6

    return joules


def _number(value: object) -> float | None:
    """Convert a number; a card without a value reports 'N/A'."""
    return float(value) if isinstance(value, int | float) else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else round(number)


def _process(entry: Any) -> Process:
    used = _number((entry.get("memory_usage") or {}).get("vram_mem"))
    return Process(int(entry["pid"]), None if used is None else used / GIB)
