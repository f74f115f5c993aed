"""Connections to the mail server are kept for a while, and no mail is lost or doubled by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from tests.notify.conftest import with_mail
from tests.notify.moody_server import Mood, MoodyServer, open_moody_server
from tests.waiting import eventually
from tidegate.notify.mail import MOST_MAILS, Mail, MailRefused, MailServer
from tidegate.notify.mail_connections import MailConnections
from tidegate.notify.messages import Words
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def moody() -> AsyncIterator[MoodyServer]:
    """A mail server with moods."""
    async with open_moody_server() as server:
        yield server


@asynccontextmanager
async def keeping(settings: Settings, moody: MoodyServer, *, kept_s: float = 30.0) -> AsyncIterator[MailConnections]:
    """Connections to that server, which are all ended with the block."""
    mailing = with_mail(settings, smtp_url=moody.url, sender="shop@shop.example", timeout_s=2, connections=2)
    connections = MailConnections(mailing.mail, kept_s=kept_s)
    try:
        yield connections
    finally:
        await connections.close()


def mail_to(email: str) -> Mail:
    words = Words("Hello", "Hello.", "<p>Hello.</p>", "")
    return Mail(key="1.2", email=email, name="", words=words, written_at=datetime(2026, 11, 1, tzinfo=UTC))


async def send(connections: MailConnections, email: str) -> None:
    async with connections.lend() as server:
        await server.send(mail_to(email))


async def test_one_connection_does_for_one_task_after_the_other(settings: Settings, moody: MoodyServer) -> None:
    async with keeping(settings, moody) as connections:
        for number in range(5):
            await send(connections, f"{number}@example.com")
        assert (moody.connections, moody.goodbyes) == (1, 0)
    assert moody.goodbyes == 1
    assert moody.taken == {f"{number}@example.com": 1 for number in range(5)}


async def test_no_more_are_kept_than_one_task_uses(settings: Settings, moody: MoodyServer) -> None:
    async with keeping(settings, moody) as connections:
        together = asyncio.Barrier(5)

        async def one(number: int) -> None:
            async with connections.lend() as server:
                await server.send(mail_to(f"{number}@example.com"))
                await together.wait()

        await asyncio.gather(*(one(number) for number in range(5)))
        assert (moody.connections, moody.goodbyes) == (5, 3)
        assert sum(moody.taken.values()) == 5


async def test_what_nobody_uses_is_given_up(settings: Settings, moody: MoodyServer) -> None:
    async with keeping(settings, moody, kept_s=0.01) as connections:
        await send(connections, "ada@example.com")
        await eventually(lambda: moody.goodbyes == 1)
        await send(connections, "ben@example.com")
        assert moody.connections == 2


@pytest.mark.parametrize("pipelining", [True, False])
async def test_a_connection_that_ended_while_it_was_kept_costs_no_mail(
    settings: Settings, moody: MoodyServer, *, pipelining: bool
) -> None:
    moody.pipelining = pipelining
    async with keeping(settings, moody) as connections:
        await send(connections, "ada@example.com")
        moody.mood = Mood.DROPS_ONCE
        await send(connections, "ben@example.com")
        assert moody.connections == 2
        assert moody.taken == {"ada@example.com": 1, "ben@example.com": 1}


@pytest.mark.parametrize("pipelining", [True, False])
async def test_a_server_that_takes_few_mails_over_a_connection_refuses_none(
    settings: Settings, moody: MoodyServer, *, pipelining: bool
) -> None:
    moody.pipelining, moody.most_mails = pipelining, 3
    async with keeping(settings, moody) as connections:
        for number in range(7):
            await send(connections, f"{number}@example.com")
        assert moody.connections == 3
        assert moody.taken == {f"{number}@example.com": 1 for number in range(7)}


async def test_a_server_that_wants_no_mail_at_all_is_believed(settings: Settings, moody: MoodyServer) -> None:
    moody.most_mails = 0
    async with keeping(settings, moody) as connections:
        with pytest.raises(MailRefused) as refused:
            await send(connections, "ada@example.com")
        assert refused.value.closing
        assert moody.connections == 1


async def test_no_connection_carries_mails_without_end(settings: Settings, moody: MoodyServer) -> None:
    async with keeping(settings, moody) as connections:
        async with connections.lend() as server:
            for number in range(MOST_MAILS + 1):
                await server.send(mail_to(f"{number}@example.com"))
        assert (moody.connections, moody.goodbyes) == (2, 1)
        assert sum(moody.taken.values()) == MOST_MAILS + 1


async def test_a_mail_that_may_have_been_taken_is_not_sent_again_by_itself(
    settings: Settings, moody: MoodyServer
) -> None:
    async with keeping(settings, moody) as connections:
        await send(connections, "ada@example.com")
        moody.mood = Mood.DROPS_AFTER_DATA
        with pytest.raises(MailRefused) as refused:
            await send(connections, "ben@example.com")
        assert refused.value.doubtful
        assert moody.seen["ben@example.com"] == 1


async def test_a_server_that_drops_every_connection_is_told_of(settings: Settings, moody: MoodyServer) -> None:
    async with keeping(settings, moody) as connections:
        await send(connections, "ada@example.com")
        moody.mood = Mood.DROPS_BEFORE_DATA
        with pytest.raises(MailRefused, match="the connection ended"):
            await send(connections, "ben@example.com")
        assert moody.asked == 3, "on the kept connection, and once on a new one"
        with pytest.raises(MailRefused, match="the connection ended"):
            await send(connections, "ben@example.com")
        assert moody.asked == 4, "what was not kept is not tried twice"


async def test_a_block_that_fails_keeps_nothing(settings: Settings, moody: MoodyServer) -> None:
    async with keeping(settings, moody) as connections:
        with pytest.raises(RuntimeError):
            async with connections.lend() as server:
                await fail_behind_a_mail(server)
        assert moody.goodbyes == 0
        await send(connections, "ben@example.com")
        assert moody.connections == 2


async def fail_behind_a_mail(server: MailServer) -> None:
    await server.send(mail_to("ada@example.com"))
    raise RuntimeError
