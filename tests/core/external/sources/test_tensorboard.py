"""TensorBoard's event files: values of every form, records that are cut, damaged or of something else."""

import struct
from pathlib import Path

import pytest
from metric_files import framed, message, opened, read, scalars, tensor

from finetop.core.external.sources import Places, load, tensorboard

FLOAT, DOUBLE, INT32, TEXT, INT64 = 1, 2, 3, 7, 9
# The first records of a file that tensorboardX 2.6 wrote: its version, then add_scalar("f", .1, 0) and ("f", 1.1, 1).
REAL = (
    b'\x18\x00\x00\x00\x00\x00\x00\x00\xa3\x7fK"\t\x178w\x8f\xfb\xc2\xdaA\x1a\rbrain.Event:2,[j!\x15\x00\x00\x00\x00'
    b"\x00\x00\x00\xd6\xabk+\t/\xb0w\x8f\xfb\xc2\xdaA*\n\n\x08\n\x01f\x15\xcd\xcc\xcc=m\xad\x91\x13\x17\x00\x00\x00\x00"
    b"\x00\x00\x00\xe7\xce\xf8\x1e\t\x93\xb9w\x8f\xfb\xc2\xdaA\x10\x01*\n\n\x08\n\x01f\x15\xcd\xcc\x8c?\xbd\xe67]"
)


def written(tmp_path: Path, data: bytes, folder: str = "runs/a") -> Path:
    path = tmp_path / folder / "events.out.tfevents.1.host"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_file_of_tensorboardx(tmp_path: Path) -> None:
    first, second = opened("tensorboard", written(tmp_path, REAL)).read()
    assert (first.step, second.step) == (0, 1)
    assert first.values == {"f": pytest.approx(0.1)}
    assert second.values == {"f": pytest.approx(1.1)}
    assert 1795943997 < first.at < second.at < 1795943998


@pytest.mark.parametrize(
    ("dtype", "part", "value"),
    [
        pytest.param(FLOAT, (4, struct.pack("<f", 0.5)), 0.5, id="float32 content"),
        pytest.param(FLOAT, (5, struct.pack("<f", 0.5)), 0.5, id="float32 packed"),
        pytest.param(DOUBLE, (4, struct.pack("<d", 0.1)), 0.1, id="float64 content"),
        pytest.param(DOUBLE, (6, struct.pack("<d", 0.1)), 0.1, id="float64 packed"),
        pytest.param(DOUBLE, (6, 0.1), 0.1, id="float64 alone"),
        pytest.param(INT32, (7, 5), 5.0, id="int32 alone"),
        pytest.param(INT64, (10, b"\x05"), 5.0, id="int64 packed"),
        pytest.param(INT64, (10, -5), -5.0, id="int64 negative"),
        pytest.param(INT64, (4, struct.pack("<q", -5)), -5.0, id="int64 content"),
        pytest.param(FLOAT, (4, struct.pack("<ff", 1, 2)), None, id="two numbers"),
        pytest.param(INT64, (10, b"\x05\x06"), None, id="two integers"),
        pytest.param(TEXT, (8, b"hello"), None, id="text"),
        pytest.param(FLOAT, (2, b""), None, id="no number"),
    ],
)
def test_tensors(
    tmp_path: Path, dtype: int, part: tuple[int, int | float | bytes], value: float | None
) -> None:
    path = written(tmp_path, tensor(3, "t", dtype, part) + scalars(4, loss=1.0))
    assert read(opened("tensorboard", path)) == [
        *([] if value is None else [(3, {"t": value})]),
        (4, {"loss": 1.0}),
    ]


def test_a_record_that_is_cut_waits_for_its_rest(tmp_path: Path) -> None:
    data = scalars(1, loss=1.0) + scalars(2, loss=2.0)
    for cut in range(len(data)):
        path = written(tmp_path, data[:cut])
        reader = opened("tensorboard", path)
        before = read(reader)
        path.write_bytes(data)
        assert before + read(reader) == [(1, {"loss": 1.0}), (2, {"loss": 2.0})]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(framed(b"\xff" * 30), id="no message"),
        pytest.param(framed(b""), id="empty"),
        pytest.param(bytes(160), id="zeros of a crash"),
        pytest.param(framed(message((1, 1.0), (2, 3), (5, 7))), id="a number for a summary"),
        pytest.param(
            framed(message((1, 1.0), (2, b"x"), (5, message((1, b"\x0a\x01a"))))), id="a text for a step"
        ),
    ],
)
def test_damaged_records_are_left_out(tmp_path: Path, damage: bytes) -> None:
    path = written(tmp_path, scalars(1, loss=1.0) + damage + scalars(2, loss=2.0))
    assert read(opened("tensorboard", path)) == [(1, {"loss": 1.0}), (2, {"loss": 2.0})]


def test_nothing_is_read_after_a_length_that_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, scalars(1, loss=1.0) + struct.pack("<Q", 1 << 60) + bytes(40))
    reader = opened("tensorboard", path)
    assert read(reader) == [(1, {"loss": 1.0})]
    assert read(reader) == []


def test_large_files_and_pictures_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "MOST_BYTES", 1000)
    data = (
        b"".join(scalars(step, loss=1.0) for step in range(50)) + framed(bytes(5000)) + scalars(50, loss=2.0)
    )
    reader = opened("tensorboard", written(tmp_path, data))
    assert 0 < len(reader.read()) < 30
    reader = opened("tensorboard", written(tmp_path, data))
    assert [step for step, _ in read(reader)] == list(range(51))


def test_negative_and_large_steps_are_no_error(tmp_path: Path) -> None:
    steps = [point.step for point in opened("tensorboard", written(tmp_path, scalars(-1, a=1.0))).read()]
    assert not 0 <= steps[0] < 2**31


def test_files_are_found_where_programs_put_them(tmp_path: Path) -> None:
    folders = ("", "runs/Nov29_host", "logs", "lightning_logs/version_0", "out")
    files = {written(tmp_path, REAL, folder) for folder in folders}
    written(tmp_path, REAL, "a/b/c/d")
    assert set(load("tensorboard").find(Places((tmp_path,)))) == files


def test_writers_of_one_program_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    names = ("runs/Nov29_host", "logs/train", "logs/validation", "runs/Nov29_host/Loss_val")
    series = [opened("tensorboard", written(tmp_path, REAL, name)).series for name in names]
    assert series == ["", "train", "validation", "Loss_val"]
