"""Light edits of a text, as people and scrapers make them: written independently of the code that must find them.

Each takes a text and a random number generator and returns another text with the same meaning, or the unchanged text if
it does not apply. Words are changed, inserted and removed only where that keeps the meaning: no names, no numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_SYNONYMS = """
    show=display big=large small=little quick=fast quickly=rapidly begin=start start=begin end=finish
    help=assist buy=purchase use=employ make=create create=produce find=locate give=provide provide=supply
    get=obtain need=require require=need explain=clarify describe=depict write=compose list=enumerate
    name=mention choose=select select=pick answer=response question=query problem=issue issue=problem
    error=mistake important=crucial difficult=hard hard=difficult easy=simple simple=easy good=fine bad=poor
    many=numerous several=various different=distinct similar=alike total=overall number=amount
    amount=quantity people=persons person=individual child=kid children=kids man=guy woman=lady house=home
    home=house car=vehicle road=street job=position work=labor money=cash cost=price price=cost pay=spend
    earn=make weight=mass size=dimension length=extent height=tallness color=colour material=fabric
    product=item item=article company=firm customer=client user=consumer doctor=physician illness=disease
    disease=illness medicine=drug drug=medication treatment=therapy treatments=therapies therapy=treatment
    cause=trigger causes=triggers symptoms=signs signs=symptoms patient=sufferer patients=sufferers
    people=folks usually=typically often=frequently sometimes=occasionally always=constantly never=not
    about=regarding because=since also=additionally however=nevertheless therefore=thus after=following
    before=preceding during=throughout near=close inside=within outside=beyond under=beneath above=over
    large=big little=small new=recent old=aged young=youthful long=lengthy short=brief high=tall low=reduced
    great=excellent happy=glad sad=unhappy beautiful=pretty clean=tidy dirty=filthy correct=right
    wrong=incorrect true=accurate false=untrue main=primary primary=main possible=feasible likely=probable
    certain=sure contains=includes includes=contains shows=displays helps=aids makes=creates uses=employs
    gives=provides takes=requires keeps=holds goes=travels comes=arrives said=stated told=informed
    asked=inquired bought=purchased sold=traded made=created used=employed found=discovered gave=provided
    got=received went=travelled came=arrived took=grabbed kept=retained left=departed lost=misplaced
    won=gained spent=used built=constructed sent=mailed received=got started=began began=started
    stopped=halted increased=rose decreased=fell compute=calculate calculate=compute determine=establish
    identify=recognize generate=produce summarize=condense translate=render sentence=phrase
    paragraph=passage story=tale poem=verse article=piece essay=paper text=passage example=instance
    method=approach way=manner steps=stages step=stage process=procedure result=outcome results=outcomes
    effect=impact reason=motive purpose=aim goal=objective idea=concept plan=scheme rule=guideline type=kind
    types=kinds kind=type part=portion parts=portions group=set place=location area=region city=town
    country=nation world=globe day=date week=seven-day month=period year=twelvemonth hours=hrs minutes=mins
    food=meal water=liquid box=container bag=sack store=shop shop=store school=academy class=course
    student=pupil students=pupils teacher=instructor book=volume animal=creature animals=creatures
    plant=shrub tree=plant dog=hound cat=feline bird=fowl fish=seafood body=physique head=skull hand=palm
    eye=eyeball heart=ticker blood=gore brain=mind skin=hide bone=skeleton fix=repair repair=fix clean=wash
    wash=clean remove=delete add=append put=place open=unlock close=shut
"""
_ADDED = """
    really actually simply basically also just currently generally probably certainly indeed perhaps definitely often
    possibly clearly quite fairly truly mostly briefly carefully exactly nicely surely kindly
"""
_ODD = """
    garden window yellow seven table river music orange paper silver winter button forest pocket simple random coffee
    market bridge copper velvet hollow gentle marble lantern
"""
SYNONYMS = dict(pair.split("=") for pair in _SYNONYMS.split())
ADDED_WORDS = tuple(_ADDED.split())
ODD_WORDS = tuple(_ODD.split())
OPENINGS = (
    "Please answer the following question: ", "Question: ", "Hi! ", "Quick question. ",
    "Hello, I have a request.\n", "Task: ", "Here is what I need: ", "Q: ", "Could you help me with this? ",
    "User request:\n\n", "Note: read carefully. ", "I was wondering about something. ",
)  # fmt: skip
CLOSINGS = (
    " Thanks!", " Thank you in advance.", "\n\nPlease be brief.", " Please explain.", "\nAnswer:", " Let me know.",
    " I'd appreciate your help.", " (Answer in English.)", "\n\n---", " Take your time.", " Best regards.",
    " That is all.",
)  # fmt: skip
_WORD = re.compile(r"\w+")


def case(text: str, rng: random.Random) -> str:
    """Change the case of the whole text, or of some words."""
    way = rng.choice(("lower", "upper", "title", "some", "first"))
    if way == "lower":
        return text.lower()
    if way == "upper":
        return text.upper()
    if way == "title":
        return text.title()
    if way == "first":
        return text[:1].swapcase() + text[1:]
    return " ".join(word.upper() if rng.random() < 0.2 else word for word in text.split(" "))


def punctuation(text: str, rng: random.Random) -> str:
    """Drop, double or swap punctuation marks."""
    way = rng.choice(("drop", "end", "space", "comma"))
    if way == "drop":
        return re.sub(r"(?<!\d)[.,;:!?](?!\d)", "", text)
    if way == "end":
        return text.rstrip(".!?") + rng.choice(("", ".", "!", "?!", "...", " ?"))
    if way == "space":
        return re.sub(r"([.,;:!?])(?=\s|$)", r" \1", text)
    words = text.split(" ")
    if len(words) > 3:
        place = rng.randrange(1, len(words) - 1)
        words[place] += ","
    return " ".join(words)


def white_space(text: str, rng: random.Random) -> str:
    """Double spaces, break or join lines, indent."""
    way = rng.choice(("double", "break", "join", "around"))
    if way == "double":
        return text.replace(" ", "  ")
    if way == "break":
        return re.sub(r" ", lambda _: "\n" if rng.random() < 0.15 else " ", text)
    if way == "join":
        return re.sub(r"\s+", " ", text)
    return f"\n  {text}  \n"


def _plain_words(text: str) -> list[re.Match[str]]:
    """Return the words that are not names and have no digits."""
    matches = list(_WORD.finditer(text))
    if len(matches) < 4:
        return []
    return [
        match
        for match in matches
        if match.group().islower()
        and match.group().isalpha()
        and match.group().isascii()
        and len(match.group()) > 1
    ]


def change(text: str, rng: random.Random) -> str:
    """Change one word into another, or misspell it."""
    places = _plain_words(text)
    if not places:
        return text
    place = rng.choice(places)
    word = place.group()
    if rng.random() < 0.5 and len(word) > 3:
        at = rng.randrange(1, len(word) - 1)
        new = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    else:
        new = rng.choice(ODD_WORDS)
    return text[: place.start()] + new + text[place.end() :]


def insert(text: str, rng: random.Random) -> str:
    """Insert a word."""
    places = _plain_words(text)
    if not places:
        return text
    place = rng.choice(places)
    return f"{text[: place.start()]}{rng.choice(ADDED_WORDS)} {text[place.start() :]}"


def remove(text: str, rng: random.Random) -> str:
    """Remove a word."""
    places = _plain_words(text)
    if len(places) < 4:
        return text
    place = rng.choice(places)
    return text[: place.start()].rstrip(" ") + text[place.end() :]


def synonyms(text: str, rng: random.Random) -> str:
    """Swap up to three words for synonyms."""
    places = [place for place in _plain_words(text) if place.group() in SYNONYMS]
    most = min(3, len(places), max(1, len(_WORD.findall(text)) // 6))
    for place in sorted(rng.sample(places, most), key=lambda match: -match.start()):
        text = text[: place.start()] + SYNONYMS[place.group()] + text[place.end() :]
    return text


def opening(text: str, rng: random.Random) -> str:
    """Put an opening phrase before it."""
    return rng.choice(OPENINGS) + text


def closing(text: str, rng: random.Random) -> str:
    """Put a closing phrase after it."""
    return text + rng.choice(CLOSINGS)


MARKS: tuple[Callable[[str, random.Random], str], ...] = (case, punctuation, white_space)
WORDS: tuple[Callable[[str, random.Random], str], ...] = (change, insert, remove, synonyms, opening, closing)


def edited(text: str, rng: random.Random) -> tuple[str, str]:
    """Edit a text lightly: one edit of its words if it has enough of them, and often one of its punctuation.

    Returns the text and the names of the edits; the text always differs from the given one.
    """
    for _ in range(50):
        edits = [rng.choice(WORDS)]
        if len(_WORD.findall(text)) >= 20 and rng.random() < 0.5:
            edits.append(rng.choice(WORDS))
        if rng.random() < 0.5:
            edits.append(rng.choice(MARKS))
        new = text
        for edit in edits:
            new = edit(new, rng)
        if new != text:
            return new, "+".join(edit.__name__ for edit in edits)
    return text + ".", "end"
