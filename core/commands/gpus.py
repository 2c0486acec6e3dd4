"""`finetop gpus`: the machine's GPUs, whose memory it is, what runs there and who waits for them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from finetop.core import protocol
from finetop.core.client import Client
from finetop.core.commands.output import plain, print_json, print_table, warn
from finetop.core.errors import NoSupervisor
from finetop.core.home import Home
from finetop.core.text import clean_line

ABOUT = "the machine's GPUs: memory, who uses it, which jobs are there or wait"
ANYWHERE = True

BLOCKS = "▁▂▃▄▅▆▇█"
CELLS = 15
HEAD = ("GPU", "name", "GiB", "ours", "others", "free", "busy", "°C")


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        found: protocol.GpusAnswer = client.ask(protocol.Gpus())
    if args.json:
        print_json({**plain(found)})
    else:
        tell(found)
    return 4 if found.trouble else 0


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    """Tell of several machines, one after another. Exit code 4 where one of them did not answer."""
    found: dict[str, protocol.GpusAnswer] = {}
    missing = []
    for home in homes:
        try:
            if home.link is not None and not home.link.is_up:
                raise NoSupervisor(f"{home.label} is out of reach.")
            with Client(home) as client:
                found[home.label] = client.ask(protocol.Gpus())
        except NoSupervisor as error:
            warn(str(error))
            missing.append(home.label)
    if args.json:
        print_json({"machines": plain(found), "missing": missing})
    else:
        for number, (label, answer) in enumerate(found.items()):
            print(f"{'' if number == 0 else chr(10)}{clean_line(label)}")
            tell(answer)
    return 4 if missing or any(answer.trouble for answer in found.values()) else 0


def tell(found: protocol.GpusAnswer) -> None:
    """Print what is there: a row for each GPU, below it what is on it, below all what waits."""
    if found.trouble:
        print(f"✗ {clean_line(found.trouble)}. See finetop doctor.")
    elif not found.gpus:
        cores = f"{found.cores} CPU core{'' if found.cores == 1 else 's'}"
        jobs = f"{found.cpu_jobs} job{'' if found.cpu_jobs == 1 else 's'} at a time"
        print(f"No GPU here: {cores}, {jobs} (settings.yaml slots.cpu_jobs).")
    if found.gpus:
        print_gpus(found)
    for job in found.on_cpu:
        print(f"{clean_line(job.run)} ({job.verb}) {'is on the CPU' if found.gpus else 'runs'}")
    for one in found.waiting:
        print(
            f"{clean_line(one.run)} {'' if one.because.startswith('wait') else 'waits: '}{clean_line(one.because)}"
        )


def print_gpus(found: protocol.GpusAnswer) -> None:
    """Print the table, each row followed by what is on that GPU."""
    minutes = CELLS * 2 * found.column_s / 60
    rows = [(*cells(gpu), bars(gpu.history)) for gpu in found.gpus]
    below = [[f"     {line}" for line in lines_of(gpu)] for gpu in found.gpus]
    print_table((*HEAD, f"last {minutes:.0f} min"), rows, right=(0, 2, 3, 4, 5, 6, 7), below=below)


def cells(gpu: protocol.GpuRow) -> tuple[str, ...]:
    name = gpu.name.removeprefix("NVIDIA ") or "?"
    if gpu.fault in ("lost", "unreadable"):
        return (str(gpu.index), name, *["-"] * 6)
    free = max(0.0, gpu.total_gib - gpu.ours_gib - gpu.others_gib)
    return (
        str(gpu.index),
        name,
        f"{gpu.total_gib:.0f}",
        f"{gpu.ours_gib:.1f}",
        f"{gpu.others_gib:.1f}",
        f"{free:.1f}",
        "-" if gpu.busy is None else f"{gpu.busy} %",
        "-" if gpu.celsius is None else str(gpu.celsius),
    )


def lines_of(gpu: protocol.GpuRow) -> Iterator[str]:
    """Say what is on a GPU, and what is the matter with it."""
    if gpu.fault:
        word = {"lost": "LOST", "failing": "FAILS"}.get(gpu.fault, "not used")
        yield f"✗ {word}: {clean_line(gpu.trouble)}"
    for job in gpu.jobs:
        size = "all of it" if job.gib is None else f"{job.gib:.1f} GiB"
        used = "" if job.used_gib is None else f", {job.used_gib:.1f} used"
        yield f"{clean_line(job.run)} ({job.verb}) has {size}{used}"
    for one in gpu.others:
        who = f"{clean_line(one.user)}: " if one.user else "somebody: "
        size = "" if one.gib is None else f", {one.gib:.1f} GiB"
        yield f"{who}{clean_line(one.name) or 'process'} {one.pid}{size}"
    if gpu.kept_for:
        yield f"kept for {clean_line(gpu.kept_for)}"
    if gpu.left_out:
        yield gpu.left_out


def bars(history: Sequence[int | None]) -> str:
    """Draw how busy a GPU was, the newest to the right, two numbers a cell."""
    pairs = [history[max(0, end - 2) : end] for end in range(len(history), 0, -2)][:CELLS]
    drawn = []
    for pair in reversed(pairs):
        known = [one for one in pair if one is not None]
        level = sum(known) / len(known) / 100 if known else None
        drawn.append("·" if level is None else BLOCKS[min(len(BLOCKS) - 1, int(level * len(BLOCKS)))])
    return "".join(drawn)
