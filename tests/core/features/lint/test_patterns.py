"""Secrets and personal data: what has a known format and checks out, and what only looks like it."""

from __future__ import annotations

import pytest

from finetop.core.features.lint.findings import SHOWN, example, excerpt, masked
from finetop.core.features.lint.pii_patterns import personal_in
from finetop.core.runtime.secret_patterns import secrets_in

KEY = "hf_aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3f"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4OTg3In0.4pcPyMD09olPSyXnrXCjTwXyr4BsezdI1AVTmud2fU4"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("AKIA2E0A8F3B2C7D9Q1Z", "AWS access key"),
        ("ghp_1aB2cD3eF4gH5iJ6kL7mN8oP9qR0sT1uV2wX", "GitHub token"),
        ("sk-ant-api03-9aKf72LmQ0xZ81bVt6Yw3Rc5", "Anthropic key"),
        ("sk-proj-9aKf72LmQ0xZ81bVt6Yw3Rc5", "OpenAI key"),
        (KEY, "Hugging Face token"),
        ("AIzaSyD9aKf72LmQ0xZ81bVt6Yw3Rc5NpGh2Jk4", "Google API key"),
        ("xoxb-2489751034-9aKf72LmQ0xZ81bV", "Slack token"),
        (JWT, "JWT"),
        ("postgres://app:Xk29vTq7@db.internal:5432/x", "password in a URL"),
        ('API_KEY = "9aKf72LmQ0xZ81bVt6Yw3Rc5"', "key that is assigned"),
        ("hf_mQpLiOfwtMpLyDocUWgbAywSfGBCeoBBZee", "Hugging Face token"),
        ("Authorization: Bearer npJE9aJHPlH1pVCDwsgHb6ZB41", "Authorization header"),
        ("aws_secret_access_key = wJa2rXUt9FEMIK7MDENGbPxRfiCYzKq3Lm8Tn5vB", "key that is assigned"),
        ("password: qJ09N0Pfg86TtO", "password that is assigned"),
        ("Server=x;Password=Xk29vTq7Lw;", "password that is assigned"),
        ("glsa_9aKf72LmQ0xZ81bVt6Yw3Rc5NpGh2Jk4_1a2B3c4D", "a service's key"),
        ("dapi3f9c01b27ae84d65901f2c7be8a4d053", "a service's key"),
        ("739104825:AAF9aKf72LmQ0xZ81bVt6Yw3Rc5NpGh2Jk4", "Telegram token"),
        ("-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEow9aKf72LmQ0xZ81bVt6Yw3Rc5" * 3, "private key"),
    ],
)
def test_secrets(text: str, kind: str) -> None:
    (hit,) = secrets_in(f"Use this: {text} now.")
    assert hit.kind == kind
    assert masked(text) != text and len(masked(text)) == len(text)


@pytest.mark.parametrize(
    "text",
    [
        "AKIAXXXXXXXXXXXXXXXX",
        "sk-your-api-key-here-placeholder",
        "the risk-free task-oriented desk-top-publishing",
        "eyJhbGciOi.eyJzdWIiOi.signature",
        "https://user:password@example.com",
        "postgres://user:<password>@host/db",
        "password: P@ssw0rd123! or hunter2",
        "password = os.environ['DB_PASS1'] and token = get_token2(user)",
        "token=self.tokenizer.convertTokensToIds(x)",
        "secret: SharedPreferencesV2KeyName",
        "token: my_very_long_variable_name_without_digits",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    ],
)
def test_what_only_looks_like_a_secret(text: str) -> None:
    assert list(secrets_in(text)) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("anna.kowalska@posteo.net", "e-mail address"),
        ("DE89 3704 0044 0532 0130 00", "IBAN"),
        ("GB82WEST12345698765432", "IBAN"),
        ("4539 1488 0343 6467", "payment card"),
        ("3782-822463-10013", "payment card"),
        ("+49 30 901820 77", "phone number"),
        ("(206) 543-1234", "phone number"),
        ("206-543-1234", "phone number"),
        ("536-22-8726", "US social security number"),
        ("84.23.119.4", "IP address"),
    ],
)
def test_personal_data(text: str, kind: str) -> None:
    assert [hit.kind for hit in personal_in(f"It is {text}, she says.")] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "support@firm.com and jane@example.org",
        "git@github.com:org/repo.git",
        "DE89 3704 0044 0532 0130 01",
        "4539 1488 0343 6468",
        "4111 1111 1111 1111",
        "1-800-438-4380",
        "192.168.0.12 and 10.0.0.1 and 127.0.0.1",
        "version 81.0.4044.138",
        "section 1.2.3.4",
        "12345678901234567890",
        "2019-10-12 and 3.14159265358979",
        "256626720691 + 1646615806005",
        "0.123456789012345",
    ],
)
def test_what_only_looks_personal(text: str) -> None:
    assert list(personal_in(text)) == []


def test_an_example_never_shows_a_part_of_a_secret() -> None:
    for before in range(0, 400, 7):
        text = "a word " * 60
        text = f"{text[:before]} {KEY} {text}"
        for shown in (excerpt(text), excerpt(text, before + 1), example("a:1", text).text):
            assert KEY[8:16] not in shown
            assert len(shown) <= SHOWN + 2
