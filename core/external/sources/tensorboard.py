"""TensorBoard event files: scalars alone, read without TensorBoard, which would bring 60 MB.

Records are framed as in TensorFlow's TFRecord (length, its CRC, bytes, their CRC); the bytes are an Event of
event.proto: wall_time (1), step (2), summary (5) with values (1) of a tag (1) and a simple_value (2) or a tensor (8).
"""

from __future__ import annotations

import re
import socket
import struct
from typing import TYPE_CHECKING

from finetop.core.external.sources import Places, Point, Reader, Source
from finetop.core.external.sources._protobuf import Broken, fields, varints
from finetop.core.runtime.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATTERN = "events.out.tfevents.*"
NAME = re.compile(r"events\.out\.tfevents\.\d+\.(?P<host>.+?)\.(?P<pid>\d+)\.\d+.*")  # and the time before it
# below a run's folders; the Trainer's is runs/DATE_HOST/
DEPTHS = ("", "runs/", "runs/*/", "logs/", "*/", "*/*/")
MOST_BYTES = 8 << 20  # of one read
HEAD, FOOT = 12, 4  # bytes: length and its CRC; CRC of the record
LONGEST = 64 << 20  # bytes of a record: pictures are in here too
WALL_TIME, STEP, SUMMARY, VALUE, TAG, SIMPLE, TENSOR = 1, 2, 5, 1, 1, 2, 8
DTYPE, CONTENT = 1, 4  # of a tensor; shape is 2
# Types of a tensor: the field of its values, and their format in that field and in its content; '' are varints.
TYPES = {1: (5, "<f", "<f"), 2: (6, "<d", "<d"), 3: (7, "", "<i"), 9: (10, "", "<q")}
# Folders of writers that write at the same time: Keras' `train` and `validation`, and those of add_scalars.
SERIES = ("train", "training", "val", "valid", "validation", "eval", "evaluation", "test")


class Events(Reader):
    """One event file. A record that is cut waits for its rest; one that can't be read is left out."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_of_one_process = True
        self._offset, self._is_damaged = 0, False
        folder = path.parent
        self.series = folder.name if folder.name in SERIES or any(folder.parent.glob(PATTERN)) else ""

    def read(self) -> list[Point]:
        points: list[Point] = []
        if self._is_damaged:
            return points
        with open_regular(self.path) as file:
            file.seek(self._offset)
            data = file.read(MOST_BYTES)
            at = 0
            while at + HEAD <= len(data):
                (length,) = struct.unpack_from("<Q", data, at)
                if length > LONGEST:
                    self._is_damaged, self.behind = True, False  # no length after this can be trusted
                    return points
                end = at + HEAD + length + FOOT
                if end > len(data):
                    if length > MOST_BYTES - HEAD - FOOT and at == 0:
                        self._offset += end  # a picture larger than a read
                        self.behind = True
                        return points
                    break
                if (point := _point(data[at + HEAD : end - FOOT])) is not None:
                    points.append(point)
                at = end
        self._offset += at
        self.behind = at > 0 and len(data) == MOST_BYTES
        return points


def _point(record: bytes) -> Point | None:
    try:
        event = dict(fields(record))
        values = dict(_values(event.get(SUMMARY, b"")))
        at = event.get(WALL_TIME, 0)
        wall_time = struct.unpack("<d", struct.pack("<Q", at))[0] if isinstance(at, int) else 0.0
        step = event.get(STEP, 0)
    except (Broken, ValueError, struct.error):
        return None
    if not values or not isinstance(step, int):
        return None
    return Point(step, values, float(wall_time))


def _values(summary: int | bytes) -> Iterator[tuple[str, float]]:
    for number, value in fields(summary):
        if number != VALUE:
            continue
        parts = dict(fields(value))
        tag, simple, tensor = parts.get(TAG, b""), parts.get(SIMPLE), parts.get(TENSOR)
        if not isinstance(tag, bytes) or not tag:
            continue
        if isinstance(simple, int):
            yield tag.decode("utf-8", "replace"), struct.unpack("<f", struct.pack("<I", simple))[0]
        elif isinstance(tensor, bytes) and (scalar := _scalar(tensor)) is not None:
            yield tag.decode("utf-8", "replace"), scalar


def _scalar(tensor: bytes) -> float | None:
    """Return the value of a tensor with one number; None for any other."""
    parts = dict(fields(tensor))
    kind = parts.get(DTYPE)
    if not isinstance(kind, int) or kind not in TYPES:
        return None
    number, form, of_content = TYPES[kind]
    content, value = parts.get(CONTENT), parts.get(number)
    if isinstance(content, bytes) and content:
        value, form = content, of_content
    if not form:  # a varint, alone or packed
        numbers = [value] if isinstance(value, int) else list(varints(value)) if value else []
        return float(numbers[0] - (1 << 64) * (numbers[0] >> 63)) if len(numbers) == 1 else None
    if isinstance(value, int):
        value = value.to_bytes(struct.calcsize(form), "little")
    if not isinstance(value, bytes) or len(value) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, value)[0])


class TensorBoard(Source):
    about = "TensorBoard event files"
    rank = 4

    def find(self, places: Places) -> Iterator[Path]:
        for folder in places.folders:
            for depth in DEPTHS:
                yield from filter(places.is_new, folder.glob(depth + PATTERN))

    def writer_in(self, path: Path) -> int:
        name = NAME.fullmatch(path.name)
        return int(name["pid"]) if name and name["host"] == socket.gethostname() else 0

    def open(self, path: Path, places: Places) -> Events:
        return Events(path)


PLUGIN = TensorBoard()
