"""Parts of the site as processes of their own: buying, and waiting.

Each serves some of the site's routes, pages among them, with the accounts and settings of the shop. A browser knows one
address: `tidegate up` and a reverse proxy lead these routes here. The site has them too, and serves what no part does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from tidegate.checkout import http as checkout_http
from tidegate.checkout import http_cart as checkout_http_cart
from tidegate.entrypoints.composing import open_buying, open_pages, open_people, open_waiting, serve_app
from tidegate.entrypoints.serving import add_routers, bare_app, shop_checks
from tidegate.gate import http as gate_http
from tidegate.payments import Provider, http_sandbox
from tidegate.platform.edge.forwarding import Forwarding, Parts
from tidegate.platform.edge.health import health_router
from tidegate.platform.edge.hot import HotRoute
from tidegate.platform.edge.lean import Shelf
from tidegate.platform.edge.stack import make_app
from tidegate.platform.settings import Settings
from tidegate.storefront import pages_cart as storefront_pages_cart
from tidegate.storefront import pages_checkout as storefront_pages_checkout
from tidegate.storefront import pages_draw as storefront_pages_draw
from tidegate.storefront import pages_room as storefront_pages_room
from tidegate.web import error_page, form_key

Opener = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Part:
    """Routes that belong together, and what must be open for them, in this order."""

    name: str
    hot: tuple[HotRoute, ...]
    routers: tuple[APIRouter, ...]
    openers: tuple[Opener, ...]
    demo_routers: tuple[APIRouter, ...] = ()
    """Those of the demo only."""

    def routes(self, *, demo: bool) -> list[tuple[str, str]]:
        """Methods and templates of all its addresses."""
        routers = self.routers + (self.demo_routers if demo else ())
        plain = [each for router in routers for each in router.routes if isinstance(each, APIRoute)]
        found = [(route.method, route.path) for route in self.hot]
        found += [(method, route.path) for route in plain for method in sorted(route.methods or ())]
        return [(method, path) for method, path in found if method != "HEAD"]


CHECKOUT = Part(
    "checkout",
    checkout_http.ROUTES,
    (
        checkout_http.router,
        checkout_http_cart.router,
        storefront_pages_cart.router,
        storefront_pages_checkout.router,
    ),
    (open_buying, open_pages),
    demo_routers=(http_sandbox.router,),
)
GATE = Part(
    "gate",
    gate_http.ROUTES,
    (storefront_pages_room.router, storefront_pages_draw.router),
    (open_waiting, open_pages),
)
PARTS: Sequence[Part] = (CHECKOUT, GATE)


def create_app(
    part: Part, settings: Settings, *, providers: Sequence[Provider] = (), shelf: Shelf | None = None
) -> ASGIApp:
    """A part with its edge; its start and stop open and close what it needs (ASGI lifespan).

    `providers` are ways to pay beyond those that the settings name.

    Raises: StartupError when a key or a setting of the edge is missing or wrong.
    """
    form_key(settings.security)
    app = bare_app(settings, lifespan=partial(_running, part))
    app.state.extra_providers = tuple(providers)
    app.state.shelf = shelf or Shelf(settings)
    add_routers(app, health_router(shop_checks(app)), *part.routers, *(part.demo_routers if settings.demo else ()))
    return make_app(app, settings, hot=part.hot, error_page=error_page)


def serve(part: Part, settings: Settings, *, providers: Sequence[Provider] = ()) -> None:
    """Serve a part; `providers` are ways to pay beyond those that the settings name. Raises: as `serve_app`."""

    def create(told: Settings, shelf: Shelf) -> ASGIApp:
        return create_app(part, told, providers=providers, shelf=shelf)

    serve_app(settings, create, default_name=part.name)


def forward_parts(settings: Settings, *, file: Parts | None = None) -> Callable[[ASGIApp], ASGIApp]:
    """What asks the parts' processes, where `tidegate up` runs some, for the routes that are theirs."""
    routes: Mapping[str, list[tuple[str, str]]] = {part.name: part.routes(demo=settings.demo) for part in PARTS}
    parts = file or Parts(settings.endpoints_file, settings.http)
    return lambda app: Forwarding(app, parts=parts, routes=routes, limits=settings.http)


@asynccontextmanager
async def _running(part: Part, app: FastAPI) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for opener in (open_people, *part.openers):
            await stack.enter_async_context(opener(app))
        yield
