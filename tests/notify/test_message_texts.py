"""Texts of messages: what they may use is declared, merchants' own are tried and bounded, and used within seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default as default_policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notify.postbox import Postbox
from tidegate.notify.addresses import sealed_address
from tidegate.notify.contracts import MessageText, MessageUnfit, TextChanged
from tidegate.notify.deliveries import deliver_due, on_order_events
from tidegate.notify.inbox import list_inbox
from tidegate.notify.mail import compose
from tidegate.notify.mail_adapter import MailWriter
from tidegate.notify.message_kinds import KINDS, Kind, variables_of
from tidegate.notify.message_texts import BUILT_IN, CHECK_S, Texts, current_texts, drop_text, find_text, keep_text
from tidegate.notify.messages import MessageContext, built_in, values_of, write_inbox, write_mail
from tidegate.notify.outcomes import Delivery
from tidegate.notify.own_texts import MAX_OUTPUT, OwnText, read_text
from tidegate.notify.previews import as_kept, as_typed, preview, try_text
from tidegate.notify.text_checks import TextWrong
from tidegate.notify.trial_mails import TRIAL_TOPIC, mail_trial, on_trial
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.outbox import Event
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.settings import Settings

EVENT, TOPIC = new_id(), new_id()
LOCALES = ("en_GB", "de_DE")
EVERY = [(kind, locale) for kind in KINDS.values() for locale in LOCALES]
PAID = KINDS["order_paid"]
ORDER: dict[str, Any] = {
    "number": "T-1",
    "total": {"amount": 100, "currency": "GBP"},
    "lines": [{"title": "Lamp", "sku": "LAMP", "quantity": 1, "amount": 100}],
    "order_url": "http://127.0.0.1:8000/orders/1",
    "refund": None,
}


def own(kind: Kind = PAID, *, language: str = "en", revision: int = 0, **parts: str) -> MessageText:
    return MessageText(template=kind.name, language=language, revision=revision).with_parts(parts)


def tried(kind: Kind = PAID, *, locale: str = "en_GB", **parts: str) -> str:
    """What is wrong with the first wrong part of a text; empty when nothing is."""
    try:
        try_text(kind, own(kind).with_parts(parts), shop_name="Shop", locale=locale)
    except InvalidRequest as problem:
        (wrong, *_more) = problem.extra["errors"].values()
        return str(wrong)
    return ""


@pytest.mark.parametrize(("kind", "locale"), EVERY, ids=lambda each: getattr(each, "name", each))
def test_what_merchants_start_from_says_the_same_as_the_built_in_text(kind: Kind, locale: str) -> None:
    start = as_typed(kind, own(kind), locale=locale)
    try_text(kind, start, shop_name="Shop", locale=locale)
    for part in kind.parts:
        assert "_(" not in start.part(part)
        template = read_text(kind, part, start.part(part), locale=locale)
        for example in kind.examples:
            values = values_of(example, MessageContext("Shop", locale))
            whole = built_in(kind, part, values, locale=locale)
            assert template.render(values) == (whole.strip() if part == "subject" else whole)
    assert as_kept(kind, start, locale=locale).is_built_in


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_variable_that_is_told_of_can_be_used(kind: Kind) -> None:
    for variable in variables_of(kind, locale="en_GB"):
        values = values_of(kind.example, MessageContext("Shop", "en_GB"))
        whole = read_text(kind, "txt", f"{{{{ {variable.path} }}}}", locale="en_GB").render(values)
        assert variable.words
        if variable.example:
            assert whole == variable.example


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"number": 7}, "order_paid: Expected `str`, got `int` - at `$.number`"),
        ({"total": {"amount": "much"}}, "got `str` - at `$.total.amount`"),
        ({"lines": [ORDER["lines"][0]] * 501}, "Expected `array` of length <= 500"),
        ({"lines": None}, "order_paid: "),
    ],
)
def test_variables_that_do_not_fit_are_named_and_not_repeated(variables: dict[str, Any], reason: str) -> None:
    context = MessageContext("Shop", "en_GB")
    for write in (write_inbox, lambda *args, **more: write_mail(*args, name="Ada", **more)):
        with pytest.raises(MessageUnfit) as caught:
            write("order_paid", ORDER | variables, context=context)
        assert reason in str(caught.value)
        assert "much" not in str(caught.value)
    with pytest.raises(MessageUnfit, match="missing required field `link`"):
        write_mail("account_login", {"minutes": 3}, name="", context=context)
    with pytest.raises(MessageUnfit, match="no message called"):
        write_inbox("nothing", {}, context=context)
    with pytest.raises(MessageUnfit, match="not for inboxes"):
        write_inbox("account_login", {}, context=context)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("a\n{{ nummer }}", "Line 2: There is no nummer here. There are: number, "),
        ("{% if false %}\n\n{{ total.amuont }}{% endif %}", "Line 3: There is no .amuont here. There are: amount, "),
        ("{{ link }}", "Line 1: There is no link here."),
        ("{% for x in lines %}\n{{ x.titel }}{% endfor %}", "Line 2: There is no .titel here."),
        ("{% for x in number %}{{ x }}{% endfor %}", "Line 1: This is not a list."),
        ("{% for x in range(9999) %}x{% endfor %}", "Line 1: This cannot be used in a text: calling anything but"),
        ("{% if number %}x", "Line 1: This cannot be read: Unexpected end of template."),
        ("{{ number | wordwrap }}", "Line 1: This cannot be used in a text: | wordwrap."),
        ("{{ number | nothing }}", "Line 1: This cannot be used in a text: | nothing."),
        ("{% set x = number %}", "Line 1: This cannot be used in a text: {% set %}."),
        ("{{ 'x' * 999999999 }}", "Line 1: This cannot be used in a text: *."),
        ("{{ 9 ** 9 ** 9 }}", "Line 1: This cannot be used in a text: **."),
        ("{{ '%099999999d' % 1 }}", "Line 1: This cannot be used in a text: %."),
        ("{{ '%099999999d' | format(1) }}", "| format"),
        ("{{ number | replace('1', 'xx') }}", "| replace"),
        ("{{ number | center(99999999) }}", "| center"),
        ("{{ [1, 2] | join(number) }}", "| join"),
        ("{{ _('%(x)99999999s', x=1) }}", "calling anything but"),
        ("{{ lipsum(n=99999) }}", "calling anything but"),
        ("{{ number.upper() }}", "calling anything but"),
        ("{{ number.__class__.__mro__ }}", "There is no .__class__ here."),
        ("{{ self.__init__ }}", "There is no self here."),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% macro %}"),
        ("{% include 'order.txt' %}", "{% include %}"),
        ("{% import 'order.txt' as x %}", "{% import %}"),
        ("{% extends 'dev_mail.html' %}", "A text may extend account.html"),
        ("{% extends 'ord' ~ 'er.txt' %}", "A text may extend account.html"),
        ("{% extends 'order.txt' %}\n\nHello", "Line 3: What stands outside of the blocks is not shown."),
        ("{% extends 'order.txt' %}\n{% block headline %}x{% endblock %}", "Line 2: order.txt has no block headline"),
        ("{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}", "calling anything but"),
        ("{{ number + 1 }}", "Line 1: TypeError: "),
        ("a\n{{ (address.phone | length) }}", "Line 2: "),
        ("{% for a in lines recursive %}{{ loop(lines) }}{% endfor %}", "Line 1: This cannot be used in a text"),
        ("{% for a in lines %}" * 3 + "{% endfor %}" * 3, "Not more than 2 loops inside one another."),
        ("(" * 400 + "{{" + "(" * 400 + "1" + ")" * 400 + "}}", "This is too long or too deep to be read."),
        ("{{" + "-" * 70 + "1 }}", "Too much is inside one another here."),
        ("{{" + "9" * 5_000 + "}}", "This is too long or too deep to be read."),
        ("{% if number %}" * 120 + "{% endif %}" * 120, "Too much is inside one another here."),
        (" ", "The text is empty with the example values."),
        ("x" * 16_001, "Use at most 16000 characters."),
    ],
)
def test_what_a_text_may_not_do_is_refused_with_line_and_reason(source: str, reason: str) -> None:
    assert reason in tried(txt=source)


def test_a_subject_knows_only_what_the_inbox_may_say() -> None:
    assert "There is no name here" in tried(subject="{{ name }}, thank you")
    assert tried(subject="Thank you for {{ number }}") == ""
    assert "Use at most 200 characters." in tried(subject="x" * 201)


def test_a_mail_that_must_show_a_link_does() -> None:
    for name, must in (("drop_open", "unsubscribe_url"), ("message", "unsubscribe_url"), ("account_reset", "link")):
        for part in ("txt", "html"):
            assert f"{{{{ {must} }}}}" in tried(KINDS[name], **{part: "Hello"})
            assert tried(KINDS[name], **{part: f"Hello {{{{ {must} }}}}"}) == ""


def test_people_s_words_stay_words_in_html() -> None:
    text = own(html="{% for each in lines %}{{ each.title }}{% endfor %}")
    shown = try_text(PAID, text, shop_name="S", locale="en_GB")
    assert shown.html == "Harbour Lamp, brassTea towel &lt;linen&gt; &amp; cotton"
    assert "| safe" in tried(html="{{ number | safe }}")


def test_the_longest_text_stops_at_its_bound() -> None:
    # were it not stopped on the way, this would be a text of a terabyte
    loops = "{% for a in lines %}{% for b in lines %}" + "x" * 10_000 + "{% endfor %}{% endfor %}"
    values = values_of(PAID.example, MessageContext("Shop", "en_GB")) | {"lines": PAID.example.lines * 5_000}
    with pytest.raises(TextWrong, match="too long"):
        read_text(PAID, "txt", loops, locale="en_GB").render(values)
    assert len(read_text(PAID, "txt", "x" * 16_000, locale="en_GB").render(values)) < MAX_OUTPUT


@given(source=st.text(alphabet=st.sampled_from("{}%|()[]'\"-. \nabcnumberifforinlines_0+*~="), max_size=60))
def test_whatever_is_typed_is_taken_or_refused_with_words(source: str) -> None:
    reason = tried(txt="{{ " + source + " }}" if len(source) % 2 else source)
    assert reason == "" or reason.endswith(".") or ":" in reason


def test_each_reads_their_language_and_what_cannot_be_used_is_stood_in_for() -> None:
    texts = Texts(
        {
            ("order_paid", "de"): own(language="de", subject="Danke für {{ number }}", inbox="Danke."),
            ("order_sent", "de"): own(KINDS["order_sent"], language="de", subject="{{ gone }}"),
        },
        home="de",
    )

    def subject(locale: str, template: str = "order_paid") -> str:
        kind = KINDS[template]
        return preview(kind, texts, shop_name="Shop", locale=locale).subject

    assert subject("de_AT") == "Danke für T-4211"
    assert subject("en_GB") == "Your order T-4211 is paid"
    assert subject("fr_FR") == "Danke für T-4211"
    assert subject("de_DE", "order_sent") == "Bestellung T-4211 ist unterwegs"
    context = MessageContext("Shop", "de_DE", texts)
    assert write_inbox("order_paid", ORDER, context=context).text == "Danke."
    assert "Danke" in write_mail("order_paid", ORDER, name="", context=context).subject
    assert "T-1" in write_mail("order_paid", ORDER, name="", context=context).html
    assert preview(PAID, BUILT_IN, shop_name="S", locale="de_DE").subject == "Ihre Bestellung T-4211 ist bezahlt"


@pytest.mark.anyio
async def test_a_change_is_used_within_seconds_and_overwrites_nobody(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.monotonic()
    monkeypatch.setattr("tidegate.notify.message_texts.time.monotonic", lambda: now_s)
    before = await current_texts(database, settings)
    async with database.transaction() as conn:
        first = await keep_text(conn, own(subject="One"))
    assert first.revision == 1
    assert await current_texts(database, settings) is before
    now_s += CHECK_S
    after = await current_texts(database, settings)
    assert after.own["order_paid", "en"].subject == "One"
    now_s += CHECK_S
    assert await current_texts(database, settings) is after
    for stale in (own(subject="Two"), own(revision=7), own(revision=7, subject="Two")):
        with pytest.raises(TextChanged):
            async with database.transaction() as conn:
                await keep_text(conn, stale)
    async with database.transaction() as conn:
        assert (await keep_text(conn, own(subject="Two", revision=1))).revision == 2
        assert (await find_text(conn, template="order_paid", language="en")).subject == "Two"
        assert (await keep_text(conn, own(revision=2))).is_built_in
        assert (await find_text(conn, template="order_paid", language="en")).revision == 0
        assert not await drop_text(conn, template="order_paid", language="en")
    now_s += CHECK_S
    assert (await current_texts(database, settings)).own == {}


BULK = [kind for kind in KINDS.values() if "unsubscribe_url" in kind.must]


def bulk_delivery(kind: Kind, *, locale: str) -> Delivery:
    """A mail of a send, as it is claimed."""
    variables = {"title": "Lamps", "topic_title": "Lights", "url": "http://127.0.0.1:8000/x", "body": "New\nlamps"}
    return Delivery(
        event_id=EVENT,
        recipient_id=new_id(),
        channel="email",
        template=kind.name,
        variables=variables | {"topic_id": str(TOPIC), "locale": locale},
        address_sealed=sealed_address(f"{new_id().hex}@example.com"),
        attempts=1,
        created_at=datetime.now(UTC),
        shard_no=1,
        provider_id=None,
    )


@pytest.mark.parametrize("kind", BULK, ids=lambda kind: kind.name)
def test_every_bulk_mail_can_be_ended_by_one_click(kind: Kind, settings: Settings) -> None:
    mail = MailWriter(settings, BUILT_IN).write(bulk_delivery(kind, locale="de_DE"))
    sent = message_from_bytes(compose(mail, sender="shop@shop.example"), policy=default_policy)
    assert sent["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = str(sent["List-Unsubscribe"]).strip("<>")
    assert link.startswith(f"{settings.base_url}/unsubscribe?token=")
    assert link in mail.words.text
    assert f'href="{link}"' in mail.words.html


def test_a_text_is_written_once_for_all_who_share_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    drop = KINDS["drop_open"]
    texts = Texts({("drop_open", "de"): own(drop, language="de", txt="Jetzt: {{ title }} {{ unsubscribe_url }}")}, "de")
    rendered: list[str] = []
    render = OwnText.render

    def counted(text: OwnText, values: Mapping[str, Any]) -> str:
        rendered.append(render(text, values))
        return rendered[-1]

    monkeypatch.setattr(OwnText, "render", counted)
    writer = MailWriter(settings, texts)
    mails = [writer.write(bulk_delivery(drop, locale=locale)) for locale in LOCALES * 20]
    assert len(rendered) == 1
    assert len({mail.words.text for mail in mails}) == len(mails)
    assert {mail.words.subject for mail in mails} == {"Lamps is open", "Lamps ist offen"}


@pytest.mark.anyio
async def test_own_texts_reach_mailbox_and_inbox_and_what_does_not_fit_fails_at_once(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    async with database.transaction() as conn:
        await keep_text(conn, own(subject="Thanks, {{ number }}", inbox="{{ money(total) }} is here."))
    buyer = PersonId(new_id())

    def paid(**changed: Any) -> Event:
        payload = ORDER | {"buyer_id": str(buyer), "locale": "en_GB"} | changed
        return Event(EventId(new_id()), "order.paid", payload, {"email": "ada@example.com", "name": "Ada"})

    await on_order_events(database, mailing, [paid()])
    await on_order_events(database, mailing, [paid(total={"amount": "much", "currency": "GBP"})])
    assert (await deliver_due(database, mailing, limit=10)).taken == 4
    (mail,) = postbox.mails_to("ada@example.com")
    assert mail["Subject"] == "Thanks, T-1"
    async with database.connection() as conn:
        (message,) = await list_inbox(conn, recipient_id=buyer, limit=10)
        assert (message.subject, message.body) == ("Thanks, T-1", "£1.00 is here.")
        failed = await conn.execute("SELECT last_error FROM notify.deliveries WHERE state = 'failed'")
        reasons = {row[0] for row in await failed.fetchall()}
    assert reasons == {"order_paid: Expected `int`, got `str` - at `$.total.amount`"}


@pytest.mark.anyio
async def test_a_trial_mail_is_what_was_shown(database: Database, mailing: Settings, postbox: Postbox) -> None:
    shown = preview(PAID, BUILT_IN, shop_name="Shop", locale="en_GB")
    async with database.transaction() as conn:
        event_id = await mail_trial(conn, shown, email="me@example.com")
        found = await conn.execute("SELECT payload FROM platform.outbox WHERE id = %s", (event_id,))
        row = await found.fetchone()
        assert row is not None
    event = Event(event_id, TRIAL_TOPIC, row[0], {"email": "me@example.com"})
    for _ in range(2):
        await on_trial(database, mailing, event)
    assert (await deliver_due(database, mailing, limit=10)).taken == 1
    (mail,) = postbox.mails_to("me@example.com")
    assert mail["Subject"] == shown.subject
    html = mail.get_body(("html",))
    assert html is not None
    assert html.get_content().splitlines() == shown.html.splitlines()
    assert "List-Unsubscribe" not in mail
