"""The sandbox in a process of its own, as a real gateway is: what the shop asks it, and how it is asked over HTTP."""

from __future__ import annotations

import http
from typing import TypeVar

import httpx
import msgspec

from tidegate.payments.contracts import (
    Answer,
    Charge,
    ChargeIntent,
    OutcomeUnknown,
    ProviderRefused,
    Refund,
    RefundAnswer,
)
from tidegate.payments.sandbox import SandboxProvider
from tidegate.platform.database import Database
from tidegate.platform.no_answer import NO_HTTP_ANSWER
from tidegate.platform.settings import Settings

Said = TypeVar("Said")

CONNECTIONS = 64
"""Most connections to it at once, per process."""

REFUSED, OK = http.HTTPStatus.UNPROCESSABLE_ENTITY, http.HTTPStatus.OK


class Question(msgspec.Struct, frozen=True, tag_field="call"):
    """What the sandbox is asked: one of the calls of `Provider`."""


class ChargeQuestion(Question, frozen=True, tag="charge"):
    """Take the money."""

    intent: ChargeIntent


class AskQuestion(Question, frozen=True, tag="ask"):
    """How does it stand?"""

    charge: Charge


class EndQuestion(Question, frozen=True, tag="end"):
    """Close it."""

    charge: Charge


class RefundQuestion(Question, frozen=True, tag="refund"):
    """Give it back."""

    refund: Refund
    provider_ref: str


ANY_QUESTION = ChargeQuestion | AskQuestion | EndQuestion | RefundQuestion


class SandboxGateway(SandboxProvider):
    """The sandbox as a `Provider` that asks the process at `payments.sandbox_url`; webhooks are read as ever."""

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__(database, settings)
        self._client = httpx.AsyncClient(
            base_url=settings.payments.sandbox_url,
            timeout=settings.payments.provider_timeout_s,
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            trust_env=False,
        )

    async def charge(self, intent: ChargeIntent) -> Answer:
        """See `Provider.charge`."""
        self.check_method(intent.method)
        return await self._say(ChargeQuestion(intent), Answer)

    async def ask(self, charge: Charge) -> Answer:
        """See `Provider.ask`."""
        return await self._say(AskQuestion(charge), Answer)

    async def end(self, charge: Charge) -> Answer:
        """See `Provider.end`."""
        return await self._say(EndQuestion(charge), Answer)

    async def refund(self, refund: Refund, *, provider_ref: str) -> RefundAnswer:
        """See `Provider.refund`."""
        return await self._say(RefundQuestion(refund, provider_ref), RefundAnswer)

    async def close(self) -> None:
        """See `Provider.close`."""
        await self._client.aclose()

    async def _say(self, question: Question, answer: type[Said]) -> Said:
        try:
            said = await self._client.post("/", content=msgspec.json.encode(question))
        except NO_HTTP_ANSWER as error:
            raise OutcomeUnknown(f"the sandbox did not answer: {type(error).__name__}") from error
        if said.status_code == REFUSED:
            raise ProviderRefused(said.text)
        if said.status_code != OK:
            raise OutcomeUnknown(f"the sandbox answered {said.status_code}")
        try:
            return msgspec.json.decode(said.content, type=answer)
        except msgspec.MsgspecError as error:
            raise OutcomeUnknown("the sandbox answered something else") from error
