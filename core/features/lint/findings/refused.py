"""Answers that refuse, or speak of themselves as a language model: left over from the model that wrote the data."""

from __future__ import annotations

import re
from collections.abc import Sequence

from finetop.core.data.similarity.word_codes import LITTLE_WORDS
from finetop.core.features.lint.findings import Finder, Rule, Sight, Tally, excerpt
from finetop.core.features.lint.report import Finding
from finetop.core.features.lint.row import Lens, Row
from finetop.core.features.lint.second_pass import Whole

HEAD = 300  # characters within which a refusal appears

_STARTS = ("i ", "i'", "i’", "sorry", "apolog", "my ", "unfort", "regret", "sadly")
_OWN = (
    " i ", " i'", " i’", "\ni ", "\ni'", " me ", " me.", " my ", "\nsorry", " sorry", " our ", "request", " polic",
    "guidelines",
)  # fmt: skip
_HINTS = (
    "not ", "n't", "n’t", "cannot", " no ", "unable", "decline", "refuse", "sorry", "apolog", "afraid", "against",
    "violat", "beyond", "outside", "impossible", "appropriate", "unethical", "programm", "designed", "regret",
    "prohibit", "lack",
)  # fmt: skip
_NAMES = (
    " ai", "als ki", "language", "llm", "artificial", "assistant", "bot", "program", "trained", "training data",
    "knowledge", "made by", "openai", "anthropic", "google", "deepmind", "alibaba", "mistral", "deepseek", "microsoft",
    "künstliche", "sprachmodell", "modèle", "modelo", "作为", "我",
)  # fmt: skip
_ADVERB = r"(?:(?:[a-z]{2,}ly|just|also|still|very|so|therefore)[ ])"
_SPACES = re.compile(r"[ \t]{2,}|(?<=[a-z,]) ?\n ?(?=[a-z])")  # also lines that are broken within a sentence
_NOT_ABLE = rf"""
    (?: [ ]? {_ADVERB}?
        (?: can['’]?t | cannot | can[ ]not | could(?:n['’]t|[ ]not) | won['’]?t | will[ ]not
          | do(?:n['’]t|[ ]not)[ ](?:have|possess)[ ](?:the[ ]|any[ ]|enough[ ])?
            (?:ability|capabilit(?:y|ies)|capacity|access|permission|means|information|knowledge)
          | have[ ]no[ ](?:way|means|access|knowledge|information|ability)
          | (?:must|have[ ]to|['’]ll[ ]have[ ]to|need[ ]to|will|shall|would|(?:am
            |['’]m)[ ]going[ ]to[ ]have[ ]to)[ ]{_ADVERB}?(?:decline|refuse|pass[ ]on)
          | (?:do(?:n['’]t|[ ]not)[ ]feel|would(?:n['’]t|[ ]not)[ ](?:be|feel))[ ]{_ADVERB}?(?:comfortable|right)
          | do(?:n['’]t|[ ]not)[ ](?:think|believe)[ ]i[ ](?:can|could|should)(?:[ ]be[ ]able[ ]to)?
          | do(?:n['’]t|[ ]not)[ ](?:really[ ])?know | decline | refuse
          | (?:['’]d|would)[ ](?:rather|prefer)[ ]not )
      | (?: ['’]?m | [ ]am | [ ]?['’]?re | [ ]are )[ ]{_ADVERB}?
        (?: not[ ]{_ADVERB}?(?:able|allowed|permitted|comfortable|authori[sz]ed|equipped|designed|programmed
          |going|willing
              |qualified|in[ ]a[ ]position)
          | unable | incapable | prohibited | forbidden | uncomfortable ) )
"""
_TASK = r"""
    (?: be[ ]of | help | assist | provide | fulfil | comply | answer | respond | repl(?:y|ies) | generat | creat
      | discuss | engag | participat | support | shar(?:e|ing) | offer | giv(?:e|ing) | tell(?![ ]you[ ]how) | say
      | comment | do[ ]th(?:is|at|ose)(?=[.,;!]|$|[ ]for\b) | do[ ]so | know | writ(?:e|ing) | produc | process | brows
      | access | view | open | see[ ](?:your|image|picture|what) | verif | predict | advis | recommend(?![^.\n]*enough)
      | speculat | complet | continue | perform | execut | disclos | reveal )
    [a-z]*
"""
_OBJECT = r"""
    (?: th(?:is|at|ese|ose)\b | it\b | you\b | your | the[ ](?:answer|question|request|information|instruction
      |task|prompt)
      | (?:any|such|personal|private|medical|legal|financial|specific|real|current|harmful|illegal|explicit
        |individual)
      | (?:questions?|requests?|information|instructions?|advice|content|details|opinions?)\b )
"""
_OPENS = r"(?: ^ | [.!?:][\"”)]?\s+ | \n\s* | [,;][ ] | \b(?:but|and|so|however|that|because|since|as)[ ] )"
_REFUSES = re.compile(
    rf"""
    # after words of regret whatever is not done
    (?: ^ | [.!?]\s+ | \n\s* ) (?: (?: oh | well | hi | hello | no | hey | ah )\b [,!.]? [ ]+ )?
    (?: (?: i['’]?m | i[ ]am | we['’]?re | we[ ]are ) [ ] (?: (?:really|very|so|truly|deeply
      |terribly)[ ] )* (?: sorry | afraid )
      | sorry | my[ ](?:sincere[ ])?apologies | i[ ](?:sincerely[ ]|do[ ])?apologi[sz]e | apologies | unfortunately
      | regrettably | sadly | i[ ]regret
    ) \b [^.?\n]{{0,60}}? [,;:.!\s-]
    \s*(?: (?:but|however|that|as|since|because)\b[ ,]* [^.?\n]{{0,60}}? )? \b i (?:[ ][a-z]{{2,}}ly\b)? {_NOT_ABLE}\b
    | ^ (?: (?:[a-z]+[,!.]?[ ]){{0,3}} ) (?: sorry | apolog(?:y|ies|i[sz]e) | unfortunately | regrettably
      | i['’]m[ ]afraid )
      \b [^.?\n]{{0,40}} \b
      (?: (?:not[ ]something|nothing)[ ](?:that[ ])?i | (?:against|violates?|outside|beyond)[ ](?:of[ ])?(?:my
        |our|the[ ]scope)
        | task[ ]involves | not[ ]possible[ ]for[ ]me )
    # what the first sentences say of what was asked
    | {_OPENS} i (?:[ ][a-z]{{2,}}ly\b)? {_NOT_ABLE} (?: [ ](?:to|from|in
      |with)\b )? [ ] (?: [a-z'’,]+[ ] ){{0,5}}? {_TASK}
      (?: [.,;!]? $ | [.,;!:] | [ ] (?: [a-z]+[ ] ){{0,3}}? {_OBJECT} )
    | ^ (?: [^.?!\n]{{0,60}} [,;][ ](?:and[ ])? )? i (?: {_ADVERB} | [ ] )+
      (?: (?:must|have[ ]to|need[ ]to|will[ ]have[ ]to)[ ] {_ADVERB}? )? (?:decline|refuse)
      (?: [.,;!] | $ | [ ]to[ ]{_TASK} | [ ](?:this|that|your|the)[ ](?:request|question|task) )
    | ^ (?: [a-z]+[,!.][ ] )? i (?:['’]m|[ ]am)[ ]{_ADVERB}?(?:unable|not[ ](?:able|qualified|allowed|permitted))[ ]to\b
    | {_OPENS} i (?:['’]m|[ ]am)[ ]{_ADVERB}?not[ ]qualified[ ]to\b
    | ^ [^.?!\n]{{0,60}} \b i [ ] (?:must|(?:will[ ]|would[ ])?have[ ]to|need[ ]to)[ ]{_ADVERB}?(?:decline|refuse)\b
    | \b my[ ](?:programming|guidelines|instructions|training|design|polic(?:y|ies)|creators|developers|principles)[ ]
      [^.?!\n]{{0,30}} (?: n['’]t | \b not | prevent | prohibit | forbid | restrict )
    | {_OPENS} i [ ] do(?:n['’]t|[ ]not)[ ](?:think|believe|feel)[ ](?:that['’]?s?|this|it['’]?s?)[ ]
      (?:is[ ]|would[ ]be[ ])?(?:[a-z]+[ ]){{0,2}}?
        (?: something[ ](?:that[ ])?i | appropriate | right[ ]for[ ]me | a[ ]good[ ]idea[ ]for[ ]me )
    | ^ [^.?!\n]{{0,60}} \b (?:request|question|prompt|task|information|answer)s? [ ]
      (?: is(?:n['’]t|[ ]not)[ ]available[ ]to[ ]me
      | (?:can['’]?t|cannot|can[ ]not|could[ ]not|will[ ]not)[ ]be[ ](?:fulfilled|answered|processed|completed)\b )
    | \b let['’]?s[ ](?:talk|chat|speak)[ ]about[ ]something[ ]else
    | \b not[ ]something[ ] (?:that[ ])? i (?: ['’]m | [ ]am | [ ]can | [ ]could | [ ]will )
    | {_OPENS} i (?:[ ][a-z]{{2,}}ly\b)? {_NOT_ABLE}\b [^.?!\n]{{0,40}}? \b (?:this|that|your|the|any|such) [ ]
      (?: [a-z]+[ ] )? (?:questions?|requests?|quer(?:y|ies)|prompts?|inquir(?:y|ies)) \b
    # a short answer of regret that does nothing
    | ^ (?= [^\n]{{1,200}} $ ) (?= .* \b (?:sorry|apolog|afraid|unfortunately|regret|sadly) )
      .* \b i \b [^.?!]{{0,40}} (?: n['’]t | \b not | cannot | unable | decline | refuse | avoid ) \b
    | {_OPENS} i [ ] (?: do(?:n['’]t|[ ]not)[ ](?:have|possess)[ ](?:the[ ]|any[ ])? | have[ ]no[ ]
      | lack[ ](?:the[ ])? )
      (?: ability | capabilit(?:y|ies) | capacity | way | means | permission
        | access[ ]to[ ](?:the[ ]internet|real|current|live|up-|your|personal|private|any|external|info|data|th)
        | (?:knowledge|information)[ ](?:of|about|on|after|beyond|regarding) | (?:personal|own)[ ][a-z]+
        | preferences | real-?[ ]?time
        | feelings | emotions | opinions | consciousness )
    | \b (?: and | so | i ) [ ] (?: must | have[ ]to ) [ ] {_ADVERB}? decline \b
    | \b (?: no[ ]way | impossible | not[ ]possible | (?:not|in)(?:[ ](?:be|really))?[ ]?appropriate | unethical
      | irresponsible | difficult | wrong )
      (?:[ ]or[ ][a-z]+)? [ ] for[ ]me \b [^.?!\n]{{0,60}}? (?: to | answer ) [ ] (?: [a-z]+[ ] ){{0,2}}? {_TASK}
    | \b there(?:['’]s|[ ]is)[ ](?:simply[ ])?no[ ]way[ ](?:that[ ])?(?:i[ ]can|for[ ]me)
    | \b (?: beyond | outside ) [ ] (?:of[ ])? (?:the[ ]scope[ ]of[ ])? (?: my | what[ ]i[ ](?:can|am[ ]able) )
      (?: [ ] (?:capabilit | abilit | knowledge | scope | expertise | programming | training | help | assist
        | do | answer)
        | [ ] (?:[a-z]+[ ]){{1,2}} (?:capabilit | knowledge | help | assist | do | answer) )
    | \b (?: violat[a-z]+ | against | contrary[ ]to | breach[a-z]* ) [ ] (?:of[ ])? (?:my|our|openai['’]?s?|the) [ ]
      (?:[a-z]+[ ]){{0,3}}? (?: guidelines | polic(?:y|ies) | programming | principles | terms | content )
    | \b i (?:['’]m|[ ]am) [ ] (?:only[ ])? (?:programmed|designed) [ ] (?:not[ ])? to \b
    | \b i [ ] (?:cannot|can['’]?t|will[ ]not|won['’]t) [ ] in[ ]good[ ]conscience
    """,
    re.VERBOSE,
)
_WAYS = (
    "i can only", "i may only", "i am only", "i'm only", "i’m only", "i only ", "say no", " down", " pass on",
    "i pass", "nothing i", "nothing that i", "nothing to ", "nothing for you", "illegal", "condone", "endorse",
    "encourage", "promote", "facilitate", "limits", "someone else", "somebody else", "something else",
    "anything else", "elsewhere", "somewhere else", "subject", "different", "drop th", "move on", "stick to",
    "let's not", "let’s not", "not go", "not talk", "not get", "not discuss", "instructed", "told not", "asked not",
    "configured", "required not", "scope", "remit", "area of", "limited to", "restricted", "is only",
    "the right person", "the right one", "the right tool", "the right assistant", "the right place", "declined",
    "rejected", "blocked", "denied", "prohibited", "not allowed", "not permitted", "not supported", " answer",
    "opinion", "no view", "comment", "alone", "unanswered", "unethical", "dangerous", "harmful", "the law",
    "outside of", "no, i", "no. i", "sorry, i", "nope, i", "enable",
)  # fmt: skip
_ASKED = r"""
    (?: th(?:is|at|ese|ose)(?:[ ][a-z]+)? | it | such[ ][a-z]+ | your[ ][a-z]+ | you
      | (?:the|any|an?)[ ](?:request|question|answer)[a-z]* )
"""
_REQUEST = (
    r"(?: request | question | prompt | topic | subject | matter | query | task | inquiry | content )s?"
)
# Refusals without "can't": no to the request, a narrower purpose, the law, nothing to say, another topic.
_DECLINES = re.compile(
    rf"""
    {_OPENS} (?:
      i (?:
        (?: ['’]ll | ['’]m[ ]going | ['’]m[ ]afraid[ ]i | [ ](?:must|will|am[ ]going|shall|would|am[ ]obliged) )?
        (?: [ ](?:have|need)?[ ]?(?:to)?\b ){{0,2}} [ ]? {_ADVERB}?
        (?: say[ ]no\b | turn[ ]{_ASKED}[ ]down | turn[ ]down[ ]{_ASKED} | pass (?:[ ]on[ ]{_ASKED})? [.,;!]
          | leave[ ]{_ASKED}[ ](?:alone|unanswered|there) )
        | (?: ['’]m )? [ ] (?: (?:can|may|will|am|able|allowed|here|meant|set[ ]up|built|made|there)[ ] ){{0,3}}
          only [ ] (?: (?:able|allowed|here|meant|set[ ]up|built|made|permitted|supposed)[ ]to[ ] | to[ ] )? {_ADVERB}?
          (?: help | assist | answer | talk | speak | discuss | respond | reply | support | handle | deal )
          [a-z]* [ ] (?: you[ ] )?
          (?: with | on | about | to | in | of | [a-z]+[ ](?:about|on|related|concerning|regarding) )
        | [ ] (?: can(?:['’]t|not|[ ]not) | do(?:n['’]t|[ ]not) | won['’]t | will[ ]not | would[ ]never | never ) [ ]
          {_ADVERB}? (?: condone | endorse | encourage | promote | facilitate | enable )
        | (?: ['’]ve | [ ]have ) [ ] nothing [ ] (?: to[ ](?:say|offer|add|share) | for[ ]you )
        | (?: ['’]ve[ ]no | [ ]have[ ]no | [ ]do(?:n['’]t|[ ]not)[ ]have[ ]an? ) [ ]
          (?: answer | opinion | view | comment )s? \b (?: [ ] (?:to|for|on|about) \b | [.,;!] )
        | (?: ['’]ve[ ]been | [ ]have[ ]been | [ ]was | ['’]m | [ ]am ) [ ]
          (?: instructed | told | asked | configured | set[ ]up | required | trained ) [ ] (?: not | never ) [ ] to \b
        | (?: ['’]m | [ ]am ) [ ] not [ ] the [ ] right [ ] (?: person | one | tool | assistant | place | model )
        | ['’]d[ ](?:rather|prefer[ ]to)[ ]
          (?: not[ ](?:go|talk|get|discuss) | change[ ]the[ ](?:subject|topic)
            | (?:talk|speak)[ ](?:about|of)[ ]something[ ]else )
      )
      | (?: there(?:['’]s|[ ]is) [ ] )? nothing [ ] (?:that[ ])? i [ ] can [ ]
        (?: do | say | offer | tell | share | add )
      | (?: you(?:['’]ll|[ ]will)?[ ](?:have|need)[ ]to | please ) [ ]
        (?: ask | find | look[ ]for | seek | try | turn[ ]to | get ) [ ] (?: [a-z]+[ ] ){{0,4}}?
        (?: someone[ ]else | somebody[ ]else | somewhere[ ]else | elsewhere )
      | (?: let['’]?s | let[ ]us | (?:can|could|shall)[ ]we | why[ ]don['’]?t[ ]we ) [ ] {_ADVERB}?
        (?: not[ ](?:go|talk|get|discuss) | change[ ](?:the|this)[ ](?:subject|topic|matter) | drop[ ](?:the|this|that)
          | move[ ]on | stick[ ]to
          | (?:talk|speak|chat)[ ](?:about|of)[ ](?:something|anything)[ ](?:else|different) )
    )
    | ^ (?: [a-z]+[,!.][ ] ){{0,2}} (?:no[,.]|sorry[,.]|nope[,.]) [ ]
      i (?:['’]?ll[ ]not|[ ]will[ ]not|[ ]won['’]t|[ ]refuse) \b
    | ^ no [ ] comment \b
    | \b my [ ] (?: role | purpose | job | task | expertise | knowledge | scope | area | function )s? [ ]
      (?: is | are | covers? | extends? ) [ ] (?: strictly[ ] )? (?: limited[ ]to | restricted[ ]to | only )
    | ^ [^.?!\n]{{0,80}} \b (?: outside | beyond | not[ ](?:with)?in | out[ ]of ) [ ] (?: of[ ] )? (?: the[ ] | my[ ] )?
      (?: scope | remit | area[ ]of[ ]expertise ) \b
    | ^ (?: [^.!?\n]{{0,40}} [,;][ ] )? (?: it | th(?:is|at) | doing[ ]so | what[ ]you[ ](?:ask|want|describe) )
      (?:['’]s|[ ](?:is|would[ ]be)) [ ] (?:both[ ])?
      (?: illegal | unethical | dangerous | harmful | against[ ]the[ ]law | a[ ]crime )
      [^.?!\n]{{0,40}} [.,;] [ ] (?:and[ ]|so[ ])? i \b
    | ^ [^.?!\n]{{0,60}} \b (?:this|that|your|such)[ ] (?:[a-z]+[ ])? {_REQUEST} [ ]
      (?: is | are | has[ ]been | have[ ]been | falls? | lies? ) [ ] {_ADVERB}?
      (?: declined | rejected | refused | blocked | denied | restricted | prohibited | off[ -]limits
        | not[ ](?:allowed|permitted|supported)
        | (?: outside | beyond ) [ ] (?:of[ ])? (?: my | what[ ]i | the[ ]scope | our ) )
    """,
    re.VERBOSE,
)
_DECLINED = (
    "i ", "i'", "i’", "no", "let", "th", "wh", "my", "please", "you", "can we", "could we", "sorry", "unf", "it",
    "such",
)  # fmt: skip
# A short answer that says no in the first person and repeats nothing of the question: a refusal if these are rare.
_FIRST_PERSON = re.compile(r"\b(?:i|me|my|myself|we|us|our)\b")
_NEGATED = re.compile(r"n['’]t\b|\b(?:not|no|never|none|nothing|cannot|refuse|decline|unable|sorry|afraid)\b")
_LETTERS = re.compile(r"[^\W\d_]{4,}")
MOST = 30  # words of such an answer
RARE = 0.02  # share of answers up to which these stand out
_PERHAPS = "says no in the first person"
_MODEL = r"""
    (?: (?:[a-z-]+[ ]){0,3}? (?: ai | a\.i\. | artificial[ ]intelligence | language[ ]model | llm | chatbot
      | chat[ ]bot
      | (?:digital|virtual|computer|machine|automated)[ ](?:assistant|program|model|system) | neural[ ]network
        | computer[ ]program )
      \b (?![ ](?:research|engineer|scientist|expert|compan|start-?up|develop|consult|student|enthusiast
        |professional)) )
"""
_SELF = re.compile(
    rf"""
    \b (?: as | being | for | like | since[ ]i(?:['’]m|[ ]am) | because[ ]i(?:['’]m|[ ]am)
      | given[ ]that[ ]i(?:['’]m|[ ]am) )
      [ ] (?:just[ ]|only[ ]|merely[ ])? (?: an? | your ) [ ] {_MODEL}
    | ^ (?:[^.?!\n]{{0,80}} [,.!;][ ])? (?:i['’]?m|i[ ]am) [ ] (?:just[ ]|only[ ]|merely[ ]
      |simply[ ])? an?[ ] {_MODEL}
    | \b i (?:['’]m|[ ]am) [ ] (?:just[ ]|only[ ]|merely[ ])? an?[ ] (?:ai|artificial[ ]intelligence|(?:large[ ]
      |ai[ ])?language[ ]model)\b
    | \b (?: trained | developed | created | made | built | designed ) [ ] by [ ]
      (?: openai | open[ ]ai | anthropic | google | meta | deepmind | microsoft | alibaba | mistral
        | deepseek ) \b
    | \b my[ ] (?: training[ ]data | knowledge[ ]cut-?[ ]?off | last[ ](?:knowledge[ ])?update | pre-?training )
    | \b als[ ] (?: ki | künstliche[ ]intelligenz | (?:ein[ ]|großes[ ])*sprachmodell )
    | \b en[ ]tant[ ]qu (?: ['’]ia | ['’]intelligence[ ]artificielle | e[ ]modèle[ ]de[ ]lang(?:age|ue) )
    | \b como[ ] (?: (?: un[ ] )? modelo[ ]de[ ](?:lenguaje|linguagem) | (?: una[ ]|uma[ ] )? (?:inteligencia
      |inteligência)[ ]artificial )
    | 作为(?:一个|一名)?(?:ai|人工智能|语言模型) | 我是一个(?:ai|人工智能) | 我无法(?:提供|回答|协助)
    """,
    re.VERBOSE,
)


# "I am sorry to hear that …." is sympathy, and what follows it may be help; with "…, but I can't" it is a refusal.
_SYMPATHY = re.compile(
    r"^(?:(?:oh|hi|hello|dear [a-z]+)[,!.]? )?(?:(?:i|we)(?: am| are|['’]m|['’]re)? )?"
    r"(?:(?:very|so|really|truly|sincerely) )*"
    r"(?:sorry (?:to (?:hear|learn|read|see)|that you(?:r|['’]re| are| have)|for (?:the|your|any|this|that|all)"
    r"|about (?:the|your|this|that))|apologi[sz]e for (?:the|your|any|this|that|all))"
    r"(?:(?!,? but\b|,? however\b|, (?:i|we)\b)[^.!?\n])*[.!?]+\s*"
)


def _says_no(head: str, question: str) -> bool:
    if head.count(" ") >= MOST or "help but" in head:
        return False
    if not (_NEGATED.search(head) and _FIRST_PERSON.search(head)):
        return False
    return set(_LETTERS.findall(head)).isdisjoint(set(_LETTERS.findall(question.lower())) - LITTLE_WORDS)


def _may_refuse(head: str) -> bool:
    """Test in a microsecond what the pattern tests in fifty: most answers don't speak of themselves at all."""
    return (head.startswith(_STARTS) or _has_any(head, _OWN)) and _has_any(head, _HINTS)


def _has_any(head: str, words: tuple[str, ...]) -> bool:
    for word in words:  # noqa: SIM110 - any() of a generator takes three times as long
        if word in head:
            return True
    return False


class _Refusals(Finder):
    """Ignores short answers that say no in the first person if many do: people in a dialogue."""

    def __init__(self, rule: Rule, lens: Lens) -> None:
        super().__init__(rule, lens)
        self.sure, self.all, self.perhaps = Tally(rule, lens), Tally(rule, lens), 0

    def add(self, at: int, seen: Sequence[Sequence[str]]) -> None:
        self.all.add(at, seen)
        if seen[0][0] == _PERHAPS:
            self.perhaps += 1
        else:
            self.sure.add(at, seen)

    def finish(self, whole: Whole) -> list[Finding]:
        is_rare = self.perhaps <= RARE * whole.rows
        return (self.all if is_rare else self.sure).finish(whole)


class Refused(Rule):
    about = "answers that refuse, or speak as an AI"
    why = (
        "A model learns to refuse from few such rows, and then refuses what it could do. Keep those that should refuse;"
        " answer or remove the rest."
    )
    fix = ""  # some rows should refuse
    do = "answer what is refused without need, or remove the rows"
    finder = _Refusals

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        if row.record is None or row.is_text or not row.answer:
            return None
        text = row.answer[: 2 * HEAD]
        if "\n" in text or "  " in text or "\t" in text:
            text = _SPACES.sub(" ", text)
        text = text.strip()[:HEAD]
        if sympathy := _SYMPATHY.match(text.lower()):
            text = text[sympathy.end() :]
        head = text.lower()
        if _may_refuse(head) and (match := _REFUSES.search(head)):
            return [Sight("refuses", excerpt(text, *match.span()))]
        may_decline = head.startswith(_DECLINED) or _has_any(head, _OWN[:8])
        if may_decline and _has_any(head, _WAYS) and (match := _DECLINES.search(head)):
            return [Sight("refuses", excerpt(text, *match.span()))]
        if _has_any(head, _NAMES) and (match := _SELF.search(head)):
            return [Sight("speaks of itself as a model", excerpt(text, *match.span()))]
        if len(row.answer) < HEAD and _says_no(head, row.asked):
            return [Sight(_PERHAPS, excerpt(text))]
        return None


PLUGIN = Refused()
