"""A shop that knows nothing of Tidegate but its middleware: FastAPI. Run it with the variables that `selling` reads."""

from __future__ import annotations

import os
from http.cookies import SimpleCookie
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse

from tests.gate.shops.selling import Till, guard_of
from tidegate.gate.foreign import AsgiGuard

site = FastAPI()
till = Till()


def who(scope: dict[str, Any]) -> str | None:
    """Who is signed in."""
    cookies = dict(scope["headers"]).get(b"cookie", b"").decode()
    found = SimpleCookie(cookies).get("account")
    return found.value if found else None


@site.get("/login")
def login(name: str) -> PlainTextResponse:
    """Sign in, as simply as may be."""
    answer = PlainTextResponse("signed in")
    answer.set_cookie("account", name)
    return answer


@site.get("/buy")
def look(request: Request) -> PlainTextResponse:
    """What only those see whose turn it is."""
    return PlainTextResponse(f"buy here, {request.scope['tidegate.pass'].place_id}")


@site.post("/buy")
def buy(request: Request) -> PlainTextResponse:
    """Sell one, once for each pass."""
    refusal = till.sell(request.scope["tidegate.pass"].place_id)
    if refusal:
        raise HTTPException(409, refusal)
    return PlainTextResponse("bought")


if __name__ == "__main__":
    till.report()
    uvicorn.run(
        AsgiGuard(site, guard_of(who), paths=("/buy",)),
        host="127.0.0.1",
        port=int(os.environ["SHOP_PORT"]),
        log_level="warning",
    )
