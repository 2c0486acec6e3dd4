"""Patterns of keys, tokens and passwords: what lint finds in rows, and what recipes and notes must not contain."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Iterator

from finetop.core.runtime.patterns import Hit, Shape, has_hint, hits_of


def _entropy(text: str) -> float:
    """Return the bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
WORDLIKE = 2.9  # mean run length of one kind of character: random text has 2.2, getAccessTokenFromV2 3.3
# is as random, of a text with digits in three places, or behind the beginning that keys have
UNLIKE_WORDS = 3.8


def _is_jumbled(text: str, *, is_key: bool = False) -> bool:
    """Return whether characters look random instead of joined words."""
    parts = _PARTS.findall(text)
    is_key = is_key or sum(part.isdigit() for part in parts) > 2
    return len(parts) > 2 and sum(map(len, parts)) <= (UNLIKE_WORDS if is_key else WORDLIKE) * len(parts)


def _looks_random(match: re.Match[str]) -> bool:
    """Distinguish a key after its known prefix from a word or a placeholder: sk-XXXXXXXX, your_api_key_here."""
    text = match[match.lastindex or 0]
    has_both = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    is_random = has_both or _is_jumbled(text, is_key=True)
    return is_random and _entropy(text) >= 3.0 and not _PLACEHOLDER.search(text)


def _is_assigned_key(match: re.Match[str]) -> bool:
    """Distinguish a key from code and prose after the same words: token = get_token2(), token: undefined."""
    text = match[1]
    return _is_jumbled(text) and _entropy(text) >= 3.0 and not _PLACEHOLDER.search(text)


def _is_assigned_password(match: re.Match[str]) -> bool:
    """Distinguish a password from common stand-ins: Passw0rd!, hunter2, process.env.DB_PASS1."""
    text = match[1]
    kinds = sum(any(test(c) for c in text) for test in (str.islower, str.isupper, str.isdigit))
    plain = text.lower().translate(_LEET)
    is_sample = any(word in plain for word in _WEAK) or _PLACEHOLDER.search(text)
    return kinds >= 2 and _is_jumbled(text) and not is_sample


def _is_jwt(match: re.Match[str]) -> bool:
    head = match[0].partition(".")[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(decoded, dict) and "alg" in decoded


def _has_key(match: re.Match[str]) -> bool:
    """Distinguish a private key from its first line alone, or with dots instead of the key."""
    return _KEY.match(match.string, match.start()) is not None


def _is_password(match: re.Match[str]) -> bool:
    word = match[1]
    return not (_PLACEHOLDER.search(word) or word.lower() in _SAMPLE_PASSWORDS or word[0] in "<$%*{[")


_PLACEHOLDER = re.compile(
    r"(?i)your|example|sample|placeholder|xxxx|1234567|abcdef|\.\.\.|\*\*\*|redacted|dummy|changeme|here$"
)
_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----\s*[A-Za-z0-9+/=:, \n\\-]{40}")
_SAMPLE_PASSWORDS = {
    "password", "passwd", "pass", "pwd", "secret", "token", "user", "username", "postgres", "root",
}  # fmt: skip

_IS = r"[\"'`*]{0,3}(?:\s{0,3}(?::=|=>|[:=]{1,3})|\s(?:is|was)\b:?)\s{0,3}[\"'`]?"  # between a name and its value
_LEET = str.maketrans("013457@$!", "oieastasi")
_WEAK = (
    "pass", "pwd", "secret", "admin", "welcome", "letmein", "qwert", "hunter", "test", "user", "env.", "login",
)  # fmt: skip
# Prefixes of services' keys, and the random characters that follow.
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


def _key(kind: str, pattern: str, *hints: str, needs: str = "") -> Shape:
    return Shape(kind, hints, re.compile(pattern), _looks_random, needs)


def _service_key(beginnings: list[str], needs: str = "") -> Shape:
    any_of = "|".join(re.escape(prefix) + _SERVICES[prefix] for prefix in beginnings)
    return _key("a service's key", rf"(?<![\w-])({any_of})(?![\w-])", *beginnings, needs=needs)


PASSWORD = "password that is assigned"
SECRETS = (
    _key("AWS access key", r"\b(?:AKIA|ASIA|ABIA|ACCA)([0-9A-Z]{16})\b", "AKIA", "ASIA", "ABIA", "ACCA"),
    _key(
        "GitHub token",
        r"\b(gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{30,255})\b",
        *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    _key("GitLab token", r"\b(gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,})", "glpat-", "gldt-", "glrt-", "glptt-"),
    _key("Anthropic key", r"\b(sk-ant-[A-Za-z0-9_-]{24,})", "sk-ant-"),
    _key("OpenAI key", r"\b(sk-(?!ant-)(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,})", "sk-"),
    _key("Hugging Face token", r"\b(hf_[A-Za-z0-9]{30,})\b", "hf_", needs="_"),
    _key("Slack token", r"\b(xox[abeoprs]-[0-9A-Za-z-]{16,})", "xox"),
    _key(
        "Slack webhook",
        r"hooks\.slack\.com/services/(T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,})",
        "hooks.slack.com",
    ),
    _key("Google API key", r"\b(AIza[0-9A-Za-z_-]{35})", "AIza"),
    _key("Stripe key", r"\b([sr]k_(?:live|prod)_[0-9A-Za-z]{20,})\b", "k_live_", "k_prod_"),
    _key("SendGrid key", r"\b(SG\.[\w-]{16,32}\.[\w-]{16,64})", "SG."),
    _key("Twilio key", r"\b(SK[0-9a-f]{32})\b", "SK"),
    _key("Telegram token", r"(?<!\d)(\d{8,10}:AA[\w-]{33})(?![\w-])", ":AA"),
    _key(
        "Discord token", r"\b([MNO][A-Za-z\d_-]{23,25}\.[\w-]{6}\.[\w-]{27,38})(?![\w-])", "iscord", "DISCORD"
    ),
    _key("Discord webhook", r"discord(?:app)?\.com/api/webhooks/(\d{15,20}/[\w-]{60,})", "/api/webhooks/"),
    _key("Mailchimp key", r"\b([0-9a-f]{32}-us\d{1,2})\b", "-us"),
    _service_key([one for one in _SERVICES if "_" in one], needs="_"),
    _service_key([one for one in _SERVICES if "_" not in one]),
    Shape(
        "Weights & Biases key",
        ("wandb", "WANDB"),
        re.compile(r"(?i)wandb[_-]?(?:api[_-]?)?key\W{1,5}([0-9a-f]{40})\b"),
    ),
    _key("npm token", r"\b(npm_[A-Za-z0-9]{36})\b", "npm_"),
    _key("PyPI token", r"\b(pypi-[A-Za-z0-9_-]{50,})", "pypi-"),
    Shape(
        "private key",
        ("PRIVATE KEY-----",),
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"
            r"(?:[^-]{1,20000}-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----)?"
        ),
        _has_key,
    ),
    Shape("JWT", ("eyJ",), re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{16,}"), _is_jwt),
    Shape(
        "password in a URL",
        ("://",),
        re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>]{1,64}:([^\s/:@\"'<>]{3,64})@[\w.-]{2,}"),
        _is_password,
    ),
    Shape(
        "Authorization header",
        ("earer", "BEARER", "uthorization", "AUTHORIZATION"),
        re.compile(
            r"(?i)(?:\bbearer|authorization[\"']?\s{0,2}[:=]\s{0,2}[\"']?(?:basic|token|apikey|bearer)?)"
            r"\s{1,2}([A-Za-z0-9+/_=.~-]{16,512})"
        ),
        _is_assigned_key,
    ),
    Shape(
        "key that is assigned",
        ("key", "Key", "KEY", "oken", "OKEN", "ecret", "ECRET", "redential", "REDENTIAL"),
        re.compile(
            rf"(?i)(?:(?:api|access|account|auth|encryption|private|shared|signing|license)[ _-]?key|secret"
            rf"|token(?!i[sz])"
            rf"|credentials?)[\w-]{{0,20}}{_IS}([A-Za-z0-9+/_=.-]{{16,256}})(?![\w(\[])"
        ),
        _is_assigned_key,
    ),
    Shape(
        PASSWORD,
        ("passw", "Passw", "PASSW", "pwd", "Pwd", "PWD", "passphrase", "Passphrase", "_pass", "_PASS"),
        re.compile(
            rf"(?i)(?:passw(?:or)?d|pwd|passphrase|_pass)[\w-]{{0,12}}{_IS}"
            r"([A-Za-z0-9!#$%&*+/=?@^_~.-]{8,64})(?![\w(\[{<])"
        ),
        _is_assigned_password,
    ),
)
LONG = 16  # characters without a space, as all secrets have except these: most texts have no such word
_SHORTER = tuple(shape for shape in SECRETS if shape.kind in ("private key", "password in a URL", PASSWORD))
_ANYWHERE = {  # may contain spaces
    *(shape.kind for shape in _SHORTER),
    *("Discord token", "Authorization header", "key that is assigned", "Weights & Biases key"),
}


def secrets_in(text: str) -> Iterator[Hit]:
    """Yield keys, tokens and passwords."""
    long, shapes = " ".join([word for word in text.split() if len(word) >= LONG]), _SHORTER
    if long:
        shapes = tuple(shape for shape in SECRETS if shape.kind in _ANYWHERE or has_hint(shape, long))
    yield from hits_of(shapes, text)
