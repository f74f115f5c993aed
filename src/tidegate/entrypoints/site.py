"""The site: every page and the whole JSON API in one process."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.types import ASGIApp

from tidegate import checkout, gate, notify
from tidegate.accounts import TakeOver
from tidegate.accounts import http as accounts_http
from tidegate.accounts import http_account as accounts_http_account
from tidegate.accounts import pages as accounts_pages
from tidegate.accounts import pages_account as accounts_pages_account
from tidegate.admin import pages as admin_pages
from tidegate.admin import pages_bulk as admin_pages_bulk
from tidegate.admin import pages_codes as admin_pages_codes
from tidegate.admin import pages_collections as admin_pages_collections
from tidegate.admin import pages_customers as admin_pages_customers
from tidegate.admin import pages_dead_letters as admin_pages_dead_letters
from tidegate.admin import pages_drops as admin_pages_drops
from tidegate.admin import pages_keys as admin_pages_keys
from tidegate.admin import pages_messages as admin_pages_messages
from tidegate.admin import pages_orders as admin_pages_orders
from tidegate.admin import pages_people as admin_pages_people
from tidegate.admin import pages_pictures as admin_pages_pictures
from tidegate.admin import pages_products as admin_pages_products
from tidegate.admin import pages_rates as admin_pages_rates
from tidegate.admin import pages_rehearsals as admin_pages_rehearsals
from tidegate.admin import pages_rooms as admin_pages_rooms
from tidegate.admin import pages_sends as admin_pages_sends
from tidegate.admin import pages_settings as admin_pages_settings
from tidegate.admin import pages_status as admin_pages_status
from tidegate.admin import pages_stock as admin_pages_stock
from tidegate.admin import pages_suppressions as admin_pages_suppressions
from tidegate.admin import pages_texts as admin_pages_texts
from tidegate.admin import pages_webhooks as admin_pages_webhooks
from tidegate.catalog import open_darkroom
from tidegate.checkout import http as checkout_http
from tidegate.checkout import http_addresses as checkout_http_addresses
from tidegate.checkout import http_after as checkout_http_after
from tidegate.checkout import http_cart as checkout_http_cart
from tidegate.entrypoints.composing import open_buying, open_pages, open_people, open_waiting, serve_app
from tidegate.entrypoints.parts import forward_parts
from tidegate.entrypoints.serving import add_routers, bare_app, shop_checks
from tidegate.gate import http as gate_http
from tidegate.gate import http_staff as gate_http_staff
from tidegate.notify import http_dead_letters as notify_http_dead_letters
from tidegate.notify import http_deliveries as notify_http_deliveries
from tidegate.notify import http_devices as notify_http_devices
from tidegate.notify import http_events as notify_http_events
from tidegate.notify import http_inbox as notify_http_inbox
from tidegate.notify import http_own_devices as notify_http_own_devices
from tidegate.notify import http_own_preferences as notify_http_own_preferences
from tidegate.notify import http_preferences as notify_http_preferences
from tidegate.notify import http_receipts as notify_http_receipts
from tidegate.notify import http_recipients as notify_http_recipients
from tidegate.notify import http_staff as notify_http_staff
from tidegate.notify import http_templates as notify_http_templates
from tidegate.notify import http_topics as notify_http_topics
from tidegate.notify import http_webhooks as notify_http_webhooks
from tidegate.notify import pages as notify_pages
from tidegate.notify import pages_dev as notify_pages_dev
from tidegate.notify import pages_follow as notify_pages_follow
from tidegate.notify import pages_posts as notify_pages_posts
from tidegate.notify import pages_preferences as notify_pages_preferences
from tidegate.payments import Provider, http_sandbox
from tidegate.platform.edge.health import health_router
from tidegate.platform.edge.lean import Shelf
from tidegate.platform.edge.limits import Upload
from tidegate.platform.edge.openapi import describe, openapi_router
from tidegate.platform.edge.stack import OnlyHttp, make_app
from tidegate.platform.files import LocalFiles
from tidegate.platform.settings import Settings
from tidegate.storefront import http as storefront_http
from tidegate.storefront import http_follows as storefront_http_follows
from tidegate.storefront import pages as storefront_pages
from tidegate.storefront import pages_addresses as storefront_pages_addresses
from tidegate.storefront import pages_art as storefront_pages_art
from tidegate.storefront import pages_cart as storefront_pages_cart
from tidegate.storefront import pages_checkout as storefront_pages_checkout
from tidegate.storefront import pages_draw as storefront_pages_draw
from tidegate.storefront import pages_follow as storefront_pages_follow
from tidegate.storefront import pages_orders as storefront_pages_orders
from tidegate.storefront import pages_pictures as storefront_pages_pictures
from tidegate.storefront import pages_room as storefront_pages_room
from tidegate.storefront import pages_sitemap as storefront_pages_sitemap
from tidegate.web import (
    ServeKept,
    StaticTree,
    error_page,
    form_key,
    pages_docs,
    pages_language,
    pages_problems,
    pages_shop,
)

TAKE_OVER: tuple[TakeOver, ...] = (
    checkout.take_over_purchases,
    checkout.take_over_cart,
    gate.take_over_places,
    notify.take_over_messages,
)
"""What becomes an account's when a guest signs in, in one transaction. A module that keeps things of guests is here."""

HOT_ROUTES = (*checkout_http.ROUTES, *gate_http.ROUTES, *accounts_http.ROUTES)

PICTURE_UPLOADS = re.compile(r"/admin/(?:products|collections)/[a-z0-9-]{1,200}/pictures?/new")
"""Where staff upload pictures. Files up to twice the size allowed are read, so that a page can say so."""
FORM_BYTES = 65_536
"""What a form with a file holds beside it."""


def create_app(settings: Settings, *, providers: Sequence[Provider] = (), shelf: Shelf | None = None) -> ASGIApp:
    """The site with its edge; its start and stop open and close what it needs (ASGI lifespan).

    `providers` are ways to pay beyond those that the settings name. `shelf` is what its server answers by itself.

    Raises: StartupError when a key or a setting of the edge is missing or wrong.
    """
    form_key(settings.security)
    app = bare_app(settings, lifespan=_running)
    app.state.extra_providers = tuple(providers)
    app.state.shelf = shelf or Shelf(settings)
    add_routes(app, settings)
    uploads = (Upload(PICTURE_UPLOADS, 2 * settings.pictures.max_bytes + FORM_BYTES),)
    return make_app(
        app,
        settings,
        hot=HOT_ROUTES,
        error_page=error_page,
        front=ServeKept,
        uploads=uploads,
        around=forward_parts(settings),
    )


def serve(settings: Settings, *, providers: Sequence[Provider] = ()) -> None:
    """Serve the site until SIGTERM or SIGINT, on the inherited socket or on the settings' address.

    `providers` are ways to pay beyond those that the settings name.

    Raises: StartupError when something must be mended first; SystemExit(0) after an orderly stop.
    """
    serve_app(settings, partial(_with_shelf, tuple(providers)), default_name="site", on_stop=end_streams)


def _with_shelf(providers: Sequence[Provider], settings: Settings, shelf: Shelf) -> ASGIApp:
    return create_app(settings, providers=providers, shelf=shelf)


def end_streams(app: ASGIApp) -> None:
    """Let go whoever listens to the site: nobody's stream holds up its stop."""
    listeners = getattr(app.app.state, "listeners", None) if isinstance(app, OnlyHttp) else None
    if listeners is not None:
        listeners.close()


ROUTERS = (
    storefront_http.router,
    storefront_http_follows.router,
    storefront_pages.router,
    storefront_pages_art.router,
    storefront_pages_pictures.router,
    storefront_pages_sitemap.router,
    storefront_pages_addresses.router,
    storefront_pages_cart.router,
    storefront_pages_checkout.router,
    storefront_pages_follow.router,
    storefront_pages_orders.router,
    storefront_pages_room.router,
    storefront_pages_draw.router,
    admin_pages.router,
    admin_pages_texts.router,
    admin_pages_products.router,
    admin_pages_pictures.router,
    admin_pages_bulk.router,
    admin_pages_collections.router,
    admin_pages_rates.router,
    admin_pages_codes.router,
    admin_pages_orders.router,
    admin_pages_customers.router,
    admin_pages_customers.admin_router,
    admin_pages_stock.router,
    admin_pages_sends.router,
    admin_pages_webhooks.router,
    admin_pages_keys.router,
    admin_pages_suppressions.router,
    admin_pages_dead_letters.router,
    admin_pages_messages.router,
    admin_pages_status.router,
    admin_pages_rehearsals.router,
    admin_pages_settings.router,
    admin_pages_drops.router,
    admin_pages_rooms.router,
    admin_pages_people.router,
    admin_pages_people.admin_router,
    accounts_http.router,
    accounts_http_account.router,
    accounts_pages.router,
    accounts_pages_account.router,
    checkout_http.router,
    checkout_http_addresses.router,
    checkout_http_after.router,
    checkout_http_cart.router,
    gate_http_staff.router,
    notify_pages.router,
    notify_pages_follow.router,
    notify_pages_posts.router,
    notify_pages_preferences.router,
    notify_http_inbox.router,
    notify_http_staff.router,
    notify_http_webhooks.router,
    notify_http_dead_letters.router,
    notify_http_recipients.router,
    notify_http_preferences.router,
    notify_http_devices.router,
    notify_http_own_devices.router,
    notify_http_own_preferences.router,
    notify_http_topics.router,
    notify_http_events.router,
    notify_http_deliveries.router,
    notify_http_receipts.router,
    notify_http_templates.router,
    pages_docs.router,
    pages_problems.router,
    pages_language.router,
    pages_shop.router,
)


def add_routes(app: FastAPI, settings: Settings) -> None:
    """Everything that the site answers."""
    add_routers(app, health_router(shop_checks(app)), openapi_router(partial(describe, app, HOT_ROUTES)), *ROUTERS)
    if settings.demo:
        add_routers(app, http_sandbox.router, notify_pages_dev.router)
    app.mount("/static", StaticTree())


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    async with open_people(app), open_buying(app), open_waiting(app), open_pages(app):
        app.state.take_over = TAKE_OVER
        app.state.forget_person = (checkout.forget_person, notify.forget_follows, gate.leave_all_rooms)
        app.state.files = LocalFiles(settings.pictures_folder)
        async with notify.open_listeners(app.state.database, settings, valkey=app.state.valkey) as listeners:
            app.state.listeners = listeners
            with open_darkroom(settings.pictures) as darkroom:
                app.state.darkroom = darkroom
                yield
