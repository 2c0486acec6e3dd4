"""TensorBoard's event files: values of every form, records that are cut, damaged or of something else."""

import struct
from pathlib import Path

import pytest
from metric_files import found, framed, message, opened, put, read, scalars, steps, tensor

from finetop.core.external.sources import Reader, tensorboard

FLOAT, DOUBLE, INT32, TEXT, INT64 = 1, 2, 3, 7, 9
# The first records of a file that tensorboardX 2.6 wrote: its version, then add_scalar("f", .1, 0) and ("f", 1.1, 1).
REAL = (
    b'\x18\x00\x00\x00\x00\x00\x00\x00\xa3\x7fK"\t\x178w\x8f\xfb\xc2\xdaA\x1a\rbrain.Event:2,[j!\x15\x00\x00\x00\x00'
    b"\x00\x00\x00\xd6\xabk+\t/\xb0w\x8f\xfb\xc2\xdaA*\n\n\x08\n\x01f\x15\xcd\xcc\xcc=m\xad\x91\x13\x17\x00\x00\x00\x00"
    b"\x00\x00\x00\xe7\xce\xf8\x1e\t\x93\xb9w\x8f\xfb\xc2\xdaA\x10\x01*\n\n\x08\n\x01f\x15\xcd\xcc\x8c?\xbd\xe67]"
)


NAME = "events.out.tfevents.1.host"


def reader_of(folder: Path, data: bytes) -> Reader:
    return opened("tensorboard", put(folder / "runs" / "a" / NAME, data))


def test_a_file_of_tensorboardx(tmp_path):
    first, second = reader_of(tmp_path, REAL).read()
    assert (first.step, second.step) == (0, 1)
    assert first.values == {"f": pytest.approx(0.1)}
    assert second.values == {"f": pytest.approx(1.1)}
    assert 1795943997 < first.at < second.at < 1795943998


TENSORS = {
    "float32 content": (FLOAT, (4, struct.pack("<f", 0.5)), 0.5),
    "float32 packed": (FLOAT, (5, struct.pack("<f", 0.5)), 0.5),
    "float64 content": (DOUBLE, (4, struct.pack("<d", 0.1)), 0.1),
    "float64 packed": (DOUBLE, (6, struct.pack("<d", 0.1)), 0.1),
    "float64 alone": (DOUBLE, (6, 0.1), 0.1),
    "int32 alone": (INT32, (7, 5), 5.0),
    "int64 packed": (INT64, (10, b"\x05"), 5.0),
    "int64 negative": (INT64, (10, -5), -5.0),
    "int64 content": (INT64, (4, struct.pack("<q", -5)), -5.0),
    "two numbers": (FLOAT, (4, struct.pack("<ff", 1, 2)), None),
    "two integers": (INT64, (10, b"\x05\x06"), None),
    "text": (TEXT, (8, b"hello"), None),
    "no number": (FLOAT, (2, b""), None),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(tmp_path, name):
    dtype, part, value = TENSORS[name]
    points = read(reader_of(tmp_path, tensor(3, "t", dtype, part) + scalars(4, loss=1.0)))
    assert points == [*([] if value is None else [(3, {"t": value})]), (4, {"loss": 1.0})]


def test_a_record_that_is_cut_waits_for_its_rest(tmp_path):
    data = scalars(1, loss=1.0) + scalars(2, loss=2.0)
    for cut in range(len(data)):
        reader = reader_of(tmp_path, data[:cut])
        before = read(reader)
        reader.path.write_bytes(data)
        assert before + read(reader) == [(1, {"loss": 1.0}), (2, {"loss": 2.0})]


DAMAGE = {
    "no message": framed(b"\xff" * 30),
    "empty": framed(b""),
    "zeros of a crash": bytes(160),
    "a number for a summary": framed(message((1, 1.0), (2, 3), (5, 7))),
    "a text for a step": framed(message((1, 1.0), (2, b"x"), (5, message((1, b"\x0a\x01a"))))),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_records_are_left_out(tmp_path, name):
    reader = reader_of(tmp_path, scalars(1, loss=1.0) + DAMAGE[name] + scalars(2, loss=2.0))
    assert read(reader) == [(1, {"loss": 1.0}), (2, {"loss": 2.0})]


def test_nothing_is_read_after_a_length_that_is_none_and_odd_steps_are_no_error(tmp_path):
    reader = reader_of(tmp_path, scalars(1, loss=1.0) + struct.pack("<Q", 1 << 60) + bytes(40))
    assert read(reader) == [(1, {"loss": 1.0})]
    assert read(reader) == []
    (step,) = steps(reader_of(tmp_path, scalars(-1, a=1.0)))
    assert not 0 <= step < 2**31


def test_large_files_and_pictures_are_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "MOST_BYTES", 1000)
    many = b"".join(scalars(step, loss=1.0) for step in range(50))
    reader = reader_of(tmp_path, many + framed(bytes(5000)) + scalars(50, loss=2.0))
    assert 0 < len(reader.read()) < 30
    assert steps(opened("tensorboard", reader.path)) == list(range(51))


def test_files_are_found_where_programs_put_them_whose_folders_tell_the_writers_of_one_apart(tmp_path):
    folders = ("", "runs/Nov29_host", "logs", "lightning_logs/version_0", "out")
    files = {put(tmp_path / folder / NAME, REAL) for folder in folders}
    put(tmp_path / "a/b/c/d" / NAME, REAL)
    assert set(found("tensorboard", tmp_path)) == files
    names = ("runs/Nov29_host", "one/train", "one/validation", "runs/Nov29_host/Loss_val")
    series = [opened("tensorboard", put(tmp_path / name / NAME, REAL)).series for name in names]
    assert series == ["", "train", "validation", "Loss_val"]
