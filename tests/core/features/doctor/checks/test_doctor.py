"""doctor's findings and fixes: each tested by breaking the thing."""

import json
import os
import shutil
import time
from importlib import metadata
from pathlib import Path

import pytest
from typed import loaded_by
from waiting import wait_until

from finetop.core.errors import EnvironmentTrouble
from finetop.core.features.doctor.checks import folders, machine, processes, slurm
from finetop.core.features.doctor.commands import doctor
from finetop.core.protocol.messages.queue import Kill
from finetop.core.runtime import files as runtime_files
from finetop.core.runtime.home import Home, prepare
from finetop.core.supervisor.__main__ import open_home
from finetop.core.supervisor.launchers import slurm_commands


def by_subject(findings):
    return {finding.about: finding for finding in findings}


def write_program(file, text=""):
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@pytest.fixture
def home(tmp_path):
    new_home = Home(tmp_path / "home")
    prepare(new_home)
    return new_home


def test_of_a_healthy_home_nothing_is_wrong_and_every_line_has_its_subject(rig):
    finding = by_subject(doctor.find_all(rig.home))
    assert {f.about: f.text for f in finding.values() if f.level == "trouble"} == {}
    assert set(finding) >= {"python", "libraries", "home", "rights", "file system", "disk", "settings", "supervisor",
                          "lock", "socket", "keepers", "GPU", "after logout", "clock"}  # fmt: skip
    (rig.home.runs / "0007-astray" / "jobs" / "0007-train").mkdir(parents=True)
    astray = [(f.level, f.text) for f in processes.astray(rig.home, ["0007-astray/0007-train"])]
    assert astray == [("warning", "0007-astray/0007-train: running, but not listed")]
    assert processes.socket_rights(rig.home.socket).level == "ok"
    rig.home.socket.chmod(0o666)
    open_socket = processes.socket_rights(rig.home.socket)
    assert (open_socket.level, "finetop supervisor stop" in open_socket.fix) == ("trouble", True)


def test_trouble_has_its_fix_and_the_exit_code(home, command):
    (home.root / "settings.yaml").write_text("settings: 1\nkeep: {lasst: 1}\n")
    code, out, _ = command("--home", str(home.root), "doctor")
    assert (code, "✗ settings" in out, "-> Did you mean last?" in out) == (4, True, True)
    code, out, _ = command("--home", str(home.root), "doctor", "--json")
    findings = json.loads(out)["findings"]
    assert code == 4
    assert [f["fix"] for f in findings if f["level"] == "trouble"] == ["Did you mean last?"]


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /home nfs4 rw 0 0
/dev/sdb1 /home/ana/local\\040disk ext4 rw 0 0
//nas/share /mnt/nas cifs rw 0 0
sshfs#box: /mnt/box fuse.sshfs rw 0 0
overlay /mnt/layers fuse.fuse-overlayfs rw 0 0
"""


def test_the_file_system_is_that_of_the_longest_mount_above(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    for folder, kind, is_refused in (
        ("/var/finetop", "ext4", False),
        ("/home/ana/.finetop", "nfs4", True),
        ("/home/ana/local disk/.finetop", "ext4", False),
        ("/homestead", "ext4", False),
        ("/mnt/nas/x", "cifs", True),
        ("/mnt/box/x", "fuse.sshfs", True),
        ("/mnt/layers/x", "fuse.fuse-overlayfs", False),
    ):
        assert runtime_files.file_system_of(Path(folder), mounts) == kind
        assert bool(runtime_files.why_not_for_database(kind)) == is_refused


def test_a_database_on_nfs_is_refused_when_the_supervisor_starts_and_doctor_says_so(
    home, tmp_path, monkeypatch
):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {home.root} nfs4 rw 0 0\n")
    monkeypatch.setattr(runtime_files, "MOUNTS", mounts)
    with pytest.raises(EnvironmentTrouble, match=r"is on nfs4, a network file system.*local disk"):
        open_home(home)
    assert not home.database.exists()
    finding = folders.file_system(home.root)
    assert (finding.level, finding.fix) == ("trouble", "Put --home on a local disk.")


@pytest.mark.skipif(os.getuid() != 0, reason="to give a file to another user needs root")
def test_files_of_another_user_and_open_ones(home):
    assert folders.rights(home).level == "ok"
    (home.root / "open.txt").write_text("x")
    (home.root / "open.txt").chmod(0o644)
    assert folders.rights(home).text.startswith("open.txt could be read by others")
    (home.runs / "theirs").mkdir()
    os.chown(home.runs / "theirs", 65_534, 65_534)
    finding = folders.rights(home)
    assert (finding.level, finding.text) == ("trouble", "runs/theirs belongs to another user")
    assert finding.fix.startswith("chown -R -h")


def test_a_full_disk_and_folders_that_are_no_runs(home, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 99, 1 << 30))
    finding = folders.disk(home.root)
    assert (finding.level, "finetop clean" in finding.fix) == ("warning", True)
    (home.runs / "0009-bare").mkdir()
    (home.runs / "0010-link").symlink_to(tmp_path)
    texts = [finding.text for finding in folders.strays(home)]
    assert texts == ["0010-link: links, which are not followed", "0009-bare: no run.json"]


def test_a_supervisor_that_hangs_is_told_from_none(cold_rig, monkeypatch):
    cold_rig.up()
    cold_rig.home.socket.unlink()
    monkeypatch.setattr("finetop.core.client.connection.ANSWER_TIMEOUT_S", 1.0)
    finding = by_subject(processes.supervisor(cold_rig.home))["supervisor"]
    if finding.level == "trouble":  # else the supervisor has recreated its socket by now
        assert "holds the lock but does not answer" in finding.text
    cold_rig.wait_ready()
    assert by_subject(processes.supervisor(cold_rig.home))["lock"].level == "ok"


def test_jobs_that_live_are_counted_and_a_keeper_without_its_job_is_told_of(rig):
    name = rig.submit(waits_at=1)
    rig.wait_state(name, "running")
    folder = rig.job_folder(name)
    wait_until((folder / "keeper.json").exists, "its keeper")
    assert by_subject(processes.keepers(rig.home))["keepers"].text == "1 job live"
    keeper_text = (folder / "keeper.json").read_text()
    (folder / "keeper.json").write_text(json.dumps({**json.loads(keeper_text), "job_pid": 2**22 + 1}))
    finding = next(iter(processes.keepers(rig.home)))
    assert (finding.level, "0001-fake/0001-train" in finding.text) == ("warning", True)
    assert finding.fix == f"If this persists: kill {json.loads(keeper_text)['pid']}"
    (folder / "keeper.json").write_text(keeper_text)
    rig.ask(Kill(name))
    rig.wait_state(name, "stopped")


def test_a_database_that_could_not_be_opened_is_told_of_before_the_next_start(home):
    home.log.write_text("2026-01-01 /x/finetop.duckdb can't be read: … `finetop rebuild` makes it again.\n")
    finding = by_subject(processes.supervisor(home))["store"]
    assert (finding.level, finding.fix) == ("trouble", "finetop rebuild")


def test_versions_are_compared_with_what_was_tested(monkeypatch):
    for version, wanted, holds in (
        ("2.13.0+cpu", ">=2.9,<2.14", True),
        ("2.14.0", ">=2.9,<2.14", False),
        ("2.9", ">=2.9.0", True),
        ("0.4.13", "==0.4.13", True),
        ("0.4.14", "==0.4.13", False),
        ("5.24.0rc1", ">=5.24,<5.25", True),
        ("1", "", True),
        ("odd", ">=1", False),
    ):
        assert machine.fits(version, wanted) == holds, (version, wanted)
    assert machine.libraries().level == "ok"
    assert machine.requirements()["duckdb"]
    monkeypatch.setattr(machine, "requirements", lambda: {"duckdb": ">=99"})
    finding = machine.libraries()
    assert (finding.level, "(wanted >=99)" in finding.text) == ("warning", True)


def test_the_extra_is_named_if_it_is_missing_or_incomplete_and_no_metadata_are_needed(monkeypatch):
    lines = ["textual<8.3,>=8.2.8", 'duckdb<2.1,>=2.0.1; extra == "train"', 'ruff>=0.14; extra == "dev"']
    installed = dict.fromkeys((*machine.OF_TRAIN, *machine.LIGHT), "1.0")

    def version(name):
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    monkeypatch.setattr(metadata, "version", version)
    assert machine.requirements() == {"textual": "<8.3,>=8.2.8", "duckdb": "<2.1,>=2.0.1"}
    assert machine.libraries().level == "warning"
    for name in ("torch", "trl"):
        del installed[name]
    finding = machine.libraries()
    assert (finding.level, finding.text) == ("trouble", "missing of finetop[train]: torch, trl")
    assert finding.fix == "Install finetop again: pip install 'finetop[train]'."
    installed = dict.fromkeys(machine.LIGHT, "1.0")
    finding = machine.libraries()
    assert (finding.level, "without finetop[train]" in finding.text) == ("ok", True)
    del installed["numpy"]
    assert machine.libraries().fix == machine.INSTALL

    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert machine.requirements() == {}


def test_whether_systemd_kills_at_logout_is_read_as_logind_does(tmp_path):
    conf, drop_in = "etc/systemd/logind.conf", "etc/systemd/logind.conf.d/10.conf"
    for number, (files, kills) in enumerate((
        ({}, False),
        ({conf: "#KillUserProcesses=yes\n"}, False),
        ({conf: "[Login]\nKillUserProcesses=yes\n"}, True),
        ({conf: "KillUserProcesses=yes\n", drop_in: "KillUserProcesses=no\n"}, False),
        ({drop_in: "KillUserProcesses = true\n"}, True),
    )):  # fmt: skip
        root = tmp_path / str(number)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        assert machine.kills_at_logout(root) == kills, files


def test_lingering_is_what_saves_jobs_there(tmp_path, monkeypatch):
    for folder in ("run/systemd/system", "etc/systemd", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/systemd/logind.conf").write_text("KillUserProcesses=yes\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    for lingers, level, fix in (("yes", "ok", ""), ("no", "trouble", "loginctl enable-linger")):
        write_program(tmp_path / "bin" / "loginctl", f"echo {lingers}")
        finding = machine.lingering(tmp_path)
        assert (finding.level, finding.fix) == (level, fix)


def test_a_clock_that_was_set_back_is_told_of(home):
    home.log.write_text("")
    assert machine.clock(home).level == "ok"
    os.utime(home.log, (time.time() + 7200,) * 2)
    finding = machine.clock(home)
    assert (finding.level, "2.0 hours" in finding.text) == ("warning", True)


def test_doctor_loads_nothing_heavy(home):
    assert loaded_by("--home", str(home.root), "doctor")[1] == []


CLUSTER = [
    slurm_commands.Node("n1", "idle", "main*, debug", 4, 0, "rtx", "", ""),
    slurm_commands.Node("n2", "idle", "main*", 4, 0, "rtx", "", ""),
]


@pytest.fixture
def in_slurm(home, tmp_path, monkeypatch):
    """Set up a cluster whose commands exist and answer; returns a function that sets its settings section."""
    (tmp_path / "bin").mkdir()
    for name in slurm.COMMANDS:
        write_program(tmp_path / "bin" / name)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_commands, "nodes", lambda: CLUSTER)

    def findings(section="{}"):
        (home.root / "settings.yaml").write_text(f"settings: 1\nslurm: {section}\n")
        return list(slurm.slurm_findings(home))

    return findings


def test_a_cluster_is_looked_at_where_settings_name_one(in_slurm, home, monkeypatch, tmp_path):
    assert in_slurm("{partition: main}")[0].text == "partition main: 2 nodes, 8 GPUs"
    lost = in_slurm("{partition: gpux}")[0]
    assert (lost.level, lost.text) == ("trouble", "there is no partition gpux. Partitions: debug, main")
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(runtime_files, "MOUNTS", mounts)
    mounts.write_text("/dev/sda1 / ext4 rw 0 0\n")
    assert "nodes can't see it" in in_slurm()[1].text
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {home.root} nfs4 rw 0 0\n")
    shared, where = in_slurm()[1], in_slurm()[-1]
    assert (shared.level, where.level) == ("ok", "trouble") and "FINETOP_DATABASE" in where.fix
    monkeypatch.setenv("FINETOP_DATABASE", str(tmp_path / "local"))
    assert in_slurm()[-1].level == "ok"
    prepare(home)
    open_home(home).close()
    assert home.database.parent == tmp_path / "local" and home.database.exists()


def test_a_cluster_that_is_not_there_or_does_not_answer_is_told(in_slurm, monkeypatch):
    def silent():
        raise slurm_commands.NoAnswer("Unable to contact slurm controller")

    monkeypatch.setattr(slurm_commands, "nodes", silent)
    assert in_slurm()[0].text.startswith("it does not answer: Unable to contact")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert in_slurm()[0].text == "sbatch is not on the PATH"
