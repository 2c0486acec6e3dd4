"""Secrets and personal data as they look in text: known shapes, with their checksums where they have any."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Hit(NamedTuple):
    """What was found, and where in the text."""

    kind: str
    start: int
    end: int


class _Shape(NamedTuple):
    kind: str
    hints: tuple[
        str, ...
    ]  # one of these stands in every text that has it: looked for first, 20 times as fast
    pattern: re.Pattern[str]
    is_real: Callable[[re.Match[str]], bool] = lambda _: True
    needs: str = ""  # stands in every one of its hints, and in few texts


def _entropy(text: str) -> float:
    """Bits a character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
WORDLIKE = 2.9  # characters of one kind in a row, at the mean: random text has 2.2, getAccessTokenFromV2 3.3
UNLIKE_WORDS = (
    3.8  # is as random, of a text with digits in three places, or behind the beginning that keys have
)


def _is_jumbled(text: str, *, is_key: bool = False) -> bool:
    """Tell random characters from words, whichever way words are joined."""
    parts = _PARTS.findall(text)
    is_key = is_key or sum(part.isdigit() for part in parts) > 2
    return len(parts) > 2 and sum(map(len, parts)) <= (UNLIKE_WORDS if is_key else WORDLIKE) * len(parts)


def _looks_random(found: re.Match[str]) -> bool:
    """Tell a key behind its known beginning from a word or a placeholder: sk-XXXXXXXX, your_api_key_here."""
    text = found[found.lastindex or 0]
    has_both = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    is_random = has_both or _is_jumbled(text, is_key=True)
    return is_random and _entropy(text) >= 3.0 and not _PLACEHOLDER.search(text)


def _is_assigned_key(found: re.Match[str]) -> bool:
    """Tell a key from code and prose that stands behind the same words: token = get_token2(), token: undefined."""
    text = found[1]
    return _is_jumbled(text) and _entropy(text) >= 3.0 and not _PLACEHOLDER.search(text)


def _is_assigned_password(found: re.Match[str]) -> bool:
    """Tell a password from what is often written for one: Passw0rd!, hunter2, process.env.DB_PASS1."""
    text = found[1]
    kinds = sum(any(test(c) for c in text) for test in (str.islower, str.isupper, str.isdigit))
    plain = text.lower().translate(_LEET)
    is_sample = any(word in plain for word in _WEAK) or _PLACEHOLDER.search(text)
    return kinds >= 2 and _is_jumbled(text) and not is_sample


def _is_jwt(found: re.Match[str]) -> bool:
    head = found[0].partition(".")[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(decoded, dict) and "alg" in decoded


def _is_password(found: re.Match[str]) -> bool:
    word = found[1]
    return not (_PLACEHOLDER.search(word) or word.lower() in _SAMPLE_PASSWORDS or word[0] in "<$%*{[")


_PLACEHOLDER = re.compile(
    r"(?i)your|example|sample|placeholder|xxxx|1234567|abcdef|\.\.\.|\*\*\*|redacted|dummy|changeme|here$"
)
_SAMPLE_PASSWORDS = {
    "password",
    "passwd",
    "pass",
    "pwd",
    "secret",
    "token",
    "user",
    "username",
    "postgres",
    "root",
}

_IS = r"[\"'`*]{0,3}(?:\s{0,3}(?::=|=>|[:=]{1,3})|\s(?:is|was)\b:?)\s{0,3}[\"'`]?"  # between a name and its value
_LEET = str.maketrans("013457@$!", "oieastasi")
_WEAK = (
    "pass",
    "pwd",
    "secret",
    "admin",
    "welcome",
    "letmein",
    "qwert",
    "hunter",
    "test",
    "user",
    "env.",
    "login",
)
# Beginnings that services give their keys, and what follows; all of random characters.
_SERVICES = {
    "a3-": r"[A-Z0-9]{6}-[A-Z0-9]{5,11}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}", "AGE-SECRET-KEY-1": r"[A-Z0-9]{58}",
    "AKCp": r"[A-Za-z0-9]{60,}", "ATATT3": r"[\w=-]{60,}", "ATBB": r"[A-Za-z0-9]{24,}",
    "dapi": r"[a-f0-9]{32}(?:-\d)?", "dckr_pat_": r"[\w-]{20,}", "dop_v1_": r"[a-f0-9]{64}",
    "dp.pt.": r"[A-Za-z0-9]{40,}", "figd_": r"[\w-]{36,}", "fm2_": r"[A-Za-z0-9+/=]{60,}",
    "glc_": r"[A-Za-z0-9+/=]{32,}", "glsa_": r"[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}", "GOCSPX-": r"[\w-]{24,}",
    "gsk_": r"[A-Za-z0-9]{40,}", "HRKU-": r"[\w-]{36,}", "hvs.": r"[\w-]{24,}", "key-": r"[0-9a-f]{32}",
    "lin_api_": r"[A-Za-z0-9]{36,}", "nfp_": r"[A-Za-z0-9]{36,}", "NRAK-": r"[A-Z0-9]{27}",
    "ntn_": r"[A-Za-z0-9]{40,}", "ops_eyJ": r"[A-Za-z0-9+/=]{60,}", "PMAK-": r"[a-f0-9]{24}-[a-f0-9]{34}",
    "pplx-": r"[A-Za-z0-9]{40,}", "pscale_": r"(?:pw|tkn|oauth)_[\w.=-]{32,}", "pul-": r"[a-f0-9]{40}",
    "r8_": r"[A-Za-z0-9]{36,}", "rubygems_": r"[a-f0-9]{48}", "sbp_": r"[a-f0-9]{40}",
    "shpat_": r"[A-Fa-f0-9]{32}", "shpca_": r"[A-Fa-f0-9]{32}", "shppa_": r"[A-Fa-f0-9]{32}",
    "shpss_": r"[A-Fa-f0-9]{32}", "sntrys_": r"[\w+/=-]{40,}", "sq0": r"(?:atp|csp)-[\w-]{22,}",
    "whsec_": r"[A-Za-z0-9+/=]{30,}", "xai-": r"[A-Za-z0-9]{60,}", "xapp-": r"\d-[A-Z0-9]+-\d+-[a-z0-9]+",
    "xkeysib-": r"[a-f0-9]{64}-[A-Za-z0-9]{16}", "ya29.": r"[\w-]{30,}",
}  # fmt: skip


def _service_key(beginnings: list[str], needs: str = "") -> _Shape:
    any_of = "|".join(re.escape(one) + _SERVICES[one] for one in beginnings)
    pattern = re.compile(rf"(?<![\w-])({any_of})(?![\w-])")
    return _Shape("a service's key", tuple(beginnings), pattern, _looks_random, needs)


PASSWORD = "password that is assigned"
SECRETS = (
    _Shape(
        "AWS access key",
        ("AKIA", "ASIA", "ABIA", "ACCA"),
        re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)([0-9A-Z]{16})\b"),
        _looks_random,
    ),
    _Shape(
        "GitHub token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255})\b"),
        _looks_random,
    ),
    _Shape(
        "GitLab token",
        ("glpat-", "gldt-", "glrt-", "glptt-"),
        re.compile(r"\b(gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,})"),
        _looks_random,
    ),
    _Shape("Anthropic key", ("sk-ant-",), re.compile(r"\b(sk-ant-[A-Za-z0-9_-]{24,})"), _looks_random),
    _Shape(
        "OpenAI key",
        ("sk-",),
        re.compile(r"\b(sk-(?!ant-)(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,})"),
        _looks_random,
    ),
    _Shape("Hugging Face token", ("hf_",), re.compile(r"\b(hf_[A-Za-z0-9]{30,})\b"), _looks_random, "_"),
    _Shape("Slack token", ("xox",), re.compile(r"\b(xox[abeoprs]-[0-9A-Za-z-]{16,})"), _looks_random),
    _Shape(
        "Slack webhook",
        ("hooks.slack.com",),
        re.compile(r"hooks\.slack\.com/services/(T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,})"),
        _looks_random,
    ),
    _Shape("Google API key", ("AIza",), re.compile(r"\b(AIza[0-9A-Za-z_-]{35})"), _looks_random),
    _Shape(
        "Stripe key",
        ("k_live_", "k_prod_"),
        re.compile(r"\b([sr]k_(?:live|prod)_[0-9A-Za-z]{20,})\b"),
        _looks_random,
    ),
    _Shape("SendGrid key", ("SG.",), re.compile(r"\b(SG\.[\w-]{16,32}\.[\w-]{16,64})"), _looks_random),
    _Shape("Twilio key", ("SK",), re.compile(r"\b(SK[0-9a-f]{32})\b"), _looks_random),
    _Shape("Telegram token", (":AA",), re.compile(r"(?<!\d)(\d{8,10}:AA[\w-]{33})(?![\w-])"), _looks_random),
    _Shape(
        "Discord token",
        ("iscord", "DISCORD"),
        re.compile(r"\b([MNO][A-Za-z\d_-]{23,25}\.[\w-]{6}\.[\w-]{27,38})(?![\w-])"),
        _looks_random,
    ),
    _Shape(
        "Discord webhook",
        ("/api/webhooks/",),
        re.compile(r"discord(?:app)?\.com/api/webhooks/(\d{15,20}/[\w-]{60,})"),
        _looks_random,
    ),
    _Shape("Mailchimp key", ("-us",), re.compile(r"\b([0-9a-f]{32}-us\d{1,2})\b"), _looks_random),
    _service_key([one for one in _SERVICES if "_" in one], needs="_"),
    _service_key([one for one in _SERVICES if "_" not in one]),
    _Shape("npm token", ("npm_",), re.compile(r"\b(npm_[A-Za-z0-9]{36})\b"), _looks_random),
    _Shape("PyPI token", ("pypi-",), re.compile(r"\b(pypi-[A-Za-z0-9_-]{50,})"), _looks_random),
    _Shape(
        "private key",
        ("PRIVATE KEY-----",),
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(?=\s*[A-Za-z0-9+/=:, \n\\-]{40})"
            r"(?:[^-]{1,20000}-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----)?"
        ),
    ),
    _Shape("JWT", ("eyJ",), re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{16,}"), _is_jwt),
    _Shape(
        "password in a URL",
        ("://",),
        re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>]{1,64}:([^\s/:@\"'<>]{3,64})@[\w.-]{2,}"),
        _is_password,
    ),
    _Shape(
        "Authorization header",
        ("earer", "BEARER", "uthorization", "AUTHORIZATION"),
        re.compile(
            r"(?i)(?:\bbearer|authorization[\"']?\s{0,2}[:=]\s{0,2}[\"']?(?:basic|token|apikey|bearer)?)"
            r"\s{1,2}([A-Za-z0-9+/_=.~-]{16,512})"
        ),
        _is_assigned_key,
    ),
    _Shape(
        "key that is assigned",
        ("key", "Key", "KEY", "oken", "OKEN", "ecret", "ECRET", "redential", "REDENTIAL"),
        re.compile(
            rf"(?i)(?:(?:api|access|account|auth|encryption|private|shared|signing|license)[ _-]?key|secret|token"
            rf"|credentials?)[\w-]{{0,20}}{_IS}([A-Za-z0-9+/_=.-]{{16,256}})(?![\w(\[])"
        ),
        _is_assigned_key,
    ),
    _Shape(
        PASSWORD,
        ("passw", "Passw", "PASSW", "pwd", "Pwd", "PWD", "passphrase", "Passphrase", "_pass", "_PASS"),
        re.compile(
            rf"(?i)(?:passw(?:or)?d|pwd|passphrase|_pass)[\w-]{{0,12}}{_IS}"
            r"([A-Za-z0-9!#$%&*+/=?@^_~.-]{8,64})(?![\w(\[{<])"
        ),
        _is_assigned_password,
    ),
)

_SAMPLE_DOMAINS = re.compile(
    r"(?i)(?:^|\.)(?:example(?:\.\w+)?|test|invalid|localhost|local|domain\.\w+|email\.com|mail\.com|yourdomain\.\w+|"
    r"company\.com|yourcompany\.\w+|acme\.\w+|contoso\.com|fabrikam\.com|abc\.com|xyz\.com|sample\.\w+|png|jpg|py|js)$"
)
_OFFICES = re.compile(
    r"(?i)^(?:info|contact|support|help|helpdesk|sales|office|admin|administrator|webmaster|postmaster|noreply|"
    r"no-reply|donotreply|service|customer\.?service|hello|press|media|jobs|careers|privacy|legal|billing|feedback|"
    r"team|mail|email|git|name|user|username|you|your\.?name|someone|somebody|me|abc|xyz|test|example|"
    r"firstname\.lastname|first\.last|john\.?doe|jane\.?doe|john\.?smith|johndoe\d*|janedoe\d*)$"
)


def _is_persons(found: re.Match[str]) -> bool:
    name, _, domain = found[0].rpartition("@")
    return not (_SAMPLE_DOMAINS.search(domain) or _OFFICES.match(name))


def _is_phone(found: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", found[0])
    if found[0].startswith(("+", "00")):
        return 9 <= len(digits.removeprefix("00")) <= 15 and len(set(digits)) > 3
    area, exchange, rest = digits[-10:-7], digits[-7:-4], digits[-4:]
    is_free = area in ("800", "833", "844", "855", "866", "877", "888", "900")  # of firms and offices
    is_invented = exchange == "555" and rest.startswith("01")
    return area[0] not in "01" and exchange[0] not in "01" and not is_free and not is_invented


_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24,
    "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip


def is_iban(text: str) -> bool:
    """Check an IBAN's length for its country, and its checksum (ISO 13616: the number modulo 97 is 1)."""
    packed = re.sub(r"[ -]", "", text)
    if _IBAN_LENGTHS.get(packed[:2]) != len(packed):
        return False
    return int("".join(str(int(c, 36)) for c in packed[4:] + packed[:4])) % 97 == 1


_SAMPLE_CARDS = {
    "4111111111111111", "4242424242424242", "4012888888881881", "5555555555554444", "5105105105105100",
    "378282246310005", "371449635398431", "6011111111111117", "6011000990139424", "30569309025904", "4000056655665556",
}  # fmt: skip


def is_card(text: str) -> bool:
    """Check a payment card's prefix and length, and its checksum (Luhn)."""
    digits = re.sub(r"\D", "", text)
    is_known = (
        (digits[0] == "4" and len(digits) == 16)
        or (len(digits) == 16 and (51 <= int(digits[:2]) <= 55 or 2221 <= int(digits[:4]) <= 2720))
        or (len(digits) == 15 and digits[:2] in ("34", "37"))
        or (len(digits) == 16 and (digits[:4] == "6011" or digits[:2] in ("65", "35")))
        or (len(digits) == 14 and (digits[:2] in ("36", "38") or 300 <= int(digits[:3]) <= 305))
    )
    if not is_known or digits in _SAMPLE_CARDS or len(set(digits)) < 4:
        return False
    doubled = [int(d) * (2 if i % 2 else 1) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _is_address(found: re.Match[str]) -> bool:
    """Tell the address of a machine in the internet from a version (1.2.3.4) and from addresses within networks."""
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        parts = address.packed
        if max(parts) < 32 or len(set(parts)) == 1 or 0 in parts[:1]:
            return False
        before = found.string[max(0, found.start() - 12) : found.start()].lower()
        if re.search(r"(?:\bv|version|release|section|chapter|§)\s*$", before):
            return False
        if found[0] in ("8.8.4.4", "9.9.9.9", "208.67.222.222", "255.255.255.255"):
            return False
    return address.is_global


PERSONAL = (
    _Shape(
        "e-mail address",
        ("@",),
        re.compile(r"\b[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,12}\b"),
        _is_persons,
    ),
    _Shape(
        "IBAN",
        (),
        re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b"),
        lambda found: is_iban(found[0]),
    ),
    _Shape(
        "payment card",
        (),
        re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-]|\.\d)"),
        lambda found: is_card(found[0]),
    ),
    _Shape(
        "US social security number",
        ("-",),
        re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"),
    ),
    _Shape(
        "phone number",
        (),
        re.compile(
            r"(?<![\w.,+/=-])(?<!\d )(?:(?:\+|00)[1-9]\d{0,2}[ .-]?(?:\(\d{1,5}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,4}"
            r"|(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-.])[2-9]\d{2}[-.]\d{4})(?![\w-]|[.,/]\d)"
        ),
        _is_phone,
    ),
    _Shape("IP address", (".",), re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)"), _is_address),
)
_HAS_NUMBERS = re.compile(
    r"\d(?:[ .()/-]{0,3}\d){6}|\d\.\d{1,3}\.\d"
)  # as IBANs, cards, phones and addresses have


def secrets_in(text: str) -> Iterator[Hit]:
    """Find keys, tokens and passwords."""
    yield from _hits(SECRETS, text)


def personal_in(text: str) -> Iterator[Hit]:
    """Find addresses and numbers of persons."""
    yield from _hits(PERSONAL if _HAS_NUMBERS.search(text) else PERSONAL[:1], text)


def _hits(shapes: tuple[_Shape, ...], text: str) -> Iterator[Hit]:
    taken: list[tuple[int, int]] = []
    for shape in shapes:
        if shape.needs not in text:
            continue
        if shape.hints and not any(hint in text for hint in shape.hints):
            continue
        for found in shape.pattern.finditer(text):
            start, end = found.span(found.lastindex or 0)
            if any(start < other_end and end > other for other, other_end in taken):
                continue
            if shape.is_real(found):
                taken.append((start, end))
                yield Hit(shape.kind, start, end)
