"""Which file system a folder lies on, and whether the database may lie there: its lock must be one to rely on."""

from __future__ import annotations

from pathlib import Path

from finetop.core.errors import EnvironmentTrouble

MOUNTS = Path("/proc/self/mounts")
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "beegfs", "gpfs", "glusterfs", "ocfs2"}
)  # fmt: skip
LOCAL_FUSE = frozenset({"fuseblk", "fuse.fuse-overlayfs"})  # a local disk or a container's layers


def kind_of(folder: Path, mounts: Path | None = None) -> str:
    """Name the file system of a folder by the longest mount point above it; empty where that is not known."""
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


def why_not(kind: str) -> str:
    """Say why a database can't lie on such a file system; empty where it can."""
    if kind in NETWORK:
        return f"is on {kind}, a network file system: two machines could write the database at once"
    if kind.startswith("fuse") and kind not in LOCAL_FUSE:
        return f"is on {kind}: a lock there may hold for nobody, and a write may come late"
    return ""


def require_local(root: Path) -> None:
    """Refuse a home whose database would lie on a network file system, or on FUSE. Raises EnvironmentTrouble."""
    if why := why_not(kind_of(root)):
        raise EnvironmentTrouble(
            f"{root} {why}.",
            hint="Put the home on a local disk (--home or FINETOP_HOME); models and data may stay where they are.",
        )
