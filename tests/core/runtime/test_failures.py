"""A failed job says in words what happened and what to do."""

from __future__ import annotations

import errno

import pytest

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.recipe.job import settings_to_lower
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import failures

LOWER = settings_to_lower(
    resolve_text("recipe: 1\nname: a\nmethod: {name: lora}\nobjective: {name: sft}\n").recipe
)
CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 GiB of which 310.19 MiB "
    "is free. Including non-PyTorch memory, this process has 78.80 GiB memory in use."
)


def test_full_tuning_in_float16_is_not_told_to_round_by_chance():
    full = resolve_text("recipe: 1\nname: a\nmethod: {name: full}\nobjective: {name: sft}\n").recipe
    assert "set train.master to stochastic" in settings_to_lower(full)
    told = settings_to_lower(full, in_float16=True)
    assert "stochastic" not in told and "set method.name to lora" in told


def test_gpu_out_of_memory_has_numbers_and_what_to_lower():
    torch = pytest.importorskip("torch")
    ended = failures.ended(torch.OutOfMemoryError(CUDA), LOWER)
    assert ended.cause == "out of memory on the GPU: 2.50 GiB more wanted, 310.19 MiB of 79.11 GiB free"
    assert ended.hint.startswith("Lower train.batch_size (now 4) and raise train.grad_accumulation (now 4)")
    assert "data.max_tokens (now 1024)" in ended.hint
    assert (ended.status, ended.exit_code) == ("failed", 1)


def test_memory_that_others_use_is_waited_for():
    torch = pytest.importorskip("torch")
    others = "Process 812 has 60.00 GiB memory in use. Process 9 has 512.00 MiB memory in use. "
    text = CUDA.replace("Including", others + "Including")
    ended = failures.ended(torch.OutOfMemoryError(text), LOWER)
    assert (ended.kind, ended.cause.rpartition(", ")[2]) == ("gpu_taken", "60.5 GiB used by others")
    assert ended.hint.startswith("Wait for them, or: Lower train.batch_size")
    little = failures.ended(torch.OutOfMemoryError(text.replace("60.00 GiB", "1.00 GiB")), LOWER)
    assert little.kind == "gpu_out_of_memory", "it would not have fitted without them either"


def test_memory_that_a_budget_forbids_is_not_told_as_free():
    torch = pytest.importorskip("torch")
    text = CUDA.replace("310.19 MiB is free", "60.00 GiB is free") + (
        " 20.00 GiB allowed; Of the allocated memory 18.93 GiB is allocated by PyTorch, and 80.19 MiB is "
        "reserved by PyTorch but unallocated."
    )
    ended = failures.ended(torch.OutOfMemoryError(text), LOWER)
    assert ended.cause == (
        "out of memory on the GPU: 2.50 GiB more wanted, 18.93 GiB of the 20.00 GiB that budget.memory_gib "
        "allows are held"
    )


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8589934592 bytes."),
    ],
)
def test_host_out_of_memory(error):
    ended = failures.ended(error)
    assert ended.cause.startswith("out of memory on this machine: ")
    assert "GiB available" in ended.cause


def wrapped(cause):
    try:
        raise RuntimeError("could not save") from cause
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        wrapped(OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_a_full_disk_is_told_in_two_words(error):
    ended = failures.ended(error, LOWER)
    assert (ended.cause, ended.exit_code) == ("disk full", 4)


def test_our_own_errors_keep_message_hint_and_code():
    ended = failures.ended(BadInput("faq.jsonl:17: answer is missing.", hint="Give it a text."), LOWER)
    assert (ended.cause, ended.hint, ended.exit_code) == (
        "faq.jsonl:17: answer is missing.",
        "Give it a text.",
        2,
    )
    assert failures.ended(EnvironmentTrouble("no hub."), LOWER).exit_code == 4


def test_anything_else_gives_its_last_line_cut():
    ended = failures.ended(ValueError("long\nstory\n" + "x" * 9000), LOWER)
    assert ended.cause.startswith("ValueError: xxx")
    assert len(ended.cause) == failures.LONGEST
    assert failures.ended(KeyError(), LOWER).cause == "KeyError"
