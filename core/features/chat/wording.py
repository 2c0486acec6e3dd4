"""What a chat sends with a prompt, in words: the app and the command line say the same."""

from __future__ import annotations

from finetop.core.features.chat.messages import ChatPrompt, ChatSettings
from finetop.core.text import counted

AS_TRAINED = "system, as in training"


def generation(settings: ChatSettings) -> str:
    """Return how an answer is generated: 'temperature 0, greedy, at most 512 tokens'."""
    sampling = "temperature 0, greedy"
    if settings.temperature:
        top_p = f", top_p {settings.top_p:g}" if settings.top_p < 1 else ""
        sampling = f"temperature {settings.temperature:g}{top_p}, seed {settings.seed}"
    return f"{sampling}, at most {counted(settings.max_new_tokens, 'token')}"


def system(settings: ChatSettings, trained: str) -> tuple[str, str]:
    """Return what is said of the system prompt, and its text if one is sent.

    `trained` is the one that the run was trained with, which is sent unless the settings say otherwise.
    """
    if settings.raw:
        return "no template, no system prompt", ""
    if settings.system is None:
        return (AS_TRAINED, trained) if trained else ("no system prompt", "")
    if not settings.system:
        return "no system prompt" + (" (trained with one)" if trained else ""), ""
    return (AS_TRAINED if settings.system == trained else "system"), settings.system


def how_checked(prompt: ChatPrompt) -> str:
    """Return how the check asked an item that the chat lets the model write; empty if it wrote there too."""
    if not prompt.choices:
        return ""
    return f"the check compared how likely each of {prompt.choices} answers is; here the model writes its own"
