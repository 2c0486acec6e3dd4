"""A command's launcher keeps to the GPUs that the command has."""

import pytest

from finetop.core.errors import BadInput
from finetop.core.recipe.launchers import require_own_gpus
from finetop.core.recipe.schema import Command


def command(line, **more):
    return Command(run=tuple(line.split()), workdir="/", **more)


@pytest.mark.parametrize(
    ("line", "gpus", "words"),
    [
        ("deepspeed --num_gpus 2 train.py", 2, "deepspeed with --num_gpus ignores CUDA_VISIBLE_DEVICES"),
        ("/opt/bin/deepspeed --include=localhost:1 train.py", 1, "deepspeed with --include ignores"),
        ("python -m deepspeed.launcher.runner -e localhost:0 train.py", 1, "deepspeed with -e ignores"),
        ("torchrun --nproc-per-node 4 train.py", 1, r"--nproc-per-node 4 .* budget.gpus \(1\)"),
        ("torchrun --nproc_per_node={n} train.py", 2, r"--nproc_per_node 8 .* budget.gpus \(2\)"),
        ("python -m torch.distributed.run --nproc_per_node 3 train.py", 2, "--nproc_per_node 3"),
        ("accelerate launch --num_processes 2 train.py", 1, "--num_processes 2"),
        ("uv run accelerate launch --gpu_ids 2,3 train.py", 2, "--gpu_ids 2,3 names GPUs"),
    ],
)
def test_a_launcher_that_would_take_other_gpus_is_refused(line, gpus, words):
    with pytest.raises(BadInput, match=words) as refused:
        require_own_gpus(command(line, values={"n": 8} if "{n}" in line else {}), gpus)
    assert "budget.gpus" in refused.value.hint


def test_so_it_is_in_a_line_of_a_shell_and_in_what_goes_on():
    with pytest.raises(BadInput, match="--num_gpus"):
        require_own_gpus(Command(shell="cd x && deepspeed --num_gpus 1 train.py", workdir="/"), 1)
    with pytest.raises(BadInput, match="--nproc-per-node 2"):
        again = ("torchrun", "--nproc-per-node", "2", "train.py")
        require_own_gpus(command("torchrun train.py", resume_command=again), 1)


@pytest.mark.parametrize(
    "line",
    [
        "deepspeed --master_port 29501 train.py --deepspeed ds.json --include x",
        "torchrun --nproc-per-node gpu train.py --nproc_per_node 9",
        "torchrun --nproc-per-node 2 --nnodes 1 train.py",
        "accelerate launch --gpu_ids all train.py",
        "python train.py --num_gpus 4",
    ],
)
def test_what_keeps_to_its_own_and_what_is_the_scripts_own_is_not(line):
    require_own_gpus(command(line), 2)
