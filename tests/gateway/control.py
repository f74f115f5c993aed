"""What a test or a benchmark does to the gateway over HTTP, and the pages that a shopper sees there."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.gateway.faults import Fault, Kind
from tests.gateway.ledger import GatewayError, shown

if TYPE_CHECKING:
    from tests.gateway.server import Gateway


class Control:
    """Routes under /control and /c."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/control/faults", self.faults, methods=["POST"]),
                Route("/control/webhooks", self.webhooks, methods=["POST"]),
                Route("/control/clock", self.clock, methods=["POST"]),
                Route("/control/books", self.books),
                Route("/control/{id}/{deed}", self.act, methods=["POST"]),
                Route("/c/{what}/{id}", self.page, methods=["GET", "POST"]),
            ]
        )

    async def faults(self, request: Request) -> Response:
        """Replace the planned faults: a list of `Fault`s as objects; `seed` starts their chance anew."""
        wish, plan = await request.json(), self._gateway.faults
        plan.faults = [Fault(**(each | {"kind": Kind(each["kind"])})) for each in wish["faults"]]
        plan.chance.seed(wish.get("seed", 1))
        return JSONResponse({"faults": len(plan.faults)})

    async def webhooks(self, request: Request) -> Response:
        """Change the plan of the webhooks: any of url, secrets, delay_s, copies, shuffle."""
        for name, value in (await request.json()).items():
            setattr(self._gateway.hooks, name, value)
        return JSONResponse({"url": self._gateway.hooks.url})

    async def clock(self, request: Request) -> Response:
        """Move the gateway's clock by `advance_s`."""
        ledger = self._gateway.ledger
        ledger.ahead_s += (await request.json())["advance_s"]
        return JSONResponse({"now": ledger.now()})

    async def act(self, request: Request) -> Response:
        """What shoppers and banks do: pay, expire, authenticate, finish, finish_refund."""
        ledger, thing = self._gateway.ledger, request.path_params["id"]
        wish = await request.json() if await request.body() else {}
        deeds: dict[str, Callable[[], dict[str, Any]]] = {
            "pay": lambda: ledger.pay_session(thing, wish.get("payment_method", "pm_card_visa")),
            "expire": lambda: ledger.expire_session(thing),
            "authenticate": lambda: ledger.authenticate(thing, succeed=wish.get("succeed", True)),
            "finish": lambda: ledger.finish_processing(thing, succeed=wish.get("succeed", True)),
            "finish_refund": lambda: ledger.finish_refund(thing, status=wish["status"]),
        }
        try:
            return JSONResponse(shown(deeds[request.path_params["deed"]]()))
        except GatewayError as error:
            return JSONResponse(error.body, error.status)

    async def books(self, request: Request) -> Response:
        """What a benchmark recounts: captures by reference, money kept by currency; `?sessions=1` adds the pages."""
        ledger, hooks = self._gateway.ledger, self._gateway.hooks
        told: dict[str, Any] = {
            "captures": Counter(payment["metadata"].get("tidegate_ref", "") for payment in ledger.captures()),
            "taken": {name: ledger.taken(name) for name in {charge["currency"] for charge in ledger.charges.values()}},
            "payments": len(ledger.payments),
            "refunds": len(ledger.refunds),
            "events": len(ledger.events),
            "webhooks": {"sent": hooks.sent, "refused": hooks.refused},
            "requests": self._gateway.api.requests,
        }
        if request.query_params.get("sessions") == "1":
            told["sessions"] = [shown(session) for session in ledger.sessions.values()]
        return JSONResponse(told)

    async def page(self, request: Request) -> Response:
        """The page of a session, or of a confirmation; its form pays or confirms, and leads back to the shop."""
        ledger, thing = self._gateway.ledger, request.path_params["id"]
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
