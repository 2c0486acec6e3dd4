"""Numbers in what a program prints: real lines of trainers, and lines that only look like them."""

import itertools
import math
import os
from pathlib import Path

import pytest
from metric_files import found, opened, put, read, steps

from finetop.core.external.sources import _tail, stdout
from finetop.core.external.sources.stdout import Printed
from finetop.core.runtime import log_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def bar(step: int, total: int = 20) -> str:
    return f"\r {100 * step // total}%|██        | {step}/{total} [00:01<00:09,  2.00it/s]"


def printed(path: Path, text: str) -> tuple[Printed, list[tuple[int, dict[str, float]]]]:
    reader = Printed(put(path, text), 0)
    return reader, read(reader)


def test_the_trainers_dicts_are_of_the_step_of_the_bar_that_follows(path):
    """As transformers 5.24 prints them: numbers in quotes, the bar behind by a step, evaluations with a bar."""
    text = "".join(
        (
            "Map: 100%|███████| 40/40 [00:00<00:00, 397.60 examples/s]\n",
            bar(0),
            bar(1),
            "\r            \r{'loss': '5.821', 'grad_norm': '0.5855', 'learning_rate': '0.0095', 'epoch': '0.4'}\n",
            bar(2),
            bar(3),
            "\r                    \r{'loss': 'nan', 'grad_norm': 'inf', 'learning_rate': '0.0085', 'epoch': '0.8'}\n",
            bar(4),
            "\n",
            bar(1, 13),
            bar(13, 13),
            "\r          \r{'eval_loss': '5.5', 'eval_runtime': '1.2', 'epoch': '0.8'}\n",
            bar(4),
            "{'train_runtime': '35.38', 'train_steps_per_second': '0.565', 'train_loss': '5.428', 'epoch': '4'}\n",
            "***** train metrics *****\n  epoch      =    4.0\n  train_loss =  5.428\n",  # its log_metrics
        )
    )
    reader, points = printed(path, text)
    assert [step for step, _ in points] == [2, 4, 4]
    assert points[0][1] == {"loss": 5.821, "grad_norm": 0.5855, "learning_rate": 0.0095, "epoch": 0.4}
    assert math.isnan(points[1][1]["loss"])
    assert points[1][1]["grad_norm"] == math.inf
    assert points[2][1]["eval_loss"] == 5.5
    assert (reader.total, reader.guesses) == (20, False)
    # a bar is read before it is redrawn
    reader, points = printed(path, f"{bar(2)}\r        \r{{'loss': '5.8', 'epoch': '0.4'}}\n{bar(2)}")
    assert points == [(2, {"loss": 5.8, "epoch": 0.4})]
    assert (reader.total, reader.guesses) == (20, False)


@pytest.mark.parametrize("loss", ["nan", "-inf", "np.float64(0.5)", "tensor(0.5, device='cuda:0')", "'0.5'"])
def test_a_dict_of_older_trainers(path, loss):
    _, points = printed(path, f"{{'loss': {loss}, 'learning_rate': 5e-05, 'epoch': 0.1}}\n{bar(7)}\n")
    ((step, values),) = points
    assert step == 7
    assert str(values["loss"]) == (loss if loss in ("nan", "-inf") else "0.5")


def test_llama_factory_logs_what_the_trainer_prints_once_more(path):
    text = "".join(
        "\x1b[32m[INFO|2025-01-01 10:00:00] llamafactory.train.callbacks:143 >> "
        f"{{'loss': {loss}12, 'learning_rate': 5.0000e-05, 'epoch': {epoch}, 'throughput': 99.5}}\x1b[0m\n"
        f"{{'loss': '{loss}', 'grad_norm': '0.5', 'epoch': '{epoch}'}}\n{bar(step)}"
        for step, loss, epoch in ((5, "1.234", "0.1"), (10, "1.123", "0.2"))
    )
    points = [(step, values["loss"], values["throughput"]) for step, values in printed(path, text + "\n")[1]]
    assert points == [(5, 1.23412, 99.5), (10, 1.12312, 99.5)]


LINES = [
    ("step 5/100 | loss 1.2", 5, {"loss": 1.2}),
    ("Step 5 | loss:1.82 lr:2e-5 tok:12.5 ", 5, {"loss": 1.82, "lr": 2e-5, "tok": 12.5}),
    ("iter 100: loss 2.4, time 23.40ms, mfu 12.00%", 100, {"loss": 2.4}),
    ("step 250: train loss 2.1, val loss 2.3", 250, {"loss": 2.1, "eval_loss": 2.3}),
    ("global_step=7 loss=1e-3 grad_norm=nan", 7, {"loss": 1e-3, "grad_norm": math.nan}),
    ("Epoch 3/10 - loss: 1.2 - val_loss: 1.4", 3, {"loss": 1.2, "val_loss": 1.4}),
    ("Epoch 3: Train Loss: 1.2, Val Loss: 1.4", 3, {"loss": 1.2, "eval_loss": 1.4}),
    ("step:1 - actor/pg_loss:0.01 - critic/mean:0.5", 1, {"actor/pg_loss": 0.01, "critic/mean": 0.5}),
    ("2025-01-01 10:00:00,123 - INFO - step: 9, loss: tensor(1.25, device='cuda:0')", 9, {"loss": 1.25}),
    ('{"step": 4, "loss": {"dpo": 1.5}, "train_loss": 0.5}', 4, {"loss/dpo": 1.5, "train_loss": 0.5}),
    ("2025-01-01 INFO {'step': 4, 'loss': 0.5}", 4, {"loss": 0.5}),
    ("1|5|Loss: 1.8234:   1%|▏    | 5/400 [00:12<15:58,  2.43s/it]", 5, {"loss": 1.8234}),
    ("  5%|▌    | 5/100 [00:01<00:19, 4.90it/s, loss=1.23, lr=0.1]", 5, {"loss": 1.23, "lr": 0.1}),
    ("Epoch 0:  50%|██ | 5/10 [00:01<00:01, 3.5it/s, v_num=0, train_loss=0.5]", 5, {"train_loss": 0.5}),
    ("Step [100/600], Loss: .5", 100, {"loss": 0.5}),
]


@pytest.mark.parametrize(("line", "step", "values"), LINES)
def test_lines_of_other_trainers(path, line, step, values):
    _, points = printed(path, f"{line}\n")
    ((at, all_values),) = points
    read_values = {key: value for key, value in all_values.items() if key != "epoch"}
    assert (at, repr(read_values)) == (step, repr(values))


@pytest.mark.parametrize(
    "line",
    [
        "loss: 3 parameters were dropped",
        "best loss: 0.123 at epoch 3",
        "Best loss=0.5",
        "WARNING: loss 5 is too high",
        "Namespace(lr=0.1, loss='mse', epochs=3)",
        "config: {'loss': 1.0, 'lr': 0.1}",
        "Best metrics: {'loss': 0.5, 'epoch': 3}",
        "{'loss': 'mse', 'epoch': 3}",
        "loss=1.2.3",
        "step 5 loss: 10:35:22",
        "step 5 loss: 1,234",
        "Restored step 100 with loss=0.5",
        "lossless=1 step=3",
        "step 5 of 10",
        "accuracy: 0.5",
        "Loading weights: 100%|████| 40/40 [00:00<00:00, 12it/s]",
        "Validation:  50%|████ | 5/10 [00:01<00:01, loss=9.0]",
        "http://example.com/?loss=1&step=2",
        "def loss(step=1): return 2",
        "step: nan, loss_fn: cross",
        "{" * 5000 + "loss",
        "{'loss': " + "(" * 5000 + ", 'epoch': 1}",
        "loss " * 3000,
    ],
)
def test_lines_that_log_nothing(path, line):
    assert printed(path, f"{line}\n")[1] == []


def test_without_a_step_or_a_bar_each_dict_and_each_line_of_nothing_but_values_counts(path):
    reader, points = printed(path, "{'loss': 3.0, 'epoch': 0.1}\n{'loss': 2.0, 'epoch': 0.2}\n")
    assert points == [(1, {"loss": 3.0, "epoch": 0.1}), (2, {"loss": 2.0, "epoch": 0.2})]
    assert reader.guesses
    text = "loss 0.5\nloss=0.4 lr=1e-3\n2024-01-01 10:00:00,123 - INFO - loss: 0.3\n{'loss': 0.2}\n"
    reader, points = printed(path, text)
    assert [(step, values["loss"]) for step, values in points] == [(1, 0.5), (2, 0.4), (3, 0.3), (4, 0.2)]
    assert reader.guesses


def test_steps_that_begin_anew_with_each_epoch_in_lines_and_in_bars(path):
    line = "Epoch [{}/3], Step [{}/600], Loss: 1.0\n"
    text = "".join(line.format(epoch, step) for epoch in (1, 2, 3) for step in (200, 400, 600))
    reader, points = printed(path, text)
    assert [step for step, _ in points] == [200 * n for n in range(1, 10)]
    assert reader.total == 1800
    line = "\rEpoch {}:  5%|▌ | {}/10 [00:01<00:19, loss=1.5]"
    text = "".join(line.format(epoch, step) for epoch in (0, 1) for step in (3, 6, 9))
    assert [step for step, _ in printed(path, text + "\n")[1]] == [3, 6, 9, 13, 16, 19]


def test_a_run_that_begins_anew_in_the_same_log_and_processes_that_print_the_same_steps(path):
    text = "".join(f"step {step} loss 1.0\n" for step in (*range(0, 500, 10), 300, 310))
    assert [step for step, _ in printed(path, text)[1]][-3:] == [490, 300, 310]
    text = "".join(f"[rank{step % 2}] step {step} loss 1.0\n" for step in (1, 2, 1, 3, 2, 3, 4, 4))
    _, points = printed(path, text)
    assert sorted({step for step, _ in points}) == [1, 2, 3, 4]
    assert all(first[0] <= second[0] for first, second in itertools.pairwise(points))


def test_half_a_line_waits_for_its_rest_and_an_earlier_attempts_are_not_read(path):
    reader, points = printed(path, "step 1 loss 1")
    assert points == []
    put(path, "2.5\nstep 2 lo", adds=True)
    assert read(reader) == [(1, {"loss": 12.5})]
    later = opened("stdout", path, log=path, log_begins=path.stat().st_size)
    put(path, "\nstep 3 loss 2\n", adds=True)
    assert read(later) == [(3, {"loss": 2.0})]


def test_a_flood_is_read_in_bounded_parts(path, monkeypatch):
    monkeypatch.setattr(_tail, "MOST_BYTES", 1 << 16)
    monkeypatch.setattr(stdout, "MOST_BEHIND", 1 << 20)
    reader, points = printed(path, "step 1 loss 1\n")
    assert points == [(1, {"loss": 1.0})]
    os.truncate(path, 1 << 30)  # zeros, which take no room on the disk
    put(path, b"\nstep 2 loss 2\n", adds=True)
    points, reads = [*reader.read()], 1
    while reader.behind:
        points += reader.read()
        reads += 1
    assert reads <= 3
    assert [point.step for point in points] == [2]
    assert reader.passed_over > 1 << 29


def test_what_is_dropped_of_a_log_that_grew_too_long_is_counted_and_nothing_is_read_twice(path):
    """Where the reader is: in the hole, right behind it, and long past it."""
    line = f"step {{}} loss 1.0 {'token ' * 20}\n"
    reader, last = printed(path, "".join(line.format(step) for step in range(1, 11)))[0], 10
    with path.open("r+b") as log:
        for upto in (20_000, 40_000):
            put(path, "".join(line.format(step) for step in range(last + 1, upto + 1)), adds=True)
            if not log_file.bound(log.fileno(), 400_000):
                pytest.skip("this file system makes no holes")
            before, seen = reader.passed_over, steps(reader)
            missing = sorted({*range(last + 1, upto + 1)} - {*seen})
            assert seen == sorted({*seen}) and missing == [*range(missing[0], missing[-1] + 1)]
            lost = sum(len(line.format(step)) for step in missing)
            assert abs(lost - (reader.passed_over - before)) < 2 * len(line)
            last = upto
        assert log_file.bound(log.fileno(), 40_000)  # where the reader has been
        put(path, line.format(last + 1), adds=True)
        assert steps(reader) == [last + 1]


def test_a_burst_of_plain_text_skips_no_step(path):
    """A program that prints its tokens between two steps."""
    text = "".join(f"step {step} loss 1.0\n" + f"{'token ' * 20}\n" * 4000 for step in range(1, 101))
    reader = Printed(put(path, text), 0)
    assert [step for step, _ in read(reader)] == [*range(1, 101)]
    assert reader.passed_over == 0


def test_a_read_of_many_values_takes_little_time(path, monkeypatch):
    reader = Printed(put(path, "".join(f"step {step} loss 1.0\n" for step in range(20_000))), 0)
    monkeypatch.setattr(stdout, "MOST_CPU_S", 0.0)
    first = reader.read()
    assert 0 < len(first) * 20 < 2 * stdout.PART_BYTES
    assert len(first) + len(steps(reader)) == 20_000


def test_torchtunes_log_is_found(path, tmp_path):
    torchtunes = put(tmp_path / "logs" / "log_1.txt", "Step 1 | loss:1.0 \n")
    assert found("stdout", tmp_path, log=path) == [torchtunes]


PATTERN = r"^it (?P<step>\d+)\b.* L=(?P<loss>\S+)(?: of (?P<total>\d+))?"


def test_a_pattern_of_ones_own_reads_its_lines_and_no_others(path):
    text = "it 1 (x) L=2.5 of 90\nstep 7 loss 9.0\nit 2 (x) L=nope\nit 3 (x) L=1e-3\n"
    reader = Printed(put(path, text), 0, PATTERN)
    assert read(reader) == [(1, {"loss": 2.5}), (3, {"loss": 1e-3})]
    assert reader.total == 90
    assert read(Printed(put(path, "L=2.0\nL=1.0\n"), 0, "L=(?P<loss>.*)")) == [
        (1, {"loss": 2.0}),
        (2, {"loss": 1.0}),
    ]


def test_a_pattern_that_takes_too_long_is_given_up_and_the_known_formats_are_read(path, capsys, monkeypatch):
    monkeypatch.setattr(stdout, "MATCH_S", 0.2)
    slow = "x*" * 10 + "(?P<loss>y)"
    reader = Printed(put(path, "x" * 1900 + "\n"), 0, slow)
    assert read(reader) == []
    put(path, "step 2 loss 2.0\n", adds=True)
    assert read(reader) == [(2, {"loss": 2.0})]
    assert "no longer used" in capsys.readouterr().out
