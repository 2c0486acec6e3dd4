"""Detects the language of a text by its script, and in Latin script by its most frequent words, if it is clear.

A library would know two hundred languages and take 20 to 500 microseconds per text (and 1 to 130 MB); these fourteen
and eleven scripts take 10. A text of fewer than eight words is left undecided.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

NAMES = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch", "sv": "Swedish", "da": "Danish", "pl": "Polish", "cs": "Czech", "tr": "Turkish", "ro": "Romanian",
    "id": "Indonesian", "cyrillic": "Cyrillic script", "greek": "Greek", "hebrew": "Hebrew", "arabic": "Arabic script",
    "devanagari": "Devanagari script", "bengali": "Bengali", "tamil": "Tamil", "thai": "Thai", "han": "Chinese",
    "kana": "Japanese", "hangul": "Korean",
}  # fmt: skip
# The most frequent words of each: they identify a language within a few dozen words.
_WORDS = {
    "en": """
        a an i me my do how so no he she his her than just any all the of and to in is that it for was on are
        with as be this have from or by not but what which you they we there been has were their would if will
        can your when about more its
    """,
    "de": """
        der die das und ist nicht ein eine zu mit den von auf für im dem sich des auch als wird sind es an
        werden aus bei oder wie kann nach einer ich sie wir haben noch dass um einen über durch
    """,
    "fr": """
        le la les de des et est un une du en que qui dans pour pas sur au par plus ce sont avec il elle ne se ou
        nous vous cette ces être aux mais leur comme fait
    """,
    "es": """
        el la los las de que y en un una es por con para no del se lo al como más su pero sus este esta son ser
        entre cuando muy sin sobre también hay fue puede
    """,
    "it": """
        il la di che e un una per non in è con del della sono si da le gli dei delle nel alla anche come più ma
        ha questo questa essere al lo i degli nella
    """,
    "pt": """
        o a de que e do da em um uma para é com não os as no na por mais dos das se ao como mas foi são sua seu
        ou ser também pelo pela isso você
    """,
    "nl": """
        de het een en van in is dat op te zijn met voor niet aan er om ook als bij maar door worden of naar uit
        deze kan dit je wordt heeft hebben
    """,
    "sv": """
        och att det som en på är av för med den till inte har ett om kan från var men vi jag du ska eller så när
        också detta
    """,
    "da": """
        og at det som en på er af for med den til ikke har et om kan fra var men vi jeg du skal eller så når
        også dette
    """,
    "pl": """
        i w na z że się nie do jest to jak o po od za co dla przez są ale być czy oraz może przy lub które który
        jej jego
    """,
    "cs": """
        a v na se že je to s z do o ve jako pro jsou by ale být nebo které který jeho také jen při může podle
    """,
    "tr": """
        ve bir bu için de da ile olarak çok daha gibi en ne olan var mi kadar sonra ama veya ise değil her
        olduğu
    """,
    "ro": """
        și de la în a cu un o pe nu care este din că pentru mai sau sunt au se fi prin ca dar fost această acest
        poate
    """,
    "id": """
        yang dan di dari untuk dengan pada ini itu adalah tidak dalam akan atau ke oleh sebagai juga dapat ada
        bisa lebih karena
    """,
}
_SCRIPTS = re.compile(
    "(?P<cyrillic>[\u0400-\u04ff])|(?P<greek>[\u0370-\u03ff])|(?P<hebrew>[\u0590-\u05ff])|(?P<arabic>[\u0600-\u06ff])"
    "|(?P<devanagari>[\u0900-\u097f])|(?P<bengali>[\u0980-\u09ff])|(?P<tamil>[\u0b80-\u0bff])|(?P<thai>[\u0e00-\u0e7f])"
    "|(?P<kana>[\u3040-\u30ff])|(?P<hangul>[\uac00-\ud7af])|(?P<han>[\u4e00-\u9fff])"
)
# quick: one look at each character
_ANY_SCRIPT = re.compile(re.sub(r"\(\?P<\w+>\[|\]\)\|?", "", _SCRIPTS.pattern).join("[]"))
_OF_WORD: dict[str, list[str]] = {}
for _language, _words in _WORDS.items():
    for _word in _words.split():
        _OF_WORD.setdefault(_word, []).append(_language)

_AROUND = ".,;:!?()\"'"
_MEMORY = 100_000  # different words, as they stand between spaces, whose languages are cached
_LATIN = tuple(_WORDS)


class _Counted(dict[str, int]):
    """Caches the languages of each word seen (marks around it ignored): a 1 in the byte of each language."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MEMORY:
            self.clear()
        has = _OF_WORD.get(word.strip(_AROUND), ())
        self[word] = ones = sum(1 << 8 * _LATIN.index(language) for language in has)
        return ones


_counted = _Counted()
READ = 400  # characters
LEAST_WORDS = 8
LEAST_SCRIPT = 8  # characters of another script


def language_of(text: str) -> str:
    """Return the code of a text's language, or its script; "" if it is not clear."""
    text = text[:READ]
    if not text.isascii() and _ANY_SCRIPT.search(text):
        script = _script(text)
        if script:
            return script
    if "```" in text:
        return ""
    words = text.lower().split()
    if len(words) < LEAST_WORDS:
        return ""
    counts = _counts(words)
    *_, second, number = sorted(counts)
    first = counts.index(number)
    # A sixth to a half of a text are such words; names and loanwords add a few of other languages.
    is_clear = number >= 0.12 * len(words) and number >= 1.5 * second
    return _LATIN[first] if is_clear and _counts(set(words))[first] >= 3 else ""


def _counts(words: Collection[str]) -> bytes:
    """Count each language's words: no byte overflows, because READ characters are at most 200 words."""
    return sum(map(_counted.__getitem__, words)).to_bytes(len(_LATIN), "little")


def _script(text: str) -> str:
    """Return the non-Latin script that a text is mostly written in, or ""."""
    counts = Counter(str(match.lastgroup) for match in _SCRIPTS.finditer(text))
    if not counts:
        return ""
    if "kana" in counts:  # Japanese is written with Chinese characters too
        counts["kana"] += counts.pop("han", 0)
    name, number = counts.most_common(1)[0]
    latin = sum(character.isascii() and character.isalpha() for character in text)
    return name if number >= LEAST_SCRIPT and number > 0.5 * (latin + number) else ""


def name_of(language: str) -> str:
    """Return a language's name for people."""
    return NAMES.get(language, language)
