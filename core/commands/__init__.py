"""The command line: a verb a file, found by listing this folder.

A verb's module has `ABOUT` (one line), `arguments(parser)` and `run(args, home) -> exit code`. Heavy imports stay
inside functions: `finetop ls` must start in under 0.3 s.
"""
