"""NVML for tests: the functions of nvidia-ml-py that finetop calls, answered from a JSON file that a test edits.

The file: {"gpus": [{…}], "driver": "580.1", "init": "LIB_RM_VERSION_MISMATCH", "hangs": true}. Of a GPU: uuid, name,
total (GiB, null: not reported) and used (GiB), busy, celsius, watts, joules (used so far), processes ([[pid, GiB or
null], …], or null: not reported), error (every query about it fails like this: "GPU_IS_LOST"), mute (its name fails
too), mps_clients ([[pid, GiB], …]), ecc, remap_failed, parts (MIG instances), capability ([7, 5] of a T4). Whatever
is left out is not supported, as on many cards.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml

GIB = 2**30
UUIDS = [f"GPU-{n}{n}{n}{n}aaaa-0000-4000-8000-{n:012d}" for n in range(8)]


class FakeNvml:
    """Stands in for the module `pynvml`: its functions are below, constants and errors are the real ones."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._is_open = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("nvml") and callable(getattr(pynvml, name)):
            return lambda *words: self._fail("NOT_SUPPORTED")
        return getattr(pynvml, name)

    def _read(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self._file.read_text())
        return facts

    def _hang(self) -> None:
        while self._read().get("hangs"):
            time.sleep(0.02)  # between two looks

    def _fail(self, error: str) -> Any:
        raise pynvml.NVMLError(getattr(pynvml, f"NVML_ERROR_{error}"))

    def _of(self, handle: Any) -> dict[str, Any]:
        index, part = handle
        gpu: dict[str, Any] = self._read()["gpus"][index]
        if gpu.get("error"):
            self._fail(gpu["error"])
        return gpu if part is None else gpu["parts"][part]

    def _told(self, handle: Any, key: str) -> Any:
        value = self._of(handle).get(key)
        return self._fail("NOT_SUPPORTED") if value is None else value

    def nvmlInit(self) -> None:
        facts = self._read()
        self._hang()
        if facts.get("init"):
            self._fail(facts["init"])
        self._is_open = True

    def nvmlShutdown(self) -> None:
        self._is_open = False

    def nvmlSystemGetDriverVersion(self) -> str:
        return str(self._read().get("driver", "580.65.06"))

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return int(self._read().get("cuda", 13000))

    def nvmlDeviceGetCount(self) -> int:
        facts = self._read()
        self._hang()
        if not self._is_open:
            self._fail("UNINITIALIZED")
        return len(facts["gpus"])

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        gpu = self._read()["gpus"][index]
        if gpu.get("mute"):
            self._fail(gpu["error"])
        return (index, None)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:
        for index, gpu in enumerate(self._read()["gpus"]):
            for part in (None, *range(len(gpu.get("parts") or ()))):
                if self.nvmlDeviceGetUUID((index, part)) == uuid:
                    return (index, part)
        return self._fail("NOT_FOUND")

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: Any) -> Any:
        return (handle[0], None)

    def nvmlDeviceGetUUID(self, handle: Any) -> str:
        index, part = handle
        gpu = self._read()["gpus"][index]
        return str((gpu if part is None else gpu["parts"][part])["uuid"])

    def nvmlDeviceGetName(self, handle: Any) -> str:
        return str(self._of(handle).get("name", "NVIDIA H100 80GB HBM3"))

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any) -> tuple[int, int]:
        if handle[1] is not None:
            self._fail("INVALID_ARGUMENT")  # an instance has none of its own
        major, minor = self._told(handle, "capability")
        return (int(major), int(minor))

    def nvmlDeviceGetMemoryInfo(self, handle: Any, version: int | None = None) -> Any:
        gpu = self._of(handle)
        if gpu.get("total", 80) is None:
            self._fail("NOT_SUPPORTED")
        total, used = gpu.get("total", 80) * GIB, gpu.get("used", 0) * GIB
        return SimpleNamespace(total=total, used=used, free=total - used, reserved=0)

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:
        return SimpleNamespace(gpu=self._told(handle, "busy"), memory=0)

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int:
        return int(self._told(handle, "celsius"))

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int:
        return int(self._told(handle, "watts") * 1000)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:
        return round(self._told(handle, "joules") * 1000)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]:
        value = self._of(handle).get("processes", [])
        if value is None:
            self._fail("NOT_SUPPORTED")
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=None if gib is None else int(gib * GIB))
            for pid, gib in value
        ]

    def nvmlDeviceGetMPSComputeRunningProcesses(self, handle: Any) -> list[Any]:
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=int(gib * GIB))
            for pid, gib in self._told(handle, "mps_clients")
        ]

    def nvmlDeviceGetTotalEccErrors(self, handle: Any, kind: int, counter: int) -> int:
        assert (kind, counter) == (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
        return int(self._told(handle, "ecc"))

    def nvmlDeviceGetRemappedRows(self, handle: Any) -> tuple[int, int, int, int]:
        return (0, 1, 0, int(self._told(handle, "remap_failed")))

    def nvmlDeviceGetMigMode(self, handle: Any) -> list[int]:
        index, _ = handle
        is_divided = self._of((index, None)).get("parts") is not None
        return [int(is_divided), int(is_divided)]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, place: int) -> Any:
        if place >= len(self._of(handle)["parts"]):
            self._fail("NOT_FOUND")
        return (handle[0], place)


class Cards:
    """The file behind a fake NVML: after `cards[1]["used"] = 38` the next query returns it."""

    def __init__(self, file: Path, count: int = 2, **more: Any) -> None:
        self.file = file
        self.told: dict[str, Any] = {"gpus": [{"uuid": UUIDS[n]} for n in range(count)], **more}
        self.write()

    def change(self, index: int, **facts: Any) -> None:
        """Change what is reported of one GPU."""
        self.told["gpus"][index] |= facts
        self.write()

    def write(self) -> None:
        aside = self.file.with_name(f".{self.file.name}")
        aside.write_text(json.dumps(self.told))
        aside.replace(self.file)
