"""What a file is proven with: strings on which rules of tokenizers differ, conversations, and questions."""

from __future__ import annotations

import random

STRINGS = 520
SEED = 7
Chat = list[dict[str, str]]

FIXED = (
    *("", " ", "  ", "\n", "\n\n", " \n \n", "\t\tx", "a", " a", "a ", "Hello, world!"),
    "I'll we've HE'S DON'T it's 'tis",
    "3 33 333 3333 33333 3.14 1,000,000 2026-11-28",
    "x=1;y+=2\n\n\n    return x**y  # ok",
    "def f(x):\n\tif x:\n\t\treturn {'a': [x, -1]}\n",
    "snake_case camelCase HTTPServer2 v1.2.3-rc4",
    *("Grüße aus Köln, naïve façade", "e\u0301 vs \u00e9", "Привет, как дела? 12", "你好，世界。我有3个苹果"),
    *("こんにちは カタカナ 漢字", "안녕하세요 세계", "مرحبا بالعالم ١٢٣", "שלום עולם", "नमस्ते दुनिया १२३"),
    *("ภาษาไทยไม่มีช่องว่าง", "🚀🔥 👨‍👩‍👧‍👦 🇩🇪 ✅", "…—–“quotes” ‘single’ «guillemets»"),
    *("a\u00a0b\u2009c\u200bd", "\r\nwindows\r\n", "trailing   ", "   leading", "tab\tsep\tvalues"),
    *("https://example.org/a?b=c&d=%20#e", "<html><b>bold</b></html>", '{"key": [1, 2.5e-3, null]}'),
    *("C:\\path\\to", "$5.00 €3 £2 50% #tag @user", "¼ ½ ² ³ Ⅷ", "\u2581under\u2581", "A" * 60, "ab" * 40),
    *(
        "!?!?!?....----====",
        "'''```\"\"\"",
        "ﬁ ﬂ Å Ω",
        "\x00\x01\x7f",
        "x\u0300\u0301\u0302",
        " " * 37,
        "\n" * 9,
    ),
    *("0" * 30, "1 " * 20, "\t" * 7 + "end", " " * 16 + "indented\n" + " " * 20 + "more"),
)
PROMPTS = (
    "What is the capital of France?",
    "Name three primary colours.",
    "Write a short poem about the sea.",
    "What is 17 + 25?",
    "Explain gravity to a child.",
    "Translate 'good morning' into Spanish.",
    "Who wrote Hamlet?",
    "List two uses of salt.",
    "What do bees make?",
    "Give me a tip for sleeping better.",
    "What is a prime number?",
    "Why is the sky blue?",
)


def strings(special: list[str]) -> list[str]:
    """Return the fixed strings, random mixtures of their words, and some with special tokens inside."""
    draw = random.Random(SEED)
    words = [word for text in FIXED for word in text.split(" ") if word]
    words += [" ", "  ", "\n", "\t", "'s", "7", "42", "123456"]
    texts = list(FIXED)
    while len(texts) < STRINGS:
        parts = (draw.choice(words) + draw.choice(["", " ", " ", "\n"]) for _ in range(draw.randint(2, 12)))
        texts.append("".join(parts))
    return texts + [f"{token}user\nHi {token}" for token in special if token]


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def chats() -> list[Chat]:
    """Return conversations that templates treat differently: system messages, several turns, odd white space."""
    question, system = turn("user", "Hi"), turn("system", " Be brief.\n")
    long = [question, turn("assistant", "Hello!"), turn("user", "  What's 2+2?\n")]
    thinking = [turn("user", "1"), turn("assistant", "<think>x</think>4 "), turn("user", "5")]
    return [
        [question],
        [system, question],
        long,
        [system, *long],
        thinking,
        [turn("user", "  white\n space ")],
    ]
