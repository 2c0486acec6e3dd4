"""GPUs as seen through a fake NVML; a real one is tested in test_gpu.py."""

import pytest
from fake_nvml import UUIDS, FakeNvml

from finetop.core.runtime import gpus
from finetop.core.runtime.gpu import Gpu, GpuReading, Process
from finetop.core.runtime.gpus import NvidiaReader


def tell(cards, **facts):
    """Change what the driver itself tells."""
    cards.told.update(facts)
    cards.write()


def looker(cards, known=()):
    return NvidiaReader(FakeNvml(cards.file), known)


def test_what_a_gpu_tells_is_read_and_what_it_does_not_is_none(cards):
    cards.change(0, used=51.5, busy=92, celsius=64, watts=640.5, processes=[[4242, 51.0], [17, None]])
    seen = looker(cards).read()
    assert (seen.driver, seen.cuda, seen.trouble) == ("580.65.06", "13.0", "")
    first, second = seen.gpus
    assert first == Gpu(
        0, UUIDS[0], "NVIDIA H100 80GB HBM3", total_gib=80, used_gib=51.5, busy=92, celsius=64, watts=640.5,
        processes=(Process(4242, 51.0), Process(17, None)),
    )  # fmt: skip
    assert (second.busy, second.celsius, second.watts, second.processes) == (None, None, None, ())
    cards.change(1, processes=None)
    assert looker(cards).read().gpus[1].processes is None


def test_clients_of_an_mps_server_are_listed_too(cards):
    """They are our jobs, and would count as memory of others."""
    cards.change(0, processes=[[7, 0.03]], mps_clients=[[4242, 12.0]])
    assert looker(cards).read().gpus[0].processes == (
        Process(7, pytest.approx(0.03, abs=1e-6)),
        Process(4242, 12.0),
    )


def test_a_card_tells_its_capability_and_its_instances_are_gpus_of_their_own_with_it(cards):
    parts = [{"uuid": f"MIG-{n}", "name": "NVIDIA H100 MIG 3g.40gb", "total": 40} for n in range(2)]
    cards.change(0, parts=parts)
    seen = looker(cards).read().gpus
    assert [(gpu.index, gpu.uuid, gpu.total_gib, gpu.is_part) for gpu in seen] == [
        (0, "MIG-0", 40, True), (0, "MIG-1", 40, True), (1, UUIDS[1], 80, False),
    ]  # fmt: skip
    cards.change(0, parts=None, name="Tesla T4", capability=[7, 5])
    cards.change(1, capability=[8, 0], parts=[{"uuid": "MIG-a", "total": 20}, {"uuid": "MIG-b", "total": 20}])
    first, *parts = looker(cards).read().gpus
    assert (first.capability, first.has_bfloat16) == ((7, 5), False)
    assert [(part.capability, part.has_bfloat16) for part in parts] == [((8, 0), True)] * 2
    cards.change(0, capability=None)
    unknown = looker(cards).read().gpus[0]
    assert (unknown.capability, unknown.has_bfloat16) == (None, True)


@pytest.mark.parametrize(
    ("facts", "fault", "words"),
    [
        ({"error": "GPU_IS_LOST"}, "lost", "GPU is lost"),
        ({"error": "RESET_REQUIRED"}, "lost", "GPU requires restart"),
        ({"error": "GPU_IS_LOST", "mute": True}, "lost", "GPU is lost"),
        ({"error": "NO_PERMISSION"}, "unreadable", "Insufficient Permissions"),
        ({"ecc": 1}, "failing", "1 uncorrectable memory error since the driver was loaded"),
        ({"ecc": 3}, "failing", "nvidia-smi --gpu-reset -i 1"),
        ({"ecc": 0, "remap_failed": 1}, "failing", "have it replaced"),
        ({"ecc": 0, "remap_failed": 0}, "", ""),
        ({"parts": []}, "unreadable", "has no instance yet"),
    ],
)
def test_trouble_is_named_and_the_other_gpu_is_well(cards, facts, fault, words):
    own = looker(cards)
    own.read()
    cards.change(1, **facts)
    first, second = own.read().gpus
    assert first.fault == ""
    assert (second.uuid, second.fault) == (UUIDS[1], fault)
    assert words in second.trouble


def test_a_gpu_that_does_not_tell_its_memory_has_the_machine_s(cards, monkeypatch):
    """GB10 of a DGX Spark: one memory for CPU and GPU."""
    monkeypatch.setattr(gpus, "machine_memory", lambda: gpus.Memory(128 << 30, 40 << 30))
    cards.change(1, total=None)
    first, second = looker(cards).read().gpus
    assert (first.total_gib, first.used_gib) == (80, 0)
    assert (second.total_gib, second.used_gib, second.fault) == (128, 40, "")


def test_a_lost_gpu_comes_back_and_one_that_has_gone_is_missed(cards):
    own = looker(cards)
    own.read()
    cards.change(0, error="GPU_IS_LOST", mute=True)
    assert [gpu.fault for gpu in own.read().gpus] == ["lost", ""]
    cards.change(0, error=None, mute=False)
    assert [gpu.fault for gpu in own.read().gpus] == ["", ""]
    gone = cards.told["gpus"].pop(0)
    cards.write()
    gpus = {gpu.uuid: gpu.fault for gpu in own.read().gpus}
    assert gpus == {UUIDS[0]: "lost", UUIDS[1]: ""}
    cards.told["gpus"].insert(0, gone)
    cards.write()
    assert [gpu.fault for gpu in own.read().gpus] == ["", ""]
    # a GPU that a job was put on before is missed, too
    before = Gpu(5, UUIDS[5], "NVIDIA H100 80GB HBM3")
    assert {gpu.uuid: gpu.fault for gpu in looker(cards, [before]).read().gpus}[UUIDS[5]] == "lost"


@pytest.mark.parametrize("error", ["DRIVER_NOT_LOADED", "LIBRARY_NOT_FOUND"])
def test_a_driver_without_a_card_is_no_trouble_until_there_was_one(cards, error):
    own = looker(cards)
    tell(cards, init=error)
    assert own.read() == GpuReading()
    tell(cards, init=None)
    assert len(own.read().gpus) == 2
    own.close()
    tell(cards, init=error)
    assert "the GPU driver does not answer" in own.read().trouble
    tell(cards, init="LIB_RM_VERSION_MISMATCH")
    trouble = "the GPU driver does not answer: RM has detected an NVML/RM version mismatch"
    assert looker(cards).read().trouble == trouble


def test_one_look_has_an_end_also_where_the_driver_has_none(cards, monkeypatch):
    monkeypatch.setattr(gpus, "load", lambda: FakeNvml(cards.file))
    assert len(gpus.read_once().gpus) == 2
    tell(cards, hangs=True)
    assert "nothing in 0 s" in gpus.read_once(wait_s=0.01).trouble
    tell(cards, hangs=False)
    monkeypatch.undo()
    monkeypatch.setattr(gpus, "LIBRARY", "libno-such-library.so.1")  # without a driver nothing is loaded
    assert gpus.load() is None
    assert gpus.read_once() == GpuReading()
