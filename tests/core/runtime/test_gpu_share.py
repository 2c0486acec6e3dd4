"""What a job's process learns of its neighbours, and which limit it applies."""

import re

import pytest

from finetop.core.runtime import gpu_share
from finetop.core.runtime.gpu_share import GpuShare, Limit


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(gpu_share, "_own", gpu_share._Own())


def test_the_lower_limit_counts_and_is_told_by_whose_word():
    for share, budget, limit in (
        (GpuShare(), None, Limit()),
        (GpuShare(), 24.0, Limit(24.0)),
        (GpuShare(50.0, ("a",), (2,)), None, Limit(50.0, ("a",))),
        (GpuShare(50.0, ("a",), (2,)), 24.0, Limit(24.0)),
        (GpuShare(20.0, ("a",), (2,)), 24.0, Limit(20.0, ("a",))),
        (GpuShare(24.0, ("a",), (2,)), 24.0, Limit(24.0)),
    ):
        assert gpu_share.limit_of(share, budget) == limit, (share, budget)


def test_a_job_has_the_limits_of_its_budget_and_of_what_its_supervisor_says(tmp_path):
    gpu_share.begin(tmp_path, None)
    assert (gpu_share.limit(), gpu_share.jobs_on(0), gpu_share.is_shared()) == (Limit(), 1, False)
    gpu_share.begin(tmp_path, 12.0)
    assert gpu_share.limit() == Limit(12.0)
    assert not gpu_share.refresh()
    # news are read while the job runs; what is broken changes nothing
    gpu_share.write_share(tmp_path, GpuShare(None, (), (1, 1)))
    gpu_share.begin(tmp_path, None)
    assert gpu_share.limit() == Limit()
    gpu_share.write_share(tmp_path, GpuShare(30.0, ("b",), (1, 2)))
    assert gpu_share.refresh() and not gpu_share.refresh()
    assert (gpu_share.limit(), gpu_share.jobs_on(0), gpu_share.jobs_on(1)) == (Limit(30.0, ("b",)), 1, 2)
    assert gpu_share.is_shared()
    (tmp_path / gpu_share.FILE).write_text("{")
    assert not gpu_share.refresh()
    (tmp_path / gpu_share.FILE).unlink()
    assert not gpu_share.refresh()
    assert gpu_share.limit() == Limit(30.0, ("b",))
    gpu_share.write_share(tmp_path, GpuShare(None, (), (1, 1)))
    assert gpu_share.refresh() and gpu_share.limit() == Limit()


@pytest.mark.gpu(needs="memory")
def test_a_limit_that_moves_is_kept_by_the_allocator_and_named(tmp_path):
    torch = pytest.importorskip("torch")
    from finetop.core.models import devices
    from finetop.core.runtime import failures

    device, gib = devices.open_device(None), 2**30
    held = torch.zeros(gib, dtype=torch.uint8, device=device)
    gpu_share.write_share(tmp_path, GpuShare(2.0, ("first",), (2,)))
    gpu_share.begin(tmp_path, None)
    try:
        devices.keep_to(gpu_share.limit().gib, device)
        with pytest.raises(torch.OutOfMemoryError) as caught:
            torch.zeros(2 * gib, dtype=torch.uint8, device=device)
        ended = failures.ended(caught.value)
        assert re.search(r"of the 2\.00 GiB that are left beside run first are used", ended.cause)
        devices.keep_to(None, device)
        assert torch.zeros(2 * gib, dtype=torch.uint8, device=device).numel() == 2 * gib
    finally:
        devices.keep_to(None, device)
        del held
        devices.free_memory(device)
