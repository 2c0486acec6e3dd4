"""`finetop gpus`: this machine's GPUs, who uses their memory, and the running and waiting jobs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import remote
from finetop.core.commands.shared.output import plain, print_columns, print_json, print_table
from finetop.core.protocol.messages.machine import Gpus, GpusAnswer, NodeRow
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line
from finetop.core.wording.gpus import lines_of, machine_words, node_words, table

ABOUT = "show this machine's GPUs: memory, users, running and waiting jobs"


def run(args: argparse.Namespace, home: Home) -> int:
    answer = ask_once(home, Gpus())
    if args.json:
        print_json(plain(answer))
    else:
        print_answer(answer)
    return 4 if answer.trouble else 0


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    """Print the GPUs of several machines, one after another. Exit code 4 if one of them did not answer."""
    answers, missing = remote.ask_all(homes, Gpus())
    if args.json:
        print_json({"machines": plain(answers), "missing": missing})
    else:
        for number, (label, answer) in enumerate(answers.items()):
            print(f"{'' if number == 0 else chr(10)}{clean_line(label)}")
            print_answer(answer)
    return 4 if missing or any(answer.trouble for answer in answers.values()) else 0


def print_answer(answer: GpusAnswer) -> None:
    """Print a row for each GPU with its jobs below it, then the jobs that wait."""
    if answer.trouble:
        print(f"✗ {clean_line(answer.trouble)}. See finetop doctor.")
    elif not answer.gpus and not answer.nodes:
        print(f"No GPU here: {machine_words(answer)} (settings.yaml slots.cpu_jobs).")
    if answer.gpus:
        print_gpus(answer)
    if answer.nodes:
        print_nodes(answer.nodes)
    for job in answer.on_cpu:
        print(f"{clean_line(job.run)} ({job.verb}) {'is on the CPU' if answer.gpus else 'runs'}")
    for waiting in answer.waiting:
        waits = "" if waiting.because.startswith("wait") else "waits: "
        print(f"{clean_line(waiting.run)} {waits}{clean_line(waiting.because)}")


def print_gpus(answer: GpusAnswer) -> None:
    """Print the table, each row followed by the jobs on that GPU."""
    below = [[f"     {line}" for line in lines_of(gpu)] for gpu in answer.gpus]
    print_columns(table(answer), answer.gpus, below=below)


def print_nodes(nodes: Sequence[NodeRow]) -> None:
    """Print the cluster's nodes, each with its GPUs and this home's runs on it."""
    rows = [(node.name, node.partitions, node_words(node), ", ".join(node.jobs)) for node in nodes]
    print_table(("node", "partition", "state", "runs here"), rows, prose=(1, 2))


PLUGIN = Command(ABOUT, "organise", run, run_several=run_several)
