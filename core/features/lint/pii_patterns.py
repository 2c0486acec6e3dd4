"""Personal data as it appears in text: known formats, with their checksums if they have any."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from stdnum import iban, luhn

from finetop.core.runtime.patterns import Hit, Shape, hits_of

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


def _is_persons(match: re.Match[str]) -> bool:
    name, _, domain = match[0].rpartition("@")
    return not (_SAMPLE_DOMAINS.search(domain) or _OFFICES.match(name))


def _is_phone(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match[0])
    if match[0].startswith(("+", "00")):
        return 9 <= len(digits.removeprefix("00")) <= 15 and len(set(digits)) > 3
    area, exchange, rest = digits[-10:-7], digits[-7:-4], digits[-4:]
    is_free = area in ("800", "833", "844", "855", "866", "877", "888", "900")  # of firms and offices
    is_invented = exchange == "555" and rest.startswith("01")
    return area[0] not in "01" and exchange[0] not in "01" and not is_free and not is_invented


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
    return bool(luhn.is_valid(digits))


def _is_address(match: re.Match[str]) -> bool:
    """Return whether this is a public IP address, not a version (1.2.3.4) or a private address."""
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        parts = address.packed
        if max(parts) < 32 or len(set(parts)) == 1 or 0 in parts[:1]:
            return False
        before = match.string[max(0, match.start() - 12) : match.start()].lower()
        if re.search(r"(?:\bv|version|release|section|chapter|§)\s*$", before):
            return False
        if match[0] in ("8.8.4.4", "9.9.9.9", "208.67.222.222", "255.255.255.255"):
            return False
    return address.is_global


PERSONAL = (
    Shape(
        "e-mail address",
        ("@",),
        re.compile(r"\b[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,12}\b"),
        _is_persons,
    ),
    Shape(
        "IBAN",
        (),
        re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b"),
        lambda found: iban.is_valid(found[0]),
    ),
    Shape(
        "payment card",
        (),
        re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-]|\.\d)"),
        lambda found: is_card(found[0]),
    ),
    Shape(
        "US social security number",
        ("-",),
        re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"),
    ),
    Shape(
        "phone number",
        (),
        re.compile(
            r"(?<![\w.,+/=-])(?<!\d )(?:(?:\+|00)[1-9]\d{0,2}[ .-]?(?:\(\d{1,5}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,4}"
            r"|(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-.])[2-9]\d{2}[-.]\d{4})(?![\w-]|[.,/]\d)"
        ),
        _is_phone,
    ),
    Shape("IP address", (".",), re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)"), _is_address),
)
# as IBANs, cards, phones and addresses have
_HAS_NUMBERS = re.compile(r"\d(?:[ .()/-]{0,3}\d){6}|\d\.\d{1,3}\.\d")


def personal_in(text: str) -> Iterator[Hit]:
    """Find addresses and numbers of persons."""
    yield from hits_of(PERSONAL if _HAS_NUMBERS.search(text) else PERSONAL[:1], text)
