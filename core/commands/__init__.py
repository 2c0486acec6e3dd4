"""The command line: a verb a file, found by listing this folder.

A verb's module has `ABOUT` (one line), `arguments(parser)` and `run(args, home) -> exit code`. Heavy imports stay
inside functions: `finetop ls` must start in under 0.3 s. `ANYWHERE = True` says that it does all through a supervisor,
so that `--on HOST` may take it to another machine (its home's paths are then paths there); with `run_several(args,
homes)` it takes several machines at once.
"""
