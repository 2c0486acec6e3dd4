"""`finetop gpus`: its output for GPUs of every kind, and for a machine without one."""

import json

from fake_nvml import UUIDS, Cards
from queue_fakes import make_gpu, make_gpus

from finetop.core.commands import gpus
from finetop.core.protocol.messages.machine import GpuJob, GpuProcess, GpuWaiting
from finetop.core.protocol.messages.session import Hello
from finetop.core.wording.gpus import bars


def answer(*rows, **more):
    return make_gpus(*rows, **{"cores": 2, **more})


def gpu(index, **more):
    return make_gpu(index, **{"history": [], **more})


BUSY = answer(
    gpu(0, ours_gib=51.2, busy=92, celsius=64, history=[*[0] * 10, *range(0, 100, 5)],
        jobs=[GpuJob(3, "support-r16", "train", 60.0, 51.2)]),
    gpu(1, others_gib=38.1, busy=3, history=[None, 3], kept_for="support-dpo",
        others=[GpuProcess(48213, "python", "ana", 38.0), GpuProcess(7, "", "", None)]),
    gpu(2, fault="lost", trouble="GPU is lost", busy=None),
    gpu(3, fault="failing", trouble="its memory is worn out", jobs=[GpuJob(4, "old", "check", None, None)]),
    gpu(4, busy=None, celsius=None, left_out="left out by settings.yaml gpus.only"),
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


def test_without_a_gpu_it_says_what_there_is_and_of_a_driver_that_fails_why(capsys):
    gpus.print_answer(answer(on_cpu=[GpuJob(1, "one", "train", None, None)]))
    gpus.print_answer(answer(cores=1, cpu_jobs=3))
    gpus.print_answer(answer(trouble="the GPU driver does not answer: Unknown Error"))
    assert capsys.readouterr().out == (
        "No GPU here: 2 CPU cores, 1 job at a time (settings.yaml slots.cpu_jobs).\n"
        "one (train) runs\n"
        "No GPU here: 1 CPU core, 3 jobs at a time (settings.yaml slots.cpu_jobs).\n"
        "✗ the GPU driver does not answer: Unknown Error. See finetop doctor.\n"
    )


def test_history_is_averaged_two_numbers_a_cell():
    assert bars([], 15) == ""
    assert bars([100], 15) == "█"
    assert bars([0, 100, None, None, 50, None], 15) == "▅·▅"
    assert bars([100, *[0] * 30], 15) == "▁" * 15


def test_as_json_and_from_the_supervisor(cold_rig, tmp_path, command):
    cards = Cards(tmp_path / "nvml.json", 3)
    cards.change(1, parts=[{"uuid": "MIG-a", "name": "NVIDIA H100 MIG 3g.40gb", "total": 40}])
    cards.told["gpus"][2] |= {"error": "GPU_IS_LOST", "mute": True}
    cards.write()
    cold_rig.up(FINETOP_TEST_NVML=str(cards.file))
    code, out, _ = command("--home", str(cold_rig.home.root), "gpus", "--json")
    document = json.loads(out)
    assert (code, document["schema"]) == (0, 1)
    rows = [(gpu["index"], gpu["uuid"], gpu["fault"]) for gpu in document["gpus"]]
    assert rows == [(0, UUIDS[0], ""), (1, "MIG-a", ""), (2, "", "lost")]
    assert cold_rig.ask(Hello()).device == "3 GPUs"
