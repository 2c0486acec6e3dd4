"""Stacks of real processes, as faulthandler writes them, in few words."""

import faulthandler
import threading

from finetop.core.runtime import stack_dumps

COLLECTIVE = """finetop: stacks of process 10, rank 0:
Thread 0x00007fb42c9806c0 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait

Current thread 0x00007fb42d60c340 (most recent call first):
  File "/venv/torch/distributed/distributed_c10d.py", line 4812 in barrier
  File "/venv/torch/distributed/c10d_logger.py", line 81 in wrapper
  File "/home/ana/train.py", line 30 in <module>

finetop: stacks of process 11, rank 1:
Current thread 0x00007fb42d60c340 (most recent call first):
  File "/home/ana/train.py", line 17 in load_rows
  File "/home/ana/train.py", line 29 in <module>

Thread 0x00007fb42c9806c0 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait
"""


def test_the_rank_that_the_others_wait_for_is_told_from_them():
    assert stack_dumps.describe(stack_dumps.read(COLLECTIVE)) == [
        "the others wait for rank 1",
        "rank 0: in barrier (distributed/distributed_c10d.py:4812), from wrapper (distributed/c10d_logger.py:81),"
        " from <module> (ana/train.py:30)",
        "rank 1: in load_rows (ana/train.py:17), from <module> (ana/train.py:29)",
    ]
    assert stack_dumps.describe(stack_dumps.read('File "x", line 3 in f\nloss 1.2')) == []


def test_a_rank_that_imports_what_meets_and_ranks_that_all_wait_are_shown_and_none_is_blamed():
    imports = '  File "<frozen importlib._bootstrap>", line 241 in _call_with_frames_removed\n'
    main = '  File "/home/ana/train.py", line 30'
    for text in (
        COLLECTIVE.replace(main, imports + main),
        COLLECTIVE.replace("/home/ana/train.py", "/venv/torch/distributed/x.py"),
    ):
        lines = stack_dumps.describe(stack_dumps.read(text))
        assert [line.partition(":")[0] for line in lines] == ["rank 0", "rank 1"]


def test_the_main_thread_of_a_real_dump_counts_and_what_was_printed_between_does_not(tmp_path):
    go = threading.Event()
    other = threading.Thread(target=go.wait)
    other.start()
    with (tmp_path / "log.txt").open("w+") as log:
        print("finetop: stacks of process 7:", file=log, flush=True)
        faulthandler.dump_traceback(log)
        go.set()
        other.join()
        print('step 3\n  File "a lie", line 3\n\x1b[2J', file=log, flush=True)
        log.seek(0)
        stacks = stack_dumps.read(log.read())
    assert [stack.pid for stack in stacks] == [7]
    assert stacks[0].frames[0].function.startswith("test_the_main_thread_of_a_real_dump")
