"""The sandbox as a process of its own: the same answers over HTTP, and none while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr
from uvicorn import Config, Server

from tests.payments.makers import charge, intent
from tests.waiting import eventually
from tidegate import payments
from tidegate.entrypoints.gateway import create_app
from tidegate.payments import ChargeState, OutcomeUnknown, ProviderRefused
from tidegate.payments.contracts import Refund, RefundState
from tidegate.platform.database import Database
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.money import Money
from tidegate.platform.settings import PaymentSettings, Settings

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(settings: Settings, port: int) -> AsyncIterator[None]:
    server = Server(Config(create_app(settings), port=port, log_config=None, access_log=False))
    serving = asyncio.ensure_future(server.serve())
    await eventually(lambda: server.started)
    yield
    server.should_exit = True
    await serving


async def test_it_answers_as_the_sandbox_does_and_is_missed_while_it_is_away(
    database: Database, database_url: str
) -> None:
    port = free_port()
    settings = Settings(
        demo=True,
        database_url=SecretStr(database_url),
        payments=PaymentSettings(sandbox_url=f"http://127.0.0.1:{port}", provider_timeout_s=5.0),
    )
    providers = payments.make_providers(database, settings)
    paid, declined, opened = intent("tok_ok"), intent("tok_declined"), intent("hosted")
    with pytest.raises(OutcomeUnknown):
        await payments.call_provider(providers, paid)
    async with running(settings, port):
        answer = await payments.call_provider(providers, paid)
        assert (answer.state, answer.total) == (ChargeState.CAPTURED, paid.total)
        assert await payments.ask_provider(providers, charge(paid)) == answer
        assert (await payments.call_provider(providers, declined)).failure == "card_declined"
        page = await payments.call_provider(providers, opened)
        assert page.action_url is not None
        assert (await payments.end_attempt(providers, charge(opened))).state is ChargeState.CANCELLED
        provider = providers["sandbox"]
        back = Refund(paid.ref, "sold-out", paid.total)
        assert (await provider.refund(back, provider_ref=answer.provider_ref)).state is RefundState.DONE
        with pytest.raises(ProviderRefused):
            await provider.refund(Refund(paid.ref, "sold-out", Money(1, "GBP")), provider_ref=answer.provider_ref)
    with pytest.raises(OutcomeUnknown):
        await payments.ask_provider(providers, charge(paid))
    await providers.close()
