"""A shop that knows nothing of Tidegate but its middleware: Flask. Run it with the variables that `selling` reads."""

from __future__ import annotations

import os
from http.cookies import SimpleCookie
from typing import Any

import flask

from tests.gate.shops.selling import Till, guard_of
from tidegate.gate.foreign import WsgiGuard

site = flask.Flask("shop")
till = Till()


def who(environ: dict[str, Any]) -> str | None:
    """Who is signed in."""
    found = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("account")
    return found.value if found else None


@site.get("/login")
def login() -> flask.Response:
    """Sign in, as simply as may be."""
    answer = flask.Response("signed in")
    answer.set_cookie("account", flask.request.args["name"])
    return answer


@site.get("/buy")
def look() -> str:
    """What only those see whose turn it is."""
    return f"buy here, {flask.request.environ['tidegate.pass'].place_id}"


@site.post("/buy")
def buy() -> tuple[str, int]:
    """Sell one, once for each pass."""
    refusal = till.sell(flask.request.environ["tidegate.pass"].place_id)
    return (refusal, 409) if refusal else ("bought", 200)


site.wsgi_app = WsgiGuard(site.wsgi_app, guard_of(who), paths=("/buy",))  # type: ignore[method-assign]

if __name__ == "__main__":
    till.report()
    site.run(host="127.0.0.1", port=int(os.environ["SHOP_PORT"]), threaded=True)
