"""doctor's findings on GPUs and their driver."""

import pytest
from fake_nvml import Cards, FakeNvml

from finetop.core.features.doctor.checks import gpus
from finetop.core.runtime import compiler, gpus as nvml, torch_fits


@pytest.fixture
def cards(tmp_path, monkeypatch):
    fake_cards = Cards(tmp_path / "nvml.json")
    monkeypatch.setattr(nvml, "load", lambda: FakeNvml(fake_cards.file))
    monkeypatch.setattr(nvml, "sees_all_processes", lambda: True)
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "")
    return fake_cards


def findings():
    return [(finding.level, finding.about, finding.text, finding.fix) for finding in gpus.gpu_findings()]


def install(monkeypatch, version="2.13.0", cuda="13.0"):
    """Pretend that this torch is installed, and that CUDA's driver starts."""
    monkeypatch.setattr(torch_fits, "built_for", lambda: torch_fits.Build(version, cuda))
    monkeypatch.setattr(torch_fits, "driver_refusal", lambda: None)


def test_gpus_are_summed_up_with_their_driver(cards, monkeypatch):
    install(monkeypatch)
    text = "2 x NVIDIA H100 80GB HBM3 (80 GiB), driver 580.65.06 for CUDA up to 13.0"
    assert findings() == [("ok", "GPU", text, "")]
    cards.change(1, name="NVIDIA L4", total=22.5)
    assert findings()[0][2].startswith("NVIDIA H100 80GB HBM3 (80 GiB), NVIDIA L4 (22 GiB), driver")
    monkeypatch.setattr(nvml, "sees_all_processes", lambda: False)
    assert findings()[1][2].startswith("in a container")


def test_an_unfit_gpu_has_a_line_of_its_own(cards, monkeypatch):
    install(monkeypatch)
    for facts, level, text, fix in (
        ({"error": "GPU_IS_LOST"}, "trouble", "lost: GPU is lost", "nvidia-smi --gpu-reset -i 1, or reboot"),
        ({"error": "", "ecc": 2}, "trouble", "fails: 2 uncorrectable memory errors", "Jobs use the others."),
        ({"error": "NO_PERMISSION"}, "warning", "Insufficient Permissions", "Jobs use the others."),
    ):
        cards.change(1, **facts)
        _, (own_level, about, own_text, own_fix) = findings()
        assert (own_level, about, text in own_text, fix in own_fix) == (level, "GPU 1", True, True)


def test_a_driver_that_fails_is_told_in_its_own_words(cards):
    cards.told["init"] = "LIB_RM_VERSION_MISMATCH"
    cards.write()
    ((level, _, text, fix),) = findings()
    assert (level, "version mismatch" in text, "reboot" in fix) == ("trouble", True, True)


def test_a_torch_that_can_not_use_the_driver_is_reported(cards, monkeypatch):
    for build, offered, trouble in (
        (("2.13.0+cpu", ""), 13000, "built without CUDA"),
        (("2.13.0", "13.0"), 12080, "needs CUDA 13, but driver 580.65.06 supports up to 12.8"),
        (("2.13.0", "12.8"), 12040, ""),
        (("2.13.0", "12.8"), 13000, ""),
    ):
        install(monkeypatch, *build)
        cards.told["cuda"] = offered
        cards.write()
        more = [(level, trouble in text) for level, _, text, _ in findings()[1:]]
        assert more == ([("trouble", True)] if trouble else [])


def test_a_compiler_that_triton_lacks_is_told_where_there_is_a_gpu(cards, monkeypatch):
    lacks = "a C compiler and Python.h of Python 3.12"
    monkeypatch.setattr(compiler, "triton_lacks", lambda: lacks)
    monkeypatch.setattr(compiler, "fix", lambda: "apt install gcc")
    install(monkeypatch)
    text = f"lacks {lacks}: losses are slower, and liger, flex and train.compile can't be used"
    assert findings()[1:] == [("warning", "compiler", text, "apt install gcc")]
    monkeypatch.setattr(nvml, "load", lambda: None)
    assert len(findings()) == 1


def test_a_card_without_bfloat16_and_one_too_old_for_this_torch_are_told_of(cards, monkeypatch):
    install(monkeypatch)
    for number in (0, 1):
        cards.change(number, name="Tesla T4", total=15, capability=[7, 5])
    ((_, _, text, _),) = findings()
    assert text.startswith("2 x Tesla T4 (15 GiB, float16 alone), driver")
    cards.change(1, name="Tesla V100-SXM2-16GB", capability=[7, 0])
    _, (level, _, text, fix) = findings()
    no_code = "torch 2.13.0 is built for CUDA 13, which has no code for Tesla V100-SXM2-16GB (7.0)"
    assert (level, text, "CUDA 12" in fix) == ("trouble", no_code, True)
    install(monkeypatch, cuda="12.6")
    assert len(findings()) == 1


def test_without_a_driver_the_cores_are_told(monkeypatch):
    monkeypatch.setattr(nvml, "load", lambda: None)
    ((level, _, text, _),) = findings()
    assert level == "ok" or "the driver is incomplete" in text
