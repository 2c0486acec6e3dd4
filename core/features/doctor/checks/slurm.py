"""The Slurm cluster: its commands, its partition, and whether its nodes can see the home."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from finetop.core.errors import FinetopError
from finetop.core.features.doctor.checks import Finding, ok, trouble, warning
from finetop.core.recipe import home_settings
from finetop.core.recipe.home_settings import Slurm
from finetop.core.runtime import files
from finetop.core.runtime.home import DATABASE_FOLDER, Home
from finetop.core.supervisor.launchers import slurm_commands
from finetop.core.supervisor.launchers.slurm_commands import CommandFailed, NoAnswer, Node
from finetop.core.text import counted

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
# File systems of one machine alone; others may or may not be mounted at the same place on every node.
OF_ONE_MACHINE = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay", "ramfs"}


def slurm_findings(home: Home) -> Iterator[Finding]:
    """Yield the findings on the cluster, if settings.yaml has a section for it."""
    try:
        settings = home_settings.load(home).slurm
    except FinetopError:
        return  # the settings' own finding reports it
    if settings is None:
        if shutil.which("sbatch") is not None:
            yield ok("Slurm", "sbatch is available; jobs run on this machine: no slurm in settings.yaml")
        return
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        fix = "Load your cluster's module, then: finetop supervisor stop."
        yield trouble("Slurm", f"{missing[0]} is not on the PATH", fix)
        return
    try:
        nodes = slurm_commands.nodes()
    except (NoAnswer, CommandFailed) as error:
        yield trouble("Slurm", f"it does not answer: {error}", "Jobs that run there go on; try again.")
        return
    yield partition(settings, nodes)
    yield shared(home.root, nodes)
    yield shared(Path(sys.prefix), nodes)
    yield database(home)


def partition(settings: Slurm, nodes: list[Node]) -> Finding:
    """Report whether the partition exists, and its nodes and GPUs."""
    inside = [{name.strip().rstrip("*") for name in node.partitions.split(",")} for node in nodes]
    known, where = set().union(*inside), "its default partition"
    if settings.partition is not None:
        own, where = set(settings.partition.split(",")), f"partition {settings.partition}"
        if lost := own - known:
            text = f"there is no partition {min(lost)}. Partitions: {', '.join(sorted(known))}"
            return trouble("Slurm", text, "Set slurm.partition in settings.yaml.")
        nodes = [node for node, names in zip(nodes, inside, strict=True) if own & names]
    gpus = sum(node.gpus for node in nodes)
    return ok("Slurm", f"{where}: {counted(len(nodes), 'node')}, {counted(gpus, 'GPU')}")


def shared(folder: Path, nodes: list[Node]) -> Finding:
    """Report whether every node can see a folder: judged by its file system, as no job is started to test it."""
    kind = files.file_system_of(folder)
    is_alone = {node.name for node in nodes} <= {os.uname().nodename.partition(".")[0]}
    if kind in OF_ONE_MACHINE and not is_alone:
        text = f"{folder} is on {kind}, a disk of this machine: nodes can't see it"
        return warning("Slurm", text, "Put it on the file system that all nodes share, at one path.")
    return ok("Slurm", f"{folder} is on {kind or 'an unknown file system'}")


def database(home: Home) -> Finding:
    """Report where the database is; it must not be on a shared file system."""
    text = f"the database is {home.database}"
    if why := files.why_not_for_database(files.file_system_of(home.database.parent)):
        return trouble("Slurm", f"{text}, which {why}", f"Set {DATABASE_FOLDER}=/var/tmp/finetop.")
    return ok("Slurm", f"{text}, on this machine's own disk")
