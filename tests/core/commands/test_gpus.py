"""`finetop gpus`: its output for GPUs of every kind, and for a machine without one."""

import json

from fake_nvml import UUIDS, Cards

from finetop.core.commands import gpus
from finetop.core.commands.main import main
from finetop.core.protocol.messages.machine import GpuJob, GpuProcess, GpuRow, GpusAnswer, GpuWaiting
from finetop.core.protocol.messages.session import Hello
from finetop.core.wording.gpus import bars


def row(index, **more):
    facts = {
        "index": index, "uuid": UUIDS[index], "name": "NVIDIA H100 80GB HBM3", "total_gib": 79.6, "ours_gib": 0.0,
        "others_gib": 0.0, "busy": 0, "celsius": 33, "watts": 70.0, "fault": "", "trouble": "", "left_out": "",
        "kept_for": "", "jobs": [], "others": [], "history": [],
    }  # fmt: skip
    return GpuRow(**{**facts, **more})


def answer(*rows, **more):
    facts = {
        "gpus": list(rows), "driver": "580.65.06", "cuda": "13.0", "trouble": "", "cores": 2, "cpu_jobs": 1,
        "on_cpu": [], "waiting": [], "column_s": 20.0, "age_s": 0.5,
    }  # fmt: skip
    return GpusAnswer(**{**facts, **more})


BUSY = answer(
    row(0, ours_gib=51.2, busy=92, celsius=64, history=[*[0] * 10, *range(0, 100, 5)],
        jobs=[GpuJob(3, "support-r16", "train", 60.0, 51.2)]),
    row(1, others_gib=38.1, busy=3, history=[None, 3], kept_for="support-dpo",
        others=[GpuProcess(48213, "python", "ana", 38.0), GpuProcess(7, "", "", None)]),
    row(2, fault="lost", trouble="GPU is lost", busy=None),
    row(3, fault="failing", trouble="its memory is worn out", jobs=[GpuJob(4, "old", "check", None, None)]),
    row(4, busy=None, celsius=None, left_out="left out by settings.yaml gpus.only"),
    on_cpu=[GpuJob(9, "far", "import", None, None)],
    waiting=[GpuWaiting("support-dpo", "wants 2 GPUs, 0 are free"), GpuWaiting("small", "waits for a free GPU")],
)  # fmt: skip
SHOWN = """\
GPU  name            GiB  ours  others  free  busy  °C  last 10 min
  0  H100 80GB HBM3   80  51.2     0.0  28.4  92 %  64  ▁▁▁▁▁▁▂▂▃▄▅▆▆▇█
     support-r16 (train) has 60 GiB, 51.2 used
  1  H100 80GB HBM3   80   0.0    38.1  41.5   3 %  33  ▁
     ana: python 48213, 38 GiB
     somebody: process 7
     reserved for support-dpo
  2  H100 80GB HBM3    -     -       -     -     -   -
     ✗ LOST: GPU is lost
  3  H100 80GB HBM3   80   0.0     0.0  79.6   0 %  33
     ✗ FAILS: its memory is worn out
     old (check) has all of it
  4  H100 80GB HBM3   80   0.0     0.0  79.6     -   -
     left out by settings.yaml gpus.only
far (import) is on the CPU
support-dpo waits: wants 2 GPUs, 0 are free
small waits for a free GPU
"""


def test_the_table_is_as_it_was_meant_and_fits_80_columns(capsys):
    gpus.print_answer(BUSY)
    assert capsys.readouterr().out == SHOWN
    assert max(len(line) for line in SHOWN.splitlines()) <= 80


def test_without_a_gpu_it_says_what_there_is(capsys):
    gpus.print_answer(answer(on_cpu=[GpuJob(1, "one", "train", None, None)]))
    gpus.print_answer(answer(cores=1, cpu_jobs=3))
    assert capsys.readouterr().out == (
        "No GPU here: 2 CPU cores, 1 job at a time (settings.yaml slots.cpu_jobs).\n"
        "one (train) runs\n"
        "No GPU here: 1 CPU core, 3 jobs at a time (settings.yaml slots.cpu_jobs).\n"
    )


def test_a_driver_that_fails_is_told_first(capsys):
    gpus.print_answer(answer(trouble="the GPU driver does not answer: Unknown Error"))
    assert capsys.readouterr().out == (
        "✗ the GPU driver does not answer: Unknown Error. See finetop doctor.\n"
    )


def test_history_is_averaged_two_numbers_a_cell():
    assert bars([], 15) == ""
    assert bars([100], 15) == "█"
    assert bars([0, 100, None, None, 50, None], 15) == "▅·▅"
    assert bars([100, *[0] * 30], 15) == "▁" * 15


def test_as_json_and_from_the_supervisor(cold_rig, tmp_path, capsys):
    cards = Cards(tmp_path / "nvml.json", 3)
    cards.change(1, parts=[{"uuid": "MIG-a", "name": "NVIDIA H100 MIG 3g.40gb", "total": 40}])
    cards.told["gpus"][2] |= {"error": "GPU_IS_LOST", "mute": True}
    cards.write()
    cold_rig.start(FINETOP_TEST_NVML=str(cards.file))
    cold_rig.wait_ready()
    assert main(["--home", str(cold_rig.home.root), "gpus", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert [(gpu["index"], gpu["uuid"], gpu["fault"]) for gpu in document["gpus"]] == [
        (0, UUIDS[0], ""),
        (1, "MIG-a", ""),
        (2, "", "lost"),
    ]
    assert cold_rig.ask(Hello()).device == "3 GPUs"


def test_two_machines_are_told_of_one_after_the_other(hosts, capfd):
    for host in ("ana@lab", "box"):
        hosts.host(host)
    assert main(["--on", "ana@lab", "--on", "box", "gpus"]) == 0
    out = capfd.readouterr().out.splitlines()
    assert [line for line in out if not line.startswith("No GPU here")] == ["lab", "", "box"]
    assert main(["--on", "ana@lab", "--on", "box", "gpus", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert (sorted(document["machines"]), document["missing"]) == (["box", "lab"], [])
