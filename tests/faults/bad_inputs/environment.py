"""10 invalid values of the environment: the variables, the command, and the message."""

from __future__ import annotations

from bad_inputs.example import Bad

LONG = "h" * 300


def value(what: str, words: list[str], *says: str, **variables: str) -> Bad:
    return Bad(what, (variables, words), says, code=4)


EXAMPLES = [
    value("a home that is a file", ["ls"], "FOLDER/rows.jsonl", "Pick another", FINETOP_HOME="rows.jsonl"),
    value("a home of nobody", ["ls"], "FINETOP_HOME", "~nobody-here/x", "Pick another", FINETOP_HOME="~nobody-here/x"),
    value("a home where none can be", ["supervisor", "start"], "/proc/finetop", "Pick another",
          FINETOP_HOME="/proc/finetop"),
    value("a home whose name is too long", ["ls"], "hhh…", "too long", "Pick another", FINETOP_HOME=LONG),
    value("threads that are no number", ["ls"], "OMP_NUM_THREADS", "'many'", "4", OMP_NUM_THREADS="many"),
    value("no threads", ["ls"], "OMP_NUM_THREADS", "'0'", "4", OMP_NUM_THREADS="0"),
    value("a GPU that is none", ["ls"], "CUDA_VISIBLE_DEVICES", "'gpu0'", "0,1", CUDA_VISIBLE_DEVICES="gpu0"),
    value("a switch that is none", ["ls"], "FINETOP_SPARE", "'maybe'", "0 or 1", FINETOP_SPARE="maybe"),
    value("a theme that is none", [], "FINETOP_THEME", "'pink'", "dark", FINETOP_THEME="pink"),
    value("a terminal that can't", [], "TERM", "dumb", "finetop ls", TERM="dumb"),
]  # fmt: skip
