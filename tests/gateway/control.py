"""What a test or a benchmark does to the gateway over HTTP, and the pages that a shopper sees there."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.gateway.faults import Fault, Kind
from tests.gateway.ledger import GatewayError, shown

if TYPE_CHECKING:
    from tests.gateway.server import Gateway

Handler = Callable[[Request], Awaitable[Response]]


def control_app(gateway: Gateway) -> Starlette:
    """Routes under /control and /c."""
    ledger = gateway.ledger

    async def faults(request: Request) -> Response:
        """Replace the planned faults: a list of `Fault`s as objects; `seed` starts their chance anew."""
        wish = await request.json()
        gateway.faults.faults = [Fault(**(each | {"kind": Kind(each["kind"])})) for each in wish["faults"]]
        gateway.faults.chance.seed(wish.get("seed", 1))
        return JSONResponse({"faults": len(gateway.faults.faults)})

    async def webhooks(request: Request) -> Response:
        """Change the plan of the webhooks: any of url, secrets, delay_s, copies, shuffle."""
        for name, value in (await request.json()).items():
            setattr(gateway.hooks, name, value)
        return JSONResponse({"url": gateway.hooks.url})

    async def clock(request: Request) -> Response:
        """Move the gateway's clock by `advance_s`."""
        ledger.ahead_s += (await request.json())["advance_s"]
        return JSONResponse({"now": ledger.now()})

    async def act(request: Request) -> Response:
        """What shoppers and banks do: pay, expire, authenticate, finish, refund."""
        thing, wish = request.path_params["id"], (await request.json() if await request.body() else {})
        deeds: dict[str, Callable[[], dict[str, Any]]] = {
            "pay": lambda: ledger.pay_session(thing, wish.get("payment_method", "pm_card_visa")),
            "expire": lambda: ledger.expire_session(thing),
            "authenticate": lambda: ledger.authenticate(thing, succeed=wish.get("succeed", True)),
            "finish": lambda: ledger.finish_processing(thing, succeed=wish.get("succeed", True)),
            "finish_refund": lambda: ledger.finish_refund(thing, status=wish["status"]),
        }
        return _told(deeds[request.path_params["deed"]])

    async def books(request: Request) -> Response:
        """All objects, and what a benchmark recounts: captures by reference, money kept by currency."""
        captures: dict[str, int] = {}
        for payment in ledger.captures():
            reference = payment["metadata"].get("tidegate_ref", "")
            captures[reference] = captures.get(reference, 0) + 1
        currencies = {charge["currency"] for charge in ledger.charges.values()}
        full = request.query_params.get("full") == "1"
        return JSONResponse(
            {
                "captures": captures,
                "taken": {currency: ledger.taken(currency) for currency in currencies},
                "payments": len(ledger.payments),
                "sessions": len(ledger.sessions),
                "refunds": len(ledger.refunds),
                "events": len(ledger.events),
                "webhooks": {"sent": gateway.hooks.sent, "refused": gateway.hooks.refused},
                "requests": gateway.api.requests,
            }
            | ({"all_sessions": [shown(each) for each in ledger.sessions.values()]} if full else {})
        )

    async def page(request: Request) -> Response:
        """The page of a session, or of a confirmation; its form pays or confirms, and leads back to the shop."""
        thing = request.path_params["id"]
        if request.method == "GET":
            known = ledger.sessions.get(thing) or ledger.payments.get(thing)
            words = f"{known['id']} {known['status']}" if known else "unknown"
            return HTMLResponse(f"<p>{html.escape(words)}</p><form method='post'><button>Pay</button></form>")
        try:
            if request.path_params["what"] == "pay":
                back = ledger.pay_session(thing)["success_url"]
            else:
                action = ledger.payment(thing)["next_action"] or {}
                ledger.authenticate(thing, succeed=True)
                back = action["redirect_to_url"]["return_url"]
        except GatewayError as error:
            return JSONResponse(error.body, error.status)
        return RedirectResponse(back, 303)

    return Starlette(
        routes=[
            Route("/control/faults", faults, methods=["POST"]),
            Route("/control/webhooks", webhooks, methods=["POST"]),
            Route("/control/clock", clock, methods=["POST"]),
            Route("/control/books", books),
            Route("/control/{id}/{deed}", act, methods=["POST"]),
            Route("/c/{what}/{id}", page, methods=["GET", "POST"]),
        ]
    )


def _told(deed: Callable[[], dict[str, Any]]) -> Response:
    try:
        return JSONResponse(shown(deed()))
    except GatewayError as error:
        return JSONResponse(error.body, error.status)
