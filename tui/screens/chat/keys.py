"""The keys of the Chat screen, those its footer shows, and the next step."""

from __future__ import annotations

from finetop.core.protocol.runs import Queued
from finetop.core.text import clean_line
from finetop.tui.keys import PAGES, Key
from finetop.tui.screens.chat.state import ChatState
from finetop.tui.screens.chat.status import waiting_words
from finetop.tui.text import Line, cut_end
from finetop.tui.widgets.frame import next_line

TYPE = Key("i,enter", "type", "type", "type a prompt: enter sends, ctrl+j begins a line, ↑↓ earlier prompts")
PROMPTS = Key("p", "prompts", "prompts", "prompts: the recipe's, test rows, items that the check lost")
FRESH = Key("n", "new conversation", "fresh", "begin a new conversation: the models forget the turns before")
STOP = Key("S", "stop", "stop", "stop the chosen side's answer, then the other's; the text so far stays")
_KEEP = "keep the chosen side's answer: among the run's samples, or as a row of a test file"
KEEP = Key("w", "keep", "keep", _KEEP)
SETTINGS = Key("s", "settings", "settings", "system prompt, temperature, top_p, seed, length")
_MODEL = "another model on the chosen side: a run, checkpoint, remedy, GGUF file or endpoint"
MODEL = Key("m", "model", "model", _MODEL)
SIDE = Key("tab,shift+tab", "other side", "choose(0)", "the other side")
LEFT = Key("left,h", "", "choose(-1)", "the left side", sign="←→")
RIGHT = Key("right,l", "", "choose(1)", "the right side")
FULL = Key("z", "full screen", "full", "the chosen side alone, or both")
NEWER = Key("right_square_bracket", "prompt", "turn(1)", "next prompt", sign="[ ]")
EARLIER = Key("left_square_bracket", "", "turn(-1)", "previous prompt")
ON_CPU = Key("o", "on the CPU", "on_cpu", "while it waits for a GPU: answer on the CPU instead")
AGAIN = Key("R", "open again", "again", "open the chat again once it has ended", "finetop chat RUN")
BACK = Key("escape", "back", "back", "end the chat, and back to the previous screen")
MOVES = (
    Key("j,down", "", "move(1)", "scroll down"),
    Key("k,up", "", "move(-1)", "scroll up"),
    *PAGES,
    Key("g,home", "", "ends(-1)", "the first prompt"),
    Key("G,end", "", "ends(1)", "the end, and follow it"),
)
KEYS = (
    *(TYPE, PROMPTS, FRESH, STOP, KEEP, SETTINGS, MODEL, SIDE, LEFT, RIGHT, FULL, NEWER, EARLIER),
    *(ON_CPU, AGAIN, BACK, *MOVES),
)
WHILE_TYPING = (
    Key("enter", "send"),
    Key("escape", "more keys"),
    Key("up", "earlier prompts", sign="↑↓"),
    Key("ctrl+j", "new line"),
    Key("pagedown", "scroll", sign="pgup pgdn"),
)
_WHILE_KEEPING = (Key("enter", "write the row"), Key("escape", "cancel"), Key("ctrl+j", "new line"))
_TAKE_UP = Key("enter", "go on with it", "type")
_NEW_CHAT = Key("n", "new chat", "fresh")
_SCROLL = Key("", "scroll", sign="↑↓")


def footer_keys(state: ChatState) -> tuple[Key, ...]:
    """Return the keys for what the chat is at, the most used first."""
    if state.is_typing:
        return WHILE_TYPING if state.keeping is None else _WHILE_KEEPING
    if state.left_open is not None:
        return (_TAKE_UP, _NEW_CHAT, BACK)
    if state.trouble:
        return (AGAIN, MODEL, BACK)
    if state.is_over:
        kept = (KEEP,) if state.answer is not None else ()
        return (AGAIN, *kept, MODEL, _SCROLL, SIDE, FULL, BACK)
    stop = (STOP,) if state.is_answering else ()
    cpu = (ON_CPU,) if isinstance(state.job, Queued) else ()
    keep = (KEEP, NEWER, FRESH) if state.turns else ()
    return (TYPE, *stop, *cpu, PROMPTS, *keep, SETTINGS, MODEL, SIDE, BACK, FULL)


def next_lines(state: ChatState) -> list[Line]:
    """Return the next step, and what it costs."""
    if state.left_open is not None:
        return [
            next_line("enter", "go on with it"),
            next_line("n", "end it and begin a new chat", before="or"),
        ]
    if state.trouble:
        return [next_line("esc", "back")]
    if state.is_over:
        return [next_line("R", "open the chat again: a new conversation, the settings stay")]
    if isinstance(state.job, Queued):
        key, first = ("esc", "then o: ") if state.is_typing else ("o", "")
        return [next_line(key, f"{first}answer on the CPU instead: starts now, answers slowly")]
    if waiting_words(state):
        key, first = ("esc", "then S: ") if state.is_typing else ("S", "")
        return [next_line(key, f"{first}stop {_stopped(state)}, also what waits")]
    if state.is_typing:
        return []
    if state.is_answering:
        return [next_line("S", f"stop {_stopped(state)}; the text so far stays")]
    if state.turns:
        return [next_line("i", "the next prompt; press n first for a new conversation")]
    return [next_line("p", "pick a prompt of the recipe, a test row or an item that the check lost")]


def _stopped(state: ChatState) -> str:
    """Return what S stops: the answers of one side."""
    side = state.side_to_stop
    return "all answers" if side is None else cut_end(clean_line(state.sides[side].model.label), 24)
