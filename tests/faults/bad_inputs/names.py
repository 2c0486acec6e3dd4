"""25 names that lead elsewhere, or nowhere: the command's arguments, and the message."""

from __future__ import annotations

from bad_inputs.example import Bad


def run(what: str, name: str, *says: str) -> Bad:
    """Queue a run under this name."""
    return Bad(what, ["run", "good.yaml", f"--name={name}"], ("--name", "cannot be a name", *says))


# More names that the supervisor refuses, whatever sends them.
REFUSED = [
    "..", "a\\b", "--home", " ", "x\n", "x\r", "\x1b[2J", "x" * 81, "é", "名", "nul.txt", "com1", "123", "~root",
    "$HOME", "`id`", "a;b", "*", "?", "a:b", "../x", "/etc", "a/b", "-rf", "", "a b", "a\0b", "x" * 300, "\u202egpj",
    "CON", ".hidden", ".",
]  # fmt: skip

EXAMPLES = [
    run("up and out", "../x", "'../x'", "Use 1 to 80 letters"),
    run("an absolute path", "/etc/passwd", "'/etc/passwd'", "Use 1 to 80 letters"),
    run("a folder", "a/b", "'a/b'", "Use 1 to 80 letters"),
    run("this folder", ".", "'.'", "start with a letter"),
    run("a hidden file", ".ssh", "'.ssh'", "start with a letter"),
    run("an option", "-rf", "'-rf'", "start with a letter"),
    run("nothing", "", "''", "Use 1 to 80 letters"),
    run("a space", "my run", "'my run'", "Use 1 to 80 letters"),
    run("a line break", "a\nb", "'a\\nb'", "Use 1 to 80 letters"),
    run("a NUL", "a\0b", "'a\\x00b'", "Use 1 to 80 letters"),
    run("300 characters", "x" * 300, "xxxxx…'", "Use 1 to 80 letters"),
    run("right to left", "run\u202egpj", "'run\\u202egpj'", "Use 1 to 80 letters"),
    run("a letter that looks like another", "r\u0443n", "Use 1 to 80 letters"),
    run("a shell's words", "$(reboot)", "'$(reboot)'", "Use 1 to 80 letters"),
    run("a device of Windows", "CON", "'CON'", "Try CON-run"),
    run("a number", "42", "'42'", "Try run-42"),
    run("what is not text in YAML", "{a: 1}", "'{a: 1}'", "Use 1 to 80 letters"),
    Bad("a run that is not there", ["show", "gooood"], ("'gooood'", "Did you mean good?")),
    Bad("a run that leads out", ["rm", "--yes", "../../etc"], ("'../../etc'", "finetop ls")),
    Bad("a step that is none", ["resume", "good@last"], ("good@last", "'last'", "RUN@120")),
    Bad("trash that leads out", ["trash", "--restore", "../runs/0001-good"], ("../runs/0001-good", "trash is empty")),
    Bad("a suite that is not there", ["check", "good", "--suite", "quik"], ("'quik'", "Did you mean quick?")),
    Bad("a recipe that is not there", ["run", "lorra"], ("'lorra'", "Did you mean lora?")),
    Bad("a command that is none", ["shwo", "good"], ("'shwo'", "Did you mean show?")),
    Bad("a host that is an option of ssh", ["ls", "--on=-oProxyCommand=id"],
        ("--on", "-oProxyCommand=id", "user@host")),
]  # fmt: skip
