"""The staff's room for webhooks: which programs of others are told of what, whether they listen, and their secrets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog
from fastapi import Request
from starlette.responses import Response

from tidegate import notify
from tidegate.admin.pages_shell import staff_member, staff_router
from tidegate.checkout import Shop
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, new_id, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound, Problem
from tidegate.platform.texts import plural
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, PostedForm, blamed, read_form, render, see_other, words_of

router = staff_router("/webhooks")
log = structlog.get_logger(__name__)

SHOWN: Final = 20
ENDPOINTS: Final = 50
MAX_TYPED: Final = 20_000
"""Most characters of topics that are read."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What an endpoint's form holds. `key` keeps a form that is sent twice from having its effect twice."""

    url: str = ""
    description: str = ""
    events: tuple[str, ...] = ()
    topics: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class WebhooksContext:
    """Context of `admin/webhooks.html`."""

    endpoints: tuple[notify.Endpoint, ...]
    older: str
    kinds: tuple[str, ...]
    typed: Typed
    problem: str
    errors: dict[str, str]
    max_url: int
    max_description: int
    done: str = ""


@dataclass(frozen=True, slots=True)
class WebhookContext:
    """Context of `admin/webhook.html`. `secret` is shown once, right after it was made."""

    endpoint: notify.Endpoint
    webhooks: tuple[notify.WebhookDelivery, ...]
    older: str
    kinds: tuple[str, ...]
    typed: Typed
    max_url: int
    max_description: int
    rotation_hours: int
    secret: str = field(default="", repr=False)
    done: str = ""
    deleting: bool = False
    """Whether it is asked if the endpoint is to be deleted."""
    problem: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@router.get("")
async def show_webhooks(request: Request, before: str = "", deleted: str = "") -> Response:
    """All endpoints, the newest first, and the form to make one."""
    return await _list(request, Typed(key=str(new_id())), before=before, done=_told_of_deletion(deleted))


@router.post("")
async def post_webhook(request: Request) -> Response:
    """Make an endpoint; its secret is shown on the page that answers, and nowhere else."""
    form, person = await read_form(request), await staff_member(request)
    typed, shop = _typed(form), _shop(request)
    try:
        await _check(request, typed)
        async with shop.database.transaction() as conn:
            keys = await notify.make_endpoint(
                conn,
                shop.settings.webhooks,
                url=typed.url,
                description=typed.description,
                events=typed.events,
                topics=typed.topics.splitlines(),
                author_id=person.id,
                request_key=str(parse_id(typed.key) or new_id()),
            )
    except (InvalidRequest, notify.EndpointDiffers, notify.EndpointsFull) as problem:
        return await _list(request, typed, problem=problem)
    log.info("webhook endpoint made", endpoint=str(keys.endpoint.endpoint_id), by=str(person.id))
    return await _show(request, keys.endpoint.endpoint_id, secret=keys.secret)


@router.get("/{endpoint_id}")
async def show_webhook(
    request: Request, endpoint_id: str, done: str = "", before: str = "", delete: str = ""
) -> Response:
    """One endpoint: what it is told, what it answered, and what can be done."""
    return await _show(request, _id(endpoint_id), done=DONE.get(done, ""), before=before, deleting=bool(delete))


@router.post("/{endpoint_id}")
async def post_change(request: Request, endpoint_id: str) -> Response:
    """Say anew what an endpoint is told, and where."""
    form, person = await read_form(request), await staff_member(request)
    wanted, typed = _id(endpoint_id), _typed(form)
    try:
        await _check(request, typed)
        async with _shop(request).database.transaction() as conn:
            await notify.change_endpoint(
                conn,
                endpoint_id=wanted,
                url=typed.url,
                description=typed.description,
                events=typed.events,
                topics=typed.topics.splitlines(),
            )
    except InvalidRequest as problem:
        return await _show(request, wanted, typed=typed, problem=problem)
    log.info("webhook endpoint changed", endpoint=str(wanted), by=str(person.id))
    return see_other(request, f"/admin/webhooks/{wanted}?done=saved")


@router.post("/{endpoint_id}/secret")
async def post_secret(request: Request, endpoint_id: str) -> Response:
    """Give it a new secret, which is shown on the page that answers, and nowhere else."""
    form, person = await read_form(request), await staff_member(request)
    wanted, shop = _id(endpoint_id), _shop(request)
    async with shop.database.transaction() as conn:
        keys = await notify.rotate_secret(
            conn,
            shop.settings.webhooks,
            endpoint_id=wanted,
            request_key=str(parse_id(form.get("key")) or new_id()),
        )
    log.info("webhook secret rotated", endpoint=str(wanted), by=str(person.id))
    return await _show(request, wanted, secret=keys.secret)


@router.post("/{endpoint_id}/delete")
async def post_delete(request: Request, endpoint_id: str) -> Response:
    """Forget it, and what waits for it."""
    await read_form(request)
    person, wanted = await staff_member(request), _id(endpoint_id)
    async with _shop(request).database.transaction() as conn:
        waiting = await notify.delete_endpoint(conn, endpoint_id=wanted)
    log.info("webhook endpoint deleted", endpoint=str(wanted), waiting=waiting, by=str(person.id))
    return see_other(request, f"/admin/webhooks?deleted={waiting}")


@router.post("/{endpoint_id}/{wish}")
async def post_wish(request: Request, endpoint_id: str, wish: str) -> Response:
    """Disable or enable it, send it a test, or send its dead letters again."""
    form, person = await read_form(request), await staff_member(request)
    wanted, work = _id(endpoint_id), WISHES.get(wish)
    if work is None:
        raise NotFound()
    try:
        async with _shop(request).database.transaction() as conn:
            await work(_shop(request), conn, wanted, str(parse_id(form.get("key")) or new_id()))
    except (notify.EndpointDisabled, notify.EndpointsFull) as problem:
        return await _show(request, wanted, problem=problem)
    log.info("webhook endpoint steered", endpoint=str(wanted), wish=wish, by=str(person.id))
    return see_other(request, f"/admin/webhooks/{wanted}?done={wish}")


@router.post("/{endpoint_id}/deliveries/{event_id}/replay")
async def post_replay(request: Request, endpoint_id: str, event_id: str) -> Response:
    """Tell it of an event again."""
    await read_form(request)
    person = await staff_member(request)
    wanted, event = _id(endpoint_id), parse_id(event_id)
    if event is None:
        raise NotFound()
    try:
        async with _shop(request).database.transaction() as conn:
            await notify.replay_webhook(conn, endpoint_id=wanted, event_id=EventId(event))
    except notify.EndpointDisabled as problem:
        return await _show(request, wanted, problem=problem)
    log.info("webhook replayed", endpoint=str(wanted), event_id=str(event), by=str(person.id))
    return see_other(request, f"/admin/webhooks/{wanted}?done=again")


async def _disable(shop: Shop, conn: Connection, endpoint_id: UUID, key: str) -> None:
    await notify.disable_endpoint(conn, endpoint_id=endpoint_id)


async def _enable(shop: Shop, conn: Connection, endpoint_id: UUID, key: str) -> None:
    await notify.enable_endpoint(conn, shop.settings.webhooks, endpoint_id=endpoint_id)


async def _test(shop: Shop, conn: Connection, endpoint_id: UUID, key: str) -> None:
    await notify.send_test(conn, endpoint_id=endpoint_id, request_key=key)


async def _send_dead(shop: Shop, conn: Connection, endpoint_id: UUID, key: str) -> None:
    await notify.replay_endpoint(conn, endpoint_id=endpoint_id)


WISHES: Final[dict[str, Callable[[Shop, Connection, UUID, str], Awaitable[None]]]] = {
    "disable": _disable,
    "enable": _enable,
    "test": _test,
    "send-failed": _send_dead,
}
DONE: Final = {
    "saved": _("Saved."),
    "disable": _("It is not called any more. What waited for it is among the dead letters."),
    "enable": _("It is called again, with what happens from now on."),
    "test": _("A test is on its way. Reload this page in a moment to see what it was answered."),
    "send-failed": _("What had failed is on its way again, up to 5,000 at a time."),
    "again": _("It is on its way again."),
}


def _told_of_deletion(waiting: str) -> str:
    if not (waiting.isascii() and waiting.isdigit()):
        return ""
    count = int(waiting[:9])
    return (
        _("The endpoint is deleted.")
        if not count
        else plural(
            "The endpoint is deleted. %(num)s webhook that waited for it is not sent any more.",
            "The endpoint is deleted. %(num)s webhooks that waited for it are not sent any more.",
            count,
        )
    )


async def _list(
    request: Request, typed: Typed, *, problem: Problem | None = None, before: str = "", done: str = ""
) -> Response:
    async with _shop(request).database.connection() as conn:
        found = await notify.list_endpoints(conn, limit=ENDPOINTS + 1, before=parse_id(before))
    errors = {} if problem is None else blamed(problem)
    more = len(found) > ENDPOINTS
    context = WebhooksContext(
        endpoints=tuple(found[:ENDPOINTS]),
        older=f"/admin/webhooks?before={found[ENDPOINTS - 1].endpoint_id}" if more else "",
        kinds=tuple(notify.WebhookKind),
        typed=typed,
        problem="" if problem is None or errors else words_of(problem),
        errors=errors,
        max_url=notify.MAX_URL,
        max_description=notify.MAX_DESCRIPTION,
        done=done,
    )
    status = 200 if problem is None else problem.status
    return render(request, "admin/webhooks.html", context, status=status, headers=NOT_KEPT)


async def _show(
    request: Request,
    endpoint_id: UUID,
    *,
    typed: Typed | None = None,
    secret: str = "",
    problem: Problem | None = None,
    done: str = "",
    before: str = "",
    deleting: bool = False,
) -> Response:
    shop, last = _shop(request), parse_id(before)
    async with shop.database.connection() as conn:
        endpoint = await notify.find_endpoint(conn, endpoint_id=endpoint_id)
        found = await notify.list_webhooks(
            conn, endpoint_id=endpoint_id, limit=SHOWN + 1, before=None if last is None else EventId(last)
        )
    errors = {} if problem is None else blamed(problem)
    more = len(found) > SHOWN
    context = WebhookContext(
        endpoint=endpoint,
        webhooks=tuple(found[:SHOWN]),
        older=f"/admin/webhooks/{endpoint_id}?before={found[SHOWN - 1].event_id}" if more else "",
        kinds=tuple(notify.WebhookKind),
        typed=typed or _of(endpoint),
        max_url=notify.MAX_URL,
        max_description=notify.MAX_DESCRIPTION,
        rotation_hours=shop.settings.webhooks.rotation_hours,
        secret=secret,
        done=done,
        deleting=deleting,
        problem="" if problem is None or errors else words_of(problem),
        errors=errors,
    )
    status = 200 if problem is None else problem.status
    return render(request, "admin/webhook.html", context, status=status, headers=NOT_KEPT)


async def _check(request: Request, typed: Typed) -> None:
    limits = _shop(request).settings.webhooks
    await notify.check_reachable(
        notify.checked_url(typed.url),
        allowed=limits.allow_hosts,
        resolve=notify.resolve_host,
        timeout_s=float(limits.timeout_s),
    )


def _typed(form: PostedForm) -> Typed:
    return Typed(
        url=form.get("url")[: notify.MAX_URL + 1],
        description=form.get("description")[: notify.MAX_DESCRIPTION + 1],
        events=tuple(form.all("events")[: len(notify.WebhookKind)]),
        topics=form.get("topics")[:MAX_TYPED],
        key=form.get("key"),
    )


def _of(endpoint: notify.Endpoint) -> Typed:
    return Typed(
        url=endpoint.url,
        description=endpoint.description,
        events=endpoint.events,
        topics="\n".join(endpoint.topics),
        key=str(new_id()),
    )


def _id(text: str) -> UUID:
    found = parse_id(text)
    if found is None:
        raise NotFound()
    return found


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop
