"""A chat, whose job answers until its user leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.protocol.job_kinds import JobKind, Sizes

BESIDE_GIB = 2.0  # beside its models: the keys and values of its conversations, and CUDA


class Chat(JobKind):
    verb = "chat"
    work = "finetop.core.features.chat.job"
    word = screen = "chat"
    idles = True
    can_pause = False
    no_pause = "Close it; what was answered is kept."
    retries = False  # its user asks again
    blocks = False

    def only_reads(self, args: Mapping[str, Any]) -> bool:
        return not self.models(args)

    def models(self, args: Mapping[str, Any]) -> int:
        """Return how many models a chat has in memory: an adapter and its base are one."""
        sides = [side for side in args.get("sides", ()) if side["kind"] in ("base", "checkpoint")]
        tuned = [side for side in sides if side["kind"] == "checkpoint"]
        inside = {side["folder"] for side in tuned if side.get("is_adapter")}
        bases = {side["folder"] for side in sides if side["kind"] == "base"}
        return len(tuned) + len(bases - inside)

    def gib(self, sizes: Sizes, models: int) -> float:
        return models * sizes.weights / 2**30 + BESIDE_GIB

    def kept(self, done: int, total: int) -> str:
        return "What was answered is kept."


KINDS = (Chat(),)
