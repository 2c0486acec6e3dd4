"""The GPUs of this machine, read through NVIDIA's management library (NVML): memory, processes, faults.

Each instance of a divided GPU (MIG) is listed separately, with its parent's index. Nothing is changed on the GPUs. NVML
can block for seconds while a driver recovers, so callers that must not wait use a thread.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from finetop.core.runtime import amd_gpus
from finetop.core.runtime.gpu import GIB, Capability, Fault, Gpu, GpuReading, Process
from finetop.core.text import counted

LIBRARY = "libnvidia-ml.so.1"
HOST_PROCESSES = "pid:[4026531836]"  # the kernel's initial pid namespace
HAS_NO_ANSWER = "the GPU driver does not answer"

Answer = TypeVar("Answer")


def load() -> Any | None:
    """Return the NVML module, or None without a driver: the bindings alone would take 17 MB and 0.05 s."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    import pynvml

    return pynvml


def read_once(wait_s: float = 20.0) -> GpuReading:
    """Read the GPUs once, within the time limit: NVIDIA's, else AMD's."""
    nvml = load()
    amdsmi = amd_gpus.load() if nvml is None else None
    if nvml is None and amdsmi is None:
        return GpuReading()
    readings: list[GpuReading] = []

    def once() -> None:
        reader = amd_gpus.AmdReader(amdsmi) if nvml is None else NvidiaReader(nvml)
        readings.append(reader.read())
        reader.close()

    thread = threading.Thread(target=once, name="gpus", daemon=True)
    thread.start()
    thread.join(wait_s)
    return readings[0] if readings else GpuReading(trouble=f"{HAS_NO_ANSWER}: nothing in {wait_s:.0f} s")


def sees_all_processes() -> bool:
    """Return whether processes have the same ids here as in the driver: not in a container's own pid namespace."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) == HOST_PROCESSES
    except OSError:
        return False


class NvidiaReader:
    """Reads the GPUs repeatedly, and reports missing ones; `known` are those of jobs older than this process."""

    def __init__(self, nvml: Any, known: Iterable[Gpu] = ()) -> None:
        self._nvml = nvml
        self._known = {gpu.uuid: gpu for gpu in known}
        self._is_open = False

    def read(self) -> GpuReading:
        """Read all GPUs. A failure of the whole driver is returned as `trouble`."""
        nvml = self._nvml
        try:
            if not self._is_open:
                nvml.nvmlInit()
                self._is_open = True
            reading = self._read_all()
        except nvml.NVMLError as error:
            self.close()
            absent = (nvml.NVML_ERROR_DRIVER_NOT_LOADED, nvml.NVML_ERROR_LIBRARY_NOT_FOUND)
            if error.value in absent and not self._known:
                return GpuReading()  # a driver is installed, but there is no card
            return GpuReading(trouble=f"{HAS_NO_ANSWER}: {words_of(error)}")
        if any(gpu.fault == "lost" for gpu in reading.gpus):
            self.close()  # an open NVML does not notice that a GPU was reset
        return reading

    def close(self) -> None:
        """Close NVML; the next reading opens it again."""
        if self._is_open:
            self._is_open = False
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                pass

    def _read_all(self) -> GpuReading:
        nvml = self._nvml
        gpus = [gpu for index in range(nvml.nvmlDeviceGetCount()) for gpu in self._gpus(index)]
        uuids = {gpu.uuid for gpu in gpus}
        missing = {gpu.index: gpu for gpu in self._known.values() if gpu.uuid not in uuids}
        named = []
        for gpu in gpus:
            if not gpu.uuid and gpu.index in missing:  # too broken to report its own name
                before = missing.pop(gpu.index)
                gpu = replace(gpu, uuid=before.uuid, name=before.name, total_gib=before.total_gib)
            named.append(gpu)
        for before in missing.values():
            text = "it is no longer among the driver's GPUs"
            known = (before.index, before.uuid, before.name, before.total_gib)
            named.append(Gpu(*known, fault="lost", trouble=text))
        self._known |= {gpu.uuid: gpu for gpu in named if gpu.uuid}
        named.sort(key=lambda gpu: (gpu.index, gpu.fault == "lost"))
        version = self._call(nvml.nvmlSystemGetCudaDriverVersion_v2)
        return GpuReading(
            gpus=tuple(named),
            driver=self._call(nvml.nvmlSystemGetDriverVersion) or "",
            cuda="" if version is None else f"{version // 1000}.{version % 1000 // 10}",
        )

    def _gpus(self, index: int) -> list[Gpu]:
        """Read one GPU, or its instances; one that can't be read has a fault, and possibly no name."""
        nvml = self._nvml
        uuid, name = "", ""
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
            unfit = self._fault(handle, index)
            mode = self._call(nvml.nvmlDeviceGetMigMode, handle)
            capability = self._call(nvml.nvmlDeviceGetCudaComputeCapability, handle)
            of_whole = (index, unfit, capability)
            if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
                return [self._gpu(handle, *of_whole)]
            parts = [self._gpu(part, *of_whole, is_part=True) for part in self._parts(handle)]
            text = "it is in MIG mode, but has no instance yet"
            return parts or [Gpu(index, uuid, name, fault="unreadable", trouble=text)]
        except nvml.NVMLError as error:
            fault: Fault = "lost" if self._is_lost(error) else "unreadable"
            return [Gpu(index, uuid, name, fault=fault, trouble=words_of(error))]

    def _parts(self, handle: Any) -> list[Any]:
        """List the instances of a divided GPU."""
        nvml = self._nvml
        places = range(self._call(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
        handles = [self._call(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place) for place in places]
        return [part for part in handles if part is not None]

    def _gpu(
        self,
        handle: Any,
        index: int,
        unfit: Unfit | None,
        capability: Capability,
        *,
        is_part: bool = False,
    ) -> Gpu:
        nvml = self._nvml
        memory = self._memory(handle)
        usage = self._call(nvml.nvmlDeviceGetUtilizationRates, handle)
        watts = self._call(nvml.nvmlDeviceGetPowerUsage, handle)
        running = self._call(nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        # clients of an MPS server are listed separately, and the server itself among the others
        clients = self._call(nvml.nvmlDeviceGetMPSComputeRunningProcesses, handle)
        if running is not None and clients:
            running = [*running, *clients]
        return Gpu(
            index=index,
            uuid=nvml.nvmlDeviceGetUUID(handle),
            name=nvml.nvmlDeviceGetName(handle),
            total_gib=memory.total / GIB,
            used_gib=memory.used / GIB,
            busy=None if usage is None else int(usage.gpu),
            celsius=self._call(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            watts=None if watts is None else watts / 1000,
            processes=None if running is None else tuple(_process(process) for process in running),
            fault="" if unfit is None else unfit.fault,
            trouble="" if unfit is None else unfit.text,
            is_past=unfit is not None and unfit.is_past,
            is_part=is_part,
            capability=None if capability is None else (int(capability[0]), int(capability[1])),
        )

    def _memory(self, handle: Any) -> Memory:
        """Read the memory, without the driver's own share where it is reported (drivers since 510).

        A GPU without its own memory (GB10, DGX Spark) reports none, and the machine's is used.
        """
        nvml = self._nvml
        memory = self._call(nvml.nvmlDeviceGetMemoryInfo, handle, nvml.nvmlMemory_v2)
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle) if memory is None else memory
        except nvml.NVMLError as error:
            if error.value != nvml.NVML_ERROR_NOT_SUPPORTED:
                raise
            return machine_memory()
        return Memory(memory.total - getattr(memory, "reserved", 0), memory.used)

    def _fault(self, handle: Any, index: int) -> Unfit | None:
        """Return the fault of a GPU that answers but is unfit: what NVIDIA's DCGM takes one out of service for."""
        nvml = self._nvml
        rows = self._call(nvml.nvmlDeviceGetRemappedRows, handle)
        if rows is not None and rows[3]:
            return Unfit("failing", "its memory is worn out (a row could not be remapped): have it replaced")
        reset = f"it needs a reset: nvidia-smi --gpu-reset -i {index}"
        if self._call(nvml.nvmlDeviceGetRetiredPagesPendingStatus, handle):
            return Unfit("failing", f"damaged pages of its memory wait to be retired: {reset}")
        kinds = (nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
        if errors := self._call(nvml.nvmlDeviceGetTotalEccErrors, handle, *kinds):
            count = counted(errors, "uncorrectable memory error")
            return Unfit("failing", f"{count} since the driver was loaded: {reset}", is_past=True)
        return None

    def _call(self, function: Callable[..., Answer], *arguments: Any) -> Answer | None:
        """Call a function that some GPUs or drivers lack; None if it fails. Raises NVMLError if the GPU is lost."""
        try:
            return function(*arguments)
        except self._nvml.NVMLError as error:
            if self._is_lost(error):
                raise
            return None

    def _is_lost(self, error: Any) -> bool:
        nvml = self._nvml
        return error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED)


@dataclass(frozen=True)
class Unfit:
    """Why a GPU that answers gets no job; `is_past` is that of `Gpu`."""

    fault: Fault
    text: str
    is_past: bool = False


@dataclass(frozen=True)
class Memory:
    """A GPU's memory in bytes, without the driver's own share."""

    total: int
    used: int


def energy_counter(nvml: Any, uuid: str) -> Callable[[], float | None]:
    """Return a function that reads a GPU's energy counter: joules since its driver started or restarted.

    It returns None for GPUs before Volta and for instances of a divided one, which don't count.
    """
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    except nvml.NVMLError:
        return lambda: None

    def joules() -> float | None:
        try:
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
        except nvml.NVMLError:
            return None

    return joules


def machine_memory() -> Memory:
    """Return the machine's own memory, which some GPUs share."""
    import psutil

    machine = psutil.virtual_memory()
    return Memory(machine.total, machine.total - machine.available)


def words_of(error: Any) -> str:
    """Return NVML's message without the full stop that some have."""
    return str(error).rstrip(".")


def _process(entry: Any) -> Process:
    return Process(int(entry.pid), None if entry.usedGpuMemory is None else entry.usedGpuMemory / GIB)
