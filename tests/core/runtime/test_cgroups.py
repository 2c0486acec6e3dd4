"""What a container or a service may use: cores by its quota of CPU time, memory by its limits, in both versions."""

import os
import subprocess
import sys

import pytest

from finetop.core.runtime import cgroups

MANY = 128


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Return a function that makes the files of control groups; the machine has 128 cores."""
    monkeypatch.setattr(cgroups, "affinity", lambda: MANY)

    def make(ours, files):
        (tmp_path / "cgroup").write_text(ours)
        for name, text in files.items():
            (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "fs" / name).write_text(f"{text}\n")
        return tmp_path / "cgroup", tmp_path / "fs"

    return make


@pytest.mark.parametrize(
    ("ours", "folders", "found"),
    [
        ("0::/user.slice/job\n", ["user.slice/job"], ["user.slice/job", "user.slice", ""]),  # version 2
        ("0::/\n", [""], [""]),  # a container with version 2
        ("9:name=systemd:/\n4:cpu,memory:/a/b\n", ["memory/a/b"], ["memory/a/b", "memory/a", "memory"]),
        (
            "4:memory:/docker/0123\n",
            ["memory"],
            ["memory"],
        ),  # a container with version 1: its path is outside
    ],
)
def test_groups_are_found_ours_first(tmp_path, ours, folders, found):
    (tmp_path / "cgroup").write_text(ours)
    for folder in folders:
        (tmp_path / "fs" / folder).mkdir(parents=True)
    groups = cgroups.groups("memory", tmp_path / "cgroup", tmp_path / "fs")
    assert [str(group.folder.relative_to(tmp_path / "fs")).strip(".") for group in groups] == found


CPU_1 = "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("ours", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "800000 100000"}, 8),  # a pod with 8 of 128 cores
        ("0::/pod/a\n", {"pod/cpu.max": "400000 100000", "pod/a/cpu.max": "max 100000"}, 4),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/\n", {"cpu.max": "max 100000"}, MANY),
        ("3:cpu,cpuacct:/kubepods/x\n", dict(zip(CPU_1, ("750000", "100000"), strict=True)), 7),  # version 1
        ("3:cpu,cpuacct:/\n", dict(zip(CPU_1, ("-1", "100000"), strict=True)), MANY),
        ("", {}, MANY),
    ],
)
def test_cores_are_those_of_the_quota_of_cpu_time(system, ours, files, cores):
    assert cgroups.cores(*system(ours, files)) == cores


def test_memory_is_that_of_the_tightest_limit_and_what_the_kernel_can_drop_is_free(system):
    files = {"pod/memory.max": "1000", "pod/memory.current": "900", "pod/memory.stat": "inactive_file 300"}
    of_2 = system("0::/pod/a\n", {**files, "pod/a/memory.max": "max"})
    assert (cgroups.memory_limit(*of_2), cgroups.memory_room(*of_2)) == (1000, 400)


def test_so_it_is_in_version_1(system):
    memory = {"limit_in_bytes": "2000", "usage_in_bytes": "500", "stat": "cache 9\ntotal_inactive_file 100"}
    of_1 = system("4:memory:/docker/0123\n", {f"memory/memory.{key}": text for key, text in memory.items()})
    assert (cgroups.memory_limit(*of_1), cgroups.memory_room(*of_1)) == (2000, 1600)
    without = system("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"})
    assert (cgroups.memory_limit(*without), cgroups.memory_room(*without)) == (None, None)


def test_the_kernel_counts_and_there_is_a_limit():
    assert cgroups.oom_kills() is not None
    assert 0 < cgroups.free_memory() <= cgroups.total_memory()
    assert cgroups.total_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_a_jobs_libraries_have_as_many_threads_as_its_quota_has_cores(system):
    """torch, Arrow and MKL read OMP_NUM_THREADS; llama.cpp gets the same number."""
    ours, fake = system("0::/\n", {"cpu.max": "100000 100000"})
    program = f"""
import os
from pathlib import Path
from finetop.core.runtime import cgroups
real = cgroups.cores
cgroups.affinity, cgroups.cores = (lambda: 128), (lambda: real(Path({str(ours)!r}), Path({str(fake)!r})))
from finetop.core.runtime import job_process, ranks
job_process.set_environment()
import torch
from finetop.core.models.llama_cpp import model
shared = ranks.launch_environment(2, {{}})["OMP_NUM_THREADS"]
print(os.environ["OMP_NUM_THREADS"], torch.get_num_threads(), model._cores(), shared)
print("OMP_NUM_THREADS" in job_process.users_environment())
"""
    own = {key: value for key, value in os.environ.items() if "NUM_THREADS" not in key}
    done = subprocess.run(
        [sys.executable, "-c", program], env=own, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "1", "1", "1", "False"]
