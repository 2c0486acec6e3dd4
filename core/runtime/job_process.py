"""What every job's process does around its work: environment, signals, events, the final event, the exit code.

Exit code 0: finished or stopped, whatever the verdict (that is data); 1 failed, 2 bad input, 4 the environment. It
appends events to events.jsonl and prints for people; the keeper puts both outputs in log.txt. Of several ranks only the
first does; the others leave their final events (ranks.py), and their errors in the log.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from finetop.core.errors import BadInput
from finetop.core.protocol.events import FORMAT, Ended, Started
from finetop.core.protocol.runs import JobSpec
from finetop.core.runtime import cgroups, compiler, failures, gpu_share, ranks, stop_signal
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.files import read_own, retry_file_work
from finetop.core.runtime.job_folder import read_spec
from finetop.core.runtime.stop_signal import Stop
from finetop.core.runtime.torch_fits import VISIBLE

Work = Callable[[JobSpec, Path, EventLog, Stop], Ended]

SETTINGS = {  # environment variables, set before torch is imported; the user's own stay
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_ETAG_TIMEOUT": "5",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "BITSANDBYTES_NOWELCOME": "1",
    # GPUs in NVML's order; memory segments that grow in place, as varying row lengths leave holes between fixed blocks
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    # Waiting threads spin briefly, then sleep: sleeping at once costs 1.8x when idle, never sleeping 3x when busy
    "GOMP_SPINCOUNT": "20000",
    # oneDNN keeps code and scratch memory, 0.5 MB and more, for each shape that a product on the CPU has met, 1,024 of
    # them: rows of varying length make 25 new ones a step. A step's own need fewer than these.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
}
_added: set[str] = set()  # of these, those that this process has set


def run(job_folder: Path, work: Work, what_to_lower: Callable[[Path], str]) -> int:
    """Do a job's work and return its exit code; `what_to_lower` returns the hint if memory runs out."""
    faulthandler.enable()  # Python stacks even if native code crashes
    faulthandler.register(signal.SIGUSR2)  # all stacks into the log, for a job that seems to hang
    set_environment()
    # on a CPU it warns about a missing faster kernel, and about casts in every matrix product
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    rank = ranks.own()
    ranks.begin(job_folder, rank)
    stop = stop_signal.listen(lambda: ranks.lost(job_folder, rank) is None, is_alone=rank.count == 1)
    signs = ranks.Signs(job_folder, rank)
    events = EventLog(job_folder / "events.jsonl" if rank.is_first else None, signs.note)
    if not rank.is_first:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def leave(last: Ended) -> None:
        events.write_at_last(last)
        ranks.end(job_folder, rank, last)
        os._exit(last.exit_code)

    watched = ranks.watch(signs, leave)
    try:
        spec = read_spec(job_folder)
        events.number_behind(spec.events_taken)
        budget = spec.recipe.get("budget") or {}
        if budget.get("gpus") == 0:
            os.environ[VISIBLE] = ""  # none was asked for, wherever it runs
        gpu_share.begin(job_folder, budget.get("memory_gib"))
        last = work(spec, job_folder, events, stop)
    except stop_signal.StopAsked:
        last = Ended("stopped", "asked to stop", kind="asked")
    except BaseException as error:
        if not isinstance(error, BadInput):  # its own words say where, what and how to fix it
            traceback.print_exc()
        last = failures.ended(error, what_to_lower(job_folder))
        if last.kind == "communication":
            other_end = ranks.lost(job_folder, rank)
            if stop.is_asked or (other_end is not None and other_end.status == "stopped"):  # it stopped first
                last = Ended("stopped", "asked to stop", kind="asked")
    watched.set()
    status = f"{last.status}:" if last.cause else last.status
    print(" ".join(filter(None, (status, last.cause, last.hint))), flush=True)
    events.write_at_last(last)
    events.sync()
    ranks.end(job_folder, rank, last)
    return last.exit_code


def set_environment() -> None:
    """Set the environment for training before torch is imported. Existing variables stay."""
    wanted = dict(SETTINGS)
    if (cores := cgroups.cores()) < cgroups.affinity():
        wanted["OMP_NUM_THREADS"] = str(
            cores
        )  # libraries know the affinity, and not the quota of a container
    # without what Triton needs, torch 2.13 must not use it for some products
    if find_spec("triton") is not None and compiler.missing():
        wanted["TORCH_DISABLE_NATIVE_JIT"] = "1"
    for key in wanted.keys() - os.environ.keys():
        os.environ[key] = wanted[key]
        _added.add(key)


def users_environment() -> dict[str, str]:
    """Return the environment as it was, for a program that is not ours; GPUs stay numbered as finetop numbers them."""
    return {key: value for key, value in os.environ.items() if key not in _added - {"CUDA_DEVICE_ORDER"}}


def write_started(
    events: EventLog, job_folder: Path, *, device: str, dtype: str, packages: Sequence[str]
) -> None:
    """Write the started event, with the versions of the packages that results depend on."""
    attempt, found = attempt_of(job_folder), versions(packages)
    events.write(Started(FORMAT, attempt, os.getpid(), device=device, dtype=dtype, versions=found))


def attempt_of(job_folder: Path) -> int:
    """Return the number of this attempt; 1 if no supervisor wrote it."""
    try:
        return int(retry_file_work(lambda: read_own(job_folder / "attempt")))
    except (OSError, ValueError):
        return 1


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    by_name = {"python": sys.version.split()[0]}
    for name in packages:
        try:
            by_name[name] = version(name)
        except PackageNotFoundError:
            continue
    return by_name


def silence_libraries() -> None:
    """Keep library chatter out of the job's log; errors still appear."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in ("bitsandbytes", "trl", "peft", "datasets", "accelerate", "torch.distributed", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    ours = r"torch|transformers|trl|peft|bitsandbytes|accelerate"
    warnings.filterwarnings("ignore", category=UserWarning, module=ours)
