"""The number format that a CPU trains in is measured once per boot, and read from the saved result until the next."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from finetop.core.errors import BadInput
from finetop.core.models import cpu_formats, devices
from finetop.core.models.cpu_formats import Speeds
from finetop.core.recipe.load import recipe_from_mapping
from finetop.core.runtime.home import Home

SLOW_16, FAST_16 = Speeds(343, 177), Speeds(232, 767)  # of two CPUs with bfloat16 instructions
GIB = 2**30


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> list[Speeds]:
    """Return the list of new measurements: of a CPU whose bfloat16 is slow."""
    made: list[Speeds] = []
    monkeypatch.setattr(cpu_formats, "measure", lambda: made.append(SLOW_16) or SLOW_16)
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: True)
    return made


def recipe(**train: Any) -> Any:
    return recipe_from_mapping({"recipe": 1, "name": "cpu", "train": train})


@pytest.mark.parametrize(("wanted", "speeds", "gib", "only_16_bit", "chosen", "says"), [
    ("bfloat16", SLOW_16, 1, False, "float32", "177 GFLOP per CPU second, float32 343: float32 is used"),
    ("bfloat16", FAST_16, 1, False, "bfloat16", "767 GFLOP per CPU second, float32 232: bfloat16 is used"),
    ("bfloat16", Speeds(100, 109), 1, False, "float32", "float32 is used"),  # no clear gain
    ("bfloat16", Speeds(100, 111), 1, False, "bfloat16", "bfloat16 is used"),
    ("bfloat16", SLOW_16, 9, False, "bfloat16", "float32 weights would take 9.0 of 16.0 GiB"),
    ("bfloat16", SLOW_16, 1, True, "bfloat16", "as train.master asks for"),
    ("bfloat16", None, 1, False, "bfloat16", ""),
    ("float32", FAST_16, 1, False, "float32", ""),
    ("float16", FAST_16, 1, False, "float16", ""),
])  # fmt: skip
def test_the_faster_format_is_taken_where_its_weights_fit(wanted, speeds, gib, only_16_bit, chosen, says):
    found, why = cpu_formats.train_in(wanted, speeds, gib * GIB / 4, 16 * GIB, only_16_bit=only_16_bit)
    assert found == chosen
    assert says in why and bool(says) == bool(why)


def test_it_is_measured_once_for_a_boot_a_cpu_a_torch_and_a_count_of_threads(home, measurements, monkeypatch):
    assert cpu_formats.kept(home) is None
    for _ in range(3):
        assert cpu_formats.measured(home) == cpu_formats.kept(home) == SLOW_16
    assert len(measurements) == 1

    monkeypatch.setattr("torch.get_num_threads", lambda: 77)
    cpu_formats.measured(home)
    assert len(measurements) == 2
    for at in range(3):
        here = tuple("another" if at == part else fact for part, fact in enumerate(cpu_formats._here()))
        monkeypatch.setattr(cpu_formats, "_here", lambda here=here: here)
        assert cpu_formats.kept(home) is None
        cpu_formats.measured(home)
        assert len(measurements) == 3 + at


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\x00", b'{"boot": 1}', b'"x"'])
def test_what_can_t_be_read_is_measured_anew(home, measurements, content):
    cpu_formats.measured(home)
    (file,) = home.models.glob(".cpu.json")
    whole = file.read_bytes()
    file.write_bytes(content)
    assert cpu_formats.kept(home) is None
    assert cpu_formats.measured(home) == SLOW_16
    assert file.read_bytes() == whole
    assert len(measurements) == 2
    broken = msgspec.json.decode(whole)
    broken["speeds"]["bfloat16"] = -1
    file.write_bytes(msgspec.json.encode(broken))
    assert cpu_formats.kept(home) is None


def test_nothing_is_written_where_there_is_no_home(tmp_path, measurements):
    assert cpu_formats.measured(Home(tmp_path / "none")) == SLOW_16
    assert not list(tmp_path.iterdir())


def test_a_measurement_of_this_cpu(home):
    speeds = cpu_formats.measured(home)
    assert speeds.float32 > 0 and speeds.bfloat16 > 0 and cpu_formats.kept(home) == speeds


def test_what_trains_and_what_scores(tiny_model, home, measurements):
    format_of = cpu_formats.choose(recipe(), tiny_model, "cpu", home)
    assert format_of[0] == "float32" and "343" in format_of[1]
    assert devices.scoring_dtype("bfloat16", tiny_model, "cpu") == "bfloat16"  # so kept scores stay valid
    assert cpu_formats.choose(recipe(master="stochastic"), tiny_model, "cpu", home)[0] == "bfloat16"
    assert cpu_formats.choose(recipe(), tiny_model, "cuda:0", home) == ("bfloat16", "")
    assert len(measurements) == 1


def test_a_run_goes_on_in_its_format(tiny_model, home, measurements):
    for before in ("bfloat16", "float32"):
        assert cpu_formats.choose(recipe(), tiny_model, "cpu", home, before)[0] == before
    assert not measurements


def test_a_gpu_without_bfloat16_trains_in_float16_and_says_so(tiny_model, home, monkeypatch):
    monkeypatch.setattr(devices, "has_bfloat16", lambda _: False)
    monkeypatch.setattr(devices, "device_kind", lambda _: "Tesla T4")
    chosen, why = cpu_formats.choose(recipe(), tiny_model, "cuda:0", home)
    assert chosen == "float16" and "float16: this card (Tesla T4) has no bfloat16" in why
    assert cpu_formats.choose(recipe(), tiny_model, "cuda:0", home, "float16")[0] == "float16"
    with pytest.raises(BadInput, match=r"this run began in bfloat16, and Tesla T4 can't compute in it"):
        cpu_formats.choose(recipe(), tiny_model, "cuda:0", home, "bfloat16")


def test_without_instructions_nothing_is_measured(tiny_model, home, measurements, monkeypatch):
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: False)
    chosen, why = cpu_formats.choose(recipe(), tiny_model, "cpu", home)
    assert chosen == "float32" and "no arithmetic for bfloat16" in why
    assert not measurements
