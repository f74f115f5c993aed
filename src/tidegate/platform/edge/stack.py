"""The edge in its order, around an application."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.platform.edge.errors import ErrorAnswers, ErrorBoundary, ErrorPage, raise_failed
from tidegate.platform.edge.headers import default_headers
from tidegate.platform.edge.hosts import HostList
from tidegate.platform.edge.hot import HotRoute, HotRoutes
from tidegate.platform.edge.limits import Bounds, HeadLimit, Upload
from tidegate.platform.edge.origins import OriginCheck
from tidegate.platform.edge.proxies import TrustedProxies
from tidegate.platform.edge.records import Records, route_names
from tidegate.platform.settings import Settings


def make_app(
    app: FastAPI,
    settings: Settings,
    *,
    hot: Sequence[HotRoute] = (),
    error_page: ErrorPage | None = None,
    front: Callable[[ASGIApp], ASGIApp] | None = None,
    uploads: Sequence[Upload] = (),
    around: Callable[[ASGIApp], ASGIApp] | None = None,
) -> ASGIApp:
    """Put the edge around `app`; `hot` routes are served before it, by its state and without its framework.

    `front` is a layer before both that may answer by itself. `uploads` are addresses that take larger bodies. `around`
    is a layer before the edge's own: it sees who a request comes from, and may let another process's edge answer.

    Raises: StartupError when a setting of the edge is wrong.
    """
    answers = ErrorAnswers(error_page)
    answers.install(app)
    layered: ASGIApp = HotRoutes(app, routes=hot)
    if front is not None:
        layered = front(layered)
    layered = Bounds(layered, limits=settings.http, uploads=uploads)
    checks = (raise_failed, HeadLimit(settings.http).check, HostList(settings).check, OriginCheck(settings).check)
    layered = ErrorBoundary(layered, answers=answers, checks=checks)
    layered = Records(layered, headers=default_headers(settings), route_of=route_names(app))
    if around is not None:
        layered = around(layered)
    if settings.http.trusted_proxies:
        layered = TrustedProxies(layered, networks=settings.http.trusted_proxies)
    return OnlyHttp(layered, app=app)


class OnlyHttp:
    """Requests go through the edge, the server's start and stop straight to the app, web sockets nowhere."""

    def __init__(self, edge: ASGIApp, *, app: FastAPI) -> None:
        self._edge = edge
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http":
            scope["app"] = self.app  # also where the edge answers by itself, pages need the app's state
            await self._edge(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})
