"""The sandbox's own HTTP interface, for the shop that runs it as a process of its own."""

from __future__ import annotations

import msgspec
import psycopg
from starlette.requests import Request
from starlette.responses import Response

from tidegate.payments.contracts import Answer, OutcomeUnknown, Provider, ProviderRefused, RefundAnswer, UnknownToken
from tidegate.payments.sandbox_gateway import (
    ANY_QUESTION,
    AskQuestion,
    ChargeQuestion,
    EndQuestion,
    RefundQuestion,
)
from tidegate.platform.problems import Overloaded

NO_ANSWER = (OutcomeUnknown, OSError, psycopg.Error, Overloaded)


async def answer_question(request: Request) -> Response:
    """Answer one question of the shop; 504 where the sandbox itself does not know."""
    provider: Provider = request.app.state.provider
    try:
        question = msgspec.json.decode(await request.body(), type=ANY_QUESTION)
        said = await _ask(provider, question)
    except (msgspec.MsgspecError, UnknownToken, ProviderRefused) as error:
        return Response(str(error), status_code=422)
    except NO_ANSWER:
        return Response(status_code=504)
    return Response(msgspec.json.encode(said), media_type="application/json")


async def _ask(
    provider: Provider, question: ChargeQuestion | AskQuestion | EndQuestion | RefundQuestion
) -> Answer | RefundAnswer:
    match question:
        case ChargeQuestion():
            return await provider.charge(question.intent)
        case AskQuestion():
            return await provider.ask(question.charge)
        case EndQuestion():
            return await provider.end(question.charge)
        case RefundQuestion():
            return await provider.refund(question.refund, provider_ref=question.provider_ref)
