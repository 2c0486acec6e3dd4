"""Copies of the database beside it, from before migrations and rebuilds: the last three of each."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from finetop.core.runtime.crash_points import abort_at
from finetop.core.runtime.files import sync

KEPT = 3


def wal_of(database: Path) -> Path:
    """Return the path of the write-ahead log, which holds commits since the last checkpoint."""
    return database.with_name(f"{database.name}.wal")


def copy(database: Path, migration: str) -> Path:
    """Copy a checkpointed database atomically before a migration. Raises OSError."""
    target = database.with_name(f"{database.name}.before-{migration.removesuffix('.sql')}")
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(database, aside)
        aside.chmod(0o600)
        sync(aside)
        abort_at("copy-aside")
        aside.replace(target)
        abort_at("copy-placed")
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _prune(database, f"{database.name}.before-[0-9]*")
    return target


def swap(fresh: Path, database: Path) -> str:
    """Replace the database by a new one. Return the old one's new name, or '' if there was none."""
    backup = database.with_name(f"{database.name}.before-rebuild-{time.strftime('%Y%m%d-%H%M%S')}")
    sync(fresh)
    had_one = database.exists()
    if wal_of(database).exists():  # first: an old log must never meet the new file
        wal_of(database).replace(wal_of(backup))
        abort_at("log-moved")
    if had_one:
        database.replace(backup)
        abort_at("database-moved")
    fresh.replace(database)
    abort_at("database-placed")
    sync(database.parent)
    _prune(database, f"{database.name}.before-rebuild-*")
    return backup.name if had_one else ""


def _prune(database: Path, pattern: str) -> None:
    """Keep the newest KEPT; a log is removed with its database."""
    backups = [file for file in database.parent.glob(pattern) if file.suffix != ".wal"]
    for file in sorted(backups, key=lambda one: one.stat().st_mtime_ns)[:-KEPT]:
        file.unlink(missing_ok=True)
        wal_of(file).unlink(missing_ok=True)
