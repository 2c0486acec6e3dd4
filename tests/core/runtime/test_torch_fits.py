"""Whether torch can use a GPU: by versions, by the driver's own answer, and in a job that was given one."""

import shutil
import subprocess

import pytest
from fake_nvml import UUIDS, FakeNvml

from finetop.core.errors import EnvironmentTrouble
from finetop.core.models import devices
from finetop.core.runtime import gpus, torch_fits
from finetop.core.runtime.gpu import Gpu, GpuReading

H100 = Gpu(0, UUIDS[0], "NVIDIA H100", capability=(9, 0))
V100 = Gpu(1, UUIDS[1], "Tesla V100", capability=(7, 0))
READING = GpuReading((H100, V100), "580.65.06", "13.0")
LIBCUDA = """
int cuInit(unsigned flags) {{ return {code}; }}
int cuGetErrorName(int code, const char **name) {{ *name = "CUDA_ERROR_SYSTEM_NOT_READY"; return 0; }}
"""


def install(monkeypatch, cuda):
    monkeypatch.setattr(torch_fits, "built_for", lambda: torch_fits.Build("2.13.0", cuda))


def test_the_version_file_tells_what_torch_was_built_for_without_importing_it():
    import torch

    built = torch_fits.built_for()
    assert (built.version, built.cuda) == (torch.__version__, torch.version.cuda or "")


def test_one_card_that_torch_can_use_is_enough_for_the_queue_and_all_are_named_by_doctor(monkeypatch):
    install(monkeypatch, "13.0")
    monkeypatch.setattr(torch_fits, "driver_refusal", lambda: None)
    assert torch_fits.misfit(READING, READING.gpus) is None
    assert "no code for Tesla V100 (7.0)" in torch_fits.misfit(READING, [V100]).text
    assert [found.text[-24:] for found in torch_fits.misfits(READING, READING.gpus)] == [
        "code for Tesla V100 (7.0)"[-24:]
    ]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler for a pretended libcuda")
@pytest.mark.parametrize(
    ("code", "words"), [(802, "the fabric manager has not set up the GPUs"), (999, "nvidia_uvm"), (0, None)]
)
def test_the_driver_is_asked_whether_it_starts(monkeypatch, tmp_path, code, words):
    (tmp_path / "cuda.c").write_text(LIBCUDA.format(code=code))
    built = ["gcc", "-shared", "-o", tmp_path / torch_fits.DRIVER, tmp_path / "cuda.c"]
    subprocess.run(built, check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    install(monkeypatch, "13.0")
    found = torch_fits.misfit(READING, [H100])
    assert found is None if words is None else words in found.text, found


def test_a_driver_without_cudas_library_is_named(monkeypatch):
    monkeypatch.setattr(torch_fits, "DRIVER", "libcuda.so.1")
    install(monkeypatch, "13.0")
    monkeypatch.setattr(torch_fits.processes, "python", lambda name: ["echo", torch_fits.MISSING])
    found = torch_fits.misfit(READING, [H100])
    assert (found.text, "compute,utility" in found.fix) == (
        "libcuda.so.1 is missing, so CUDA can't start",
        True,
    )


@pytest.fixture
def given(cards, monkeypatch):
    """Pretend two cards of a driver, and a torch that is built for the CPU alone."""
    import torch

    monkeypatch.setattr(gpus, "load", lambda: FakeNvml(cards.file))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    install(monkeypatch, "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return cards


@pytest.mark.parametrize("visible", [None, "0", "1,0", UUIDS[1]])
def test_a_job_that_was_given_a_gpu_never_computes_on_the_cpu(given, monkeypatch, visible):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(EnvironmentTrouble, match=r"H100.* torch 2\.13\.0 is built without CUDA") as refused:
        devices.open_device(None)
    assert "budget.gpus to 0" in refused.value.hint


@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_job_without_a_gpu_computes_on_the_cpu(given, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.open_device(None) == "cpu"


def test_a_lost_gpu_is_not_one_that_torch_should_use(given):
    for number in (0, 1):
        given.change(number, error="GPU_IS_LOST")
    assert devices.pick_device() == "cpu"


def test_where_versions_fit_torchs_own_words_are_given(given, monkeypatch):
    import torch

    def refuse():
        raise RuntimeError("Unexpected error from cudaGetDeviceCount(). Error 304")

    monkeypatch.setattr(torch.cuda, "init", refuse)
    install(monkeypatch, "13.0")
    monkeypatch.setattr(torch_fits, "driver_refusal", lambda: None)
    with pytest.raises(EnvironmentTrouble, match="can't be used: Unexpected error from cudaGetDeviceCount"):
        devices.pick_device()
