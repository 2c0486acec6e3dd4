"""Folders and small files written atomically, file systems, and retries of failing file access."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, TypeVar

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.runtime.crash_points import abort_at
from finetop.core.text import plain

Result = TypeVar("Result")
PASSING_ERRORS = (errno.ESTALE, errno.ENOLCK, errno.EIO, errno.ETIMEDOUT)  # of a network file system
PATIENCE_S = 60.0
AGAIN_S = 0.2
LARGEST_GIVEN = 64 << 20  # bytes of a text, template or list given by the user
MOUNTS = Path("/proc/self/mounts")
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "beegfs", "gpfs", "glusterfs", "ocfs2"}
)  # fmt: skip
LOCAL_FUSE = frozenset({"fuseblk", "fuse.fuse-overlayfs"})  # a local disk, or a container's layers


def publish(aside: Path, target: Path) -> None:
    """Rename a finished folder, on one file system; after a crash the target is absent or complete. Raises OSError."""
    for file in aside.rglob("*"):
        sync(file)
    sync(aside)
    aside.rename(target)
    sync(target.parent)


def make_inside(folder: Path, above: Path) -> None:
    """Create a folder below another, for the owner only. Raises BadInput if a link leads elsewhere, and OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not folder.resolve().is_relative_to(above.resolve()):
        hint = "Put a real folder in the link's place."
        raise BadInput(f"{folder} leads out of {above}, by a link.", hint=hint)


def open_own(file: Path | str, flags: int) -> int:
    """Open a regular file below the home and return its descriptor; all such files are opened here.

    A link is not followed, and a pipe or a device is not waited for. New files are for the owner only. Raises OSError.
    """
    handle = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.ENXIO, "Not an ordinary file", str(file))
    return handle


def take_file_lock(file: Path, wait_s: float) -> int | None:
    """Lock a file; return its descriptor, or None if it stays held for `wait_s`. Raises OSError."""
    descriptor = open_own(file, os.O_RDWR | os.O_CREAT)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.02)
        except OSError:
            os.close(descriptor)
            raise
        else:
            return descriptor


def open_regular(file: Path) -> BinaryIO:
    """Open a regular file for reading. A link, a pipe or a device counts as missing. Raises OSError."""
    try:
        return os.fdopen(open_own(file, os.O_RDONLY), "rb")
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EMLINK):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", str(file)) from error
        raise


def read_own(file: Path, most: int = LARGEST_GIVEN) -> bytes:
    """Return the content of a file below the home, opened by `open_regular`. Raises OSError, also if too large."""
    with open_regular(file) as opened:
        return _read_up_to(opened, most, file)


def end_of(file: Path, size: int) -> bytes:
    """Return the end of a file below the home, whatever its size. Raises OSError."""
    with open_regular(file) as opened:
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - size))
        return opened.read(size)


def _read_up_to(opened: BinaryIO, most: int, file: Path) -> bytes:
    content = opened.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"Over {most:,} bytes", str(file))
    return content


def empty_path(name: str) -> BadInput:
    """Return the error for an empty path; Path("") would be the working folder."""
    hint = "Give a path, or leave it out. An unset shell variable is empty, too."
    return BadInput(f"{name} is empty.", hint=hint)


def given_path(text: str | Path) -> Path:
    """Return a user's path with ~ and ~name expanded. Raises BadInput for an empty path and an unknown user."""
    if not str(text).strip():
        raise empty_path("a path")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{plain(str(text))}: no such user.", hint="Give the whole path.") from error


def is_pattern(path: Path) -> bool:
    """Return whether a path is a pattern, as data/*.csv is, and no file has that name."""
    return any(mark in path.name for mark in "*?[") and not os.path.lexists(path)


def open_given(file: Path) -> BufferedReader:
    """Open a user's file, following links; a pipe or device is refused, not waited for. Raises OSError, ValueError."""
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, os.strerror(number) if stat.S_ISDIR(mode) else "Not a file", str(file))
    return os.fdopen(handle, "rb")


def read_given(file: Path, most: int = LARGEST_GIVEN) -> bytes:
    """Return the content of a file given by the user. Raises OSError, also if it has more than `most` bytes."""
    with open_given(file) as opened:
        return _read_up_to(opened, most, file)


def is_still(path: Path, descriptor: int) -> bool:
    """Return whether a path still leads to an open file, not deleted, moved or replaced; True if that is unknown."""
    try:
        current, own = os.lstat(path), os.fstat(descriptor)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR)
    return (current.st_dev, current.st_ino) == (own.st_dev, own.st_ino)


def read_if_there(file: Path, most: int = LARGEST_GIVEN) -> bytes | None:
    """Return an optional file's content, or None if nothing has that name. Raises OSError, also for a broken link."""
    try:
        return read_given(file, most)
    except FileNotFoundError as error:
        if not os.path.lexists(file):
            return None
        raise OSError(errno.ENOENT, "its link leads nowhere", str(file)) from error


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Add a file's name to OSErrors raised meanwhile: those of a write, a flush or a sync have none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(file)
        raise


def os_error_words(error: OSError, above: Path | None = None) -> str:
    """Describe an OSError: 'runs/7-x/run.json: no space left on device'; paths are relative to `above`."""
    reason = (error.strerror or str(error) or "the system refused").rstrip(".")
    reason = reason[:1].lower() + reason[1:]
    if error.filename is None:
        return reason
    place = Path(os.fsdecode(error.filename))
    if above is not None and place.is_relative_to(above):
        place = place.relative_to(above)
    return f"{plain(str(place))}: {reason}"


def write_whole(file: Path, content: bytes) -> None:
    """Replace a small file atomically, for the owner only. No link is followed. Raises OSError."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    with naming(file):
        aside.unlink(missing_ok=True)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            abort_at("file-aside")
            aside.replace(file)
            abort_at("file-placed")
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def sync(path: Path) -> None:
    """Flush a file or folder to disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def retry_file_work(work: Callable[[], Result]) -> Result:
    """Retry file access for a minute while it fails with a transient error. Raises OSError."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return work()
        except OSError as error:
            if error.errno not in PASSING_ERRORS or time.monotonic() > deadline:
                raise
        time.sleep(AGAIN_S)


def file_system_of(folder: Path, mounts: Path | None = None) -> str:
    """Return the type of a folder's file system, from the longest mount point above it; '' if unknown."""
    best, kind = "", ""
    try:
        lines = (mounts or MOUNTS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    real = folder.resolve()
    for line in lines:
        parts = line.split()
        if len(parts) < 3:
            continue
        point = parts[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        if len(point) >= len(best) and real.is_relative_to(point):
            best, kind = point, parts[2]
    return kind


def why_not_for_database(kind: str) -> str:
    """Return why a database can't be on such a file system, or ''."""
    if kind in NETWORK:
        return f"is on {kind}, a network file system: two machines could write the database at once"
    if kind.startswith("fuse") and kind not in LOCAL_FUSE:
        return f"is on {kind}: locks there may not work, and writes may be delayed"
    return ""


def require_local(folder: Path) -> None:
    """Raise EnvironmentTrouble if the database's folder is on a network file system, or on FUSE."""
    if reason := why_not_for_database(file_system_of(folder)):
        hint = (
            "Put the home on a local disk (--home or FINETOP_HOME); models and data may stay where they are. On a"
            " cluster, leave the home there and put the database on a local disk: FINETOP_DATABASE=/var/tmp/finetop."
        )
        raise EnvironmentTrouble(f"{folder} {reason}.", hint=hint)


def size_of(file: Path) -> int:
    """Return a file's size, 0 if it is missing. Raises OSError."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
