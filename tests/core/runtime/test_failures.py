"""A failed job reports what happened and how to fix it."""

import errno

import pytest

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.recipe.job import settings_to_lower
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import failures, gpu_share

LOWER = settings_to_lower(
    resolve_text("recipe: 1\nname: a\nmethod: {name: lora}\nobjective: {name: sft}\n").recipe
)
CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 GiB of which 310.19 MiB "
    "is free. Including non-PyTorch memory, this process has 78.80 GiB memory in use."
)


def out_of_memory(text):
    """Return how a job ends in which torch says so."""
    torch = pytest.importorskip("torch")
    return failures.ended(torch.OutOfMemoryError(text), LOWER)


def test_full_tuning_in_float16_is_not_told_to_round_by_chance():
    full = resolve_text("recipe: 1\nname: a\nmethod: {name: full}\nobjective: {name: sft}\n").recipe
    assert "set train.master to stochastic" in settings_to_lower(full)
    told = settings_to_lower(full, in_float16=True)
    assert "stochastic" not in told and "set method.name to lora" in told


def test_gpu_out_of_memory_has_numbers_and_what_to_lower():
    ended = out_of_memory(CUDA)
    assert ended.cause == "out of memory on the GPU: 2.50 GiB more needed, 310.19 MiB of 79.11 GiB free"
    assert ended.hint.startswith("Lower train.batch_size (now 4) and raise train.grad_accumulation (now 4)")
    assert "data.max_tokens (now 1024)" in ended.hint
    assert (ended.status, ended.exit_code) == ("failed", 1)


def test_memory_that_others_use_is_waited_for():
    others = "Process 812 has 60.00 GiB memory in use. Process 9 has 512.00 MiB memory in use. "
    text = CUDA.replace("Including", others + "Including")
    ended = out_of_memory(text)
    assert (ended.kind, ended.cause.rpartition(", ")[2]) == ("gpu_taken", "60.5 GiB used by others")
    assert ended.hint.startswith("Wait for them, or: Lower train.batch_size")
    little = out_of_memory(text.replace("60.00 GiB", "1.00 GiB"))
    assert little.kind == "gpu_out_of_memory", "it would not have fitted without them either"


def limited(wanted, allowed, held):
    """The message of torch 2.13 if the process is limited to less than the card has."""
    return CUDA.replace("2.50 GiB", wanted) + (
        f" {allowed} allowed; Of the allocated memory {held} is allocated by PyTorch, and 80.19 MiB is reserved by "
        "PyTorch but unallocated."
    )


def test_memory_that_a_budget_forbids_is_not_told_as_free():
    text = limited("2.50 GiB", "20.00 GiB", "18.93 GiB").replace("310.19 MiB is free", "60.00 GiB is free")
    assert out_of_memory(text).cause == (
        "out of memory on the GPU: 2.50 GiB more needed, 18.93 GiB of the 20.00 GiB that budget.memory_gib "
        "allows are used"
    )


def test_what_neighbours_leave_is_told_as_theirs_and_a_card_that_is_full_before_it_as_full(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(gpu_share, "_own", gpu_share._Own())
    gpu_share.write_share(tmp_path, gpu_share.GpuShare(20.0, ("first", "second"), (3,)))
    gpu_share.begin(tmp_path, None)
    left = "18.93 GiB of the 20.00 GiB that are left beside runs first, second are used"
    free = "2.50 GiB more needed, 310.19 MiB of 79.11 GiB free"
    taken = limited("2.50 GiB", "20.00 GiB", "12.00 GiB").replace(
        "Including", "Process 8 has 65.00 GiB memory in use. Including"
    )
    wait = "Try again once runs first, second have ended"

    def require(text, cause, kind, hint):
        ended = out_of_memory(text)
        assert (ended.cause, ended.kind, ended.hint) == (f"out of memory on the GPU: {cause}", kind, hint)

    fits, too_large = (limited(wanted, "20.00 GiB", "18.93 GiB") for wanted in ("2.50 GiB", "62.00 GiB"))
    require(fits, f"2.50 GiB more needed, {left}", "gpu_taken", f"{wait}, or: {LOWER}")
    require(
        too_large, f"62.00 GiB more needed, {left}", "gpu_out_of_memory", LOWER
    )  # alone it would not fit either
    # a neighbour took more than it was promised, so the rest is smaller
    require(taken, f"{free}, 65 GiB used by others", "gpu_taken", f"Wait for them, or: {LOWER}")
    # a limit that was lifted is none
    gpu_share.write_share(tmp_path, gpu_share.GpuShare(None, (), (1,)))
    assert gpu_share.refresh()
    require(limited("2.50 GiB", "79.11 GiB", "78.50 GiB"), free, "gpu_out_of_memory", LOWER)


def test_host_out_of_memory():
    torch_says = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8589934592 bytes."
    for error in (MemoryError(), RuntimeError(torch_says)):
        ended = failures.ended(error)
        assert ended.cause.startswith("out of memory on this machine: ")
        assert "GiB available" in ended.cause


def wrapped(cause):
    try:
        raise RuntimeError("could not save") from cause
    except RuntimeError as error:
        return error


def test_a_full_disk_is_told_in_two_words():
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        wrapped(OSError(errno.ENOSPC, "No space left on device")),
    ):
        ended = failures.ended(error, LOWER)
        assert (ended.cause, ended.exit_code) == ("disk full", 4)


def test_our_own_errors_keep_message_hint_and_code():
    message, hint = "faq.jsonl:17: answer is missing.", "Give it a text."
    ended = failures.ended(BadInput(message, hint=hint), LOWER)
    assert (ended.cause, ended.hint, ended.exit_code) == (message, hint, 2)
    assert failures.ended(EnvironmentTrouble("no hub."), LOWER).exit_code == 4


def test_anything_else_gives_its_last_line_cut():
    ended = failures.ended(ValueError("long\nstory\n" + "x" * 9000), LOWER)
    assert ended.cause.startswith("ValueError: xxx")
    assert len(ended.cause) == failures.LONGEST
    assert failures.ended(KeyError(), LOWER).cause == "KeyError"


def test_kernels_that_can_not_be_built_are_a_fault_of_the_machine():
    for text in (
        "Failed to find C compiler. Please specify via CC environment variable or set triton.knobs.build.impl.",
        "/tmp/tmp1/cuda_utils.c:9:10: fatal error: Python.h: No such file or directory",
    ):
        ended = failures.ended(RuntimeError(text), LOWER)
        assert (ended.kind, ended.hint) == ("installation", "See finetop doctor.")
        assert ended.cause.startswith("Triton could not build its kernels")
