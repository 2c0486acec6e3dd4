"""The process that holds llama.cpp: `python -m finetop.core.models.llama_cpp.serve`, started by model.py.

It answers requests from standard input until that ends, or the process that started it does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import IO

from finetop.core.models.llama_cpp import messages, native
from finetop.core.models.llama_cpp.native import Impossible, Loaded

PARENT_EVERY_S = 1.0


def main() -> int:
    """Answer requests in order. Return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the process that asks decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native code prints is no answer
    threading.Thread(target=end_with_parent, daemon=True, args=(os.getppid(),)).start()
    serve(sys.stdin.buffer, answers)
    return 0


def end_with_parent(parent: int) -> None:
    """End this process when its parent has ended, whatever llama.cpp is doing: it may be amid minutes of work."""
    while os.getppid() == parent:
        time.sleep(PARENT_EVERY_S)
    os._exit(1)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer each request until there are no more."""
    loaded: Loaded | None = None
    while (request := messages.receive(requests, messages.Request)) is not None:
        try:
            if isinstance(request, messages.Load | messages.Quantize) and loaded is not None:
                loaded.close()
                loaded = None
            if isinstance(request, messages.Load):
                loaded = Loaded(request.path, request.context, request.threads, exact=request.exact)
                reply: messages.Reply = loaded.facts()
            elif isinstance(request, messages.Quantize):
                native.quantize(request.source, request.target, request.file_type, request.threads)
                reply = messages.Done()
            elif loaded is None:
                reply = messages.Refusal("no file is loaded")
            else:
                reply = answer(loaded, request)
        except Impossible as error:
            reply = messages.Refusal(str(error))
        messages.send(answers, reply)


def answer(loaded: Loaded, request: messages.Request) -> messages.Reply:
    """Answer a request to a loaded file. Raises Impossible."""
    match request:
        case messages.Tokenize(texts, add_special):
            return messages.TokenLists([loaded.tokenize(text, add_special=add_special) for text in texts])
        case messages.Vocabulary():
            return messages.Texts(loaded.texts())
        case messages.Logits(ids, start):
            rows = loaded.logits(ids, start)
            return messages.Floats(len(rows), loaded.tokens, rows.tobytes())
        case messages.Score(ids, start):
            return loaded.score(ids, start)
        case messages.Begin(ids, sampling):
            loaded.begin(ids, sampling)
            return messages.Done()
        case messages.Step():
            return loaded.step() or messages.Done()
    raise Impossible(f"{type(request).__name__} is no request to a file")


if __name__ == "__main__":
    sys.exit(main())
