"""A mail's headers say what we mean and nothing else, whatever people call themselves."""

from __future__ import annotations

import email
import re
from dataclasses import replace
from datetime import UTC, datetime
from email.policy import default as default_policy

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tidegate.notify.mail import Mail, MailServer, compose
from tidegate.notify.messages import LINK_TEMPLATES, TEMPLATES, MessageContext, Words, write_inbox, write_mail
from tidegate.notify.rules import MAX_NAME, BadAddress, display_name, split_address
from tidegate.platform.problems import StartupError
from tidegate.platform.settings_notify import MailSettings

HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
NAMES = st.text(max_size=200) | st.text(st.sampled_from('a \r\n\t"<>@,;:\\()[]=?.é\u2028'), max_size=200)


def mail(*, address: str = "ada@example.com", name: str = "Ada", subject: str = "Hello") -> Mail:
    return Mail("key", address, name, Words(subject, "text", "<p>html</p>", ""), datetime(2026, 1, 2, tzinfo=UTC))


@examples(max_examples=40)
@given(NAMES, NAMES)
def test_no_name_changes_who_gets_the_mail(name: str, sender: str) -> None:
    sent = compose(mail(name=name), sender=f"{display_name(sender)} <shop@shop.example>")
    read = email.message_from_bytes(sent, policy=default_policy)
    assert [key for key in read if not key.startswith("Content-T")] == HEADERS[:-1]
    assert [address.addr_spec for address in read["To"].addresses] == ["ada@example.com"]
    assert [address.addr_spec for address in read["From"].addresses] == ["shop@shop.example"]


@examples(max_examples=60)
@given(st.text(max_size=300) | st.emails() | st.text(st.sampled_from('ab@.<>,;: "\\()é'), max_size=20))
def test_an_address_is_one_address_or_none(text: str) -> None:
    try:
        local, domain = split_address(text)
    except BadAddress:
        return
    assert f"{local}@{domain}".count("@") == 1
    assert f"{local}@{domain}".isprintable()
    for name in ("Ada", ""):
        sent = compose(mail(address=text, name=name), sender="shop@shop.example")
        assert len(email.message_from_bytes(sent, policy=default_policy)["To"].addresses) == 1


@given(st.text(max_size=400), st.text(max_size=400))
def test_words_arrive_as_they_were_written(text: str, html: str) -> None:
    words = Words("Grüße", text, f"<p>{html}</p>", "")
    sent = compose(replace(mail(), words=words), sender="shop@shop.example")
    assert max(map(len, sent.split(b"\r\n"))) <= 998
    read = email.message_from_bytes(sent, policy=default_policy)
    assert read["Subject"] == "Grüße"
    for kind, written in (("plain", text), ("html", f"<p>{html}</p>")):
        part = read.get_body((kind,))
        assert part is not None
        assert part.get_content().splitlines() == written.splitlines() or not written


def test_the_link_that_mail_programs_post_to_stays_in_one_piece() -> None:
    url = f"https://shop.example/unsubscribe?token={'a' * 86}"
    sent = compose(replace(mail(), unsubscribe_url=url), sender="shop@shop.example")
    assert f"\r\nList-Unsubscribe: <{url}>\r\n".encode() in sent


@given(NAMES)
def test_a_display_name_is_one_harmless_bounded_line(name: str) -> None:
    shown = display_name(name)
    assert len(shown) <= MAX_NAME
    assert shown == "" or shown.isprintable()
    assert not set(shown) & set('<>@,;:"\\')
    assert display_name(shown) == shown


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("ada@example.com", ("ada", "example.com")),
        ("ada.lovelace+shop@sub.example.co.uk", ("ada.lovelace+shop", "sub.example.co.uk")),
        ("o'neil@example.com", ("o'neil", "example.com")),
        ("ada@bücher.example", ("ada", "xn--bcher-kva.example")),
    ],
)
def test_ordinary_addresses_are_taken(address: str, parts: tuple[str, str]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_escape_what_they_are_given(template: str) -> None:
    variables = {
        "number": "<i>1</i>",
        "total": {"amount": 100, "currency": "GBP"},
        "lines": [
            {"title": "<script>x</script> {{ 7 * 7 }} %s %(total)s", "sku": "\"'>", "quantity": 1, "amount": 100}
        ],
        "order_url": "http://127.0.0.1:8000/orders/1",
        "refund": {"amount": 50, "currency": "GBP"},
        "shipment": {"carrier": "<script>x</script>", "tracking_number": "<b>Ada", "tracking_url": "https://a.example"},
        "title": "<script>x</script> {{ 7 * 7 }} %s %(total)s",
        "topic_title": "<i>1</i>",
        "body": "<script>x</script> {{ 7 * 7 }}\n<b>Ada",
        "url": "http://127.0.0.1:8000/drops/1",
        "unsubscribe_url": 'http://127.0.0.1:8000/unsubscribe?token=a&b="><script>',
    }
    context = MessageContext("<Shop>", "en_GB")
    words = write_mail(template, variables, name="<b>Ada</b>", context=context)
    for raw in ("<script>", "<i>1", "<Shop>", "<b>Ada", "49"):
        assert raw not in words.html
    assert "{{ 7 * 7 }} %s %(total)s" in words.text
    assert "\n" not in words.subject
    assert write_inbox(template, variables, context=context).text


LINK_VARIABLES = {"minutes": 30, "hours": 72, "kind": "drop", "title": "<b>Lamp</b>"}


@pytest.mark.parametrize("template", LINK_TEMPLATES)
def test_mails_with_a_link_carry_it_and_escape_the_rest(template: str) -> None:
    link = "http://127.0.0.1:8000/login/link?token=abc"
    context = MessageContext("<Shop>", "en_GB")
    words = write_mail(template, LINK_VARIABLES | {"link": link}, name="", context=context)
    assert link in words.text
    assert f'href="{link}"' in words.html
    assert re.search("30 minutes|72 hours", words.text)
    assert "<Shop>" not in words.html
    assert "<b>" not in words.html


def test_a_mail_says_which_language_it_speaks() -> None:
    for template in LINK_TEMPLATES:
        variables = LINK_VARIABLES | {"link": "http://x"}
        words = write_mail(template, variables, name="", context=MessageContext("Shop", "de_DE"))
        assert '<html lang="de-DE">' in words.html


@pytest.mark.parametrize("url", ["", "http://x:25", "smtp://", "127.0.0.1:25"])
def test_a_mail_server_that_is_no_address_is_named_at_once(url: str) -> None:
    with pytest.raises(StartupError, match="SMTP_URL"):
        MailServer(MailSettings(smtp_url=url))
