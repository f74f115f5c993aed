"""JSON routes by which staff, and applications for their own messages, make and steer webhook endpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, Field

from tidegate.notify.http_keys import KEY_PROBLEMS as ALL_PROBLEMS
from tidegate.notify.http_keys import Steered, Watched, actor_of, database_of
from tidegate.notify.webhook_addresses import MAX_URL, check_reachable, checked_url, resolve_host
from tidegate.notify.webhook_contracts import (
    DisabledWhy,
    Endpoint,
    EndpointDiffers,
    EndpointDisabled,
    EndpointsFull,
    EndpointState,
    Keys,
    WebhookDelivery,
    WebhookKind,
)
from tidegate.notify.webhook_views import list_webhooks, replay_webhook
from tidegate.notify.webhooks import (
    MAX_DESCRIPTION,
    MAX_TOPICS,
    change_endpoint,
    delete_endpoint,
    disable_endpoint,
    enable_endpoint,
    find_endpoint,
    list_endpoints,
    make_endpoint,
    rotate_secret,
    send_test,
)
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.ids import EventId
from tidegate.platform.problems import KeyMissing, NotFound
from tidegate.platform.settings import Settings

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/api/v1/notify/webhooks", tags=["notify"])

RequestKey = Annotated[
    str, Header(alias="Idempotency-Key", description="Any text of up to 255 characters, new each time.", max_length=255)
]
PAGE = 50
PROBLEMS = problems_by_status((*ALL_PROBLEMS, NotFound))
MAKE_PROBLEMS = problems_by_status((*ALL_PROBLEMS, NotFound, KeyMissing, EndpointDiffers, EndpointsFull))
CHANGE_PROBLEMS = problems_by_status((*ALL_PROBLEMS, NotFound, EndpointsFull))
KEY_PROBLEMS = problems_by_status((*ALL_PROBLEMS, NotFound, KeyMissing))
TEST_PROBLEMS = problems_by_status((*ALL_PROBLEMS, NotFound, KeyMissing, EndpointDisabled))
REPLAY_PROBLEMS = problems_by_status((*ALL_PROBLEMS, NotFound, EndpointDisabled))

Url = Annotated[str, Field(min_length=1, max_length=MAX_URL, description="https://, or http://; a public host.")]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION)]
Events = Annotated[list[WebhookKind], Field(min_length=1, max_length=len(WebhookKind))]
Topics = Annotated[
    list[Annotated[str, Field(max_length=320)]],
    Field(
        max_length=MAX_TOPICS, description="drop:midnight, an application's custom:news; narrows messages to followers."
    ),
]


class WebhookEndpointBody(BaseModel):
    """What to tell, and where."""

    url: Url
    events: Events
    description: Description = ""
    topics: Topics = []


class WebhookEndpointChange(BaseModel):
    """What is to be different; what is left out stays as it is."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    topics: Topics | None = None
    state: EndpointState | None = None


class WebhookEndpointAnswer(BaseModel):
    """An endpoint. `failures` are in a row; an old secret signs beside the new one until `old_secret_until`."""

    id: UUID
    url: str
    description: str
    events: list[str]
    topics: list[str]
    state: EndpointState
    disabled_why: DisabledWhy | None
    disabled_at: datetime | None
    failures: int
    failing_since: datetime | None
    old_secret_until: datetime | None
    created_at: datetime
    application_id: UUID | None = Field(description="Whose it is, and of whose messages it is told; null: all.")

    @classmethod
    def of(cls, endpoint: Endpoint) -> WebhookEndpointAnswer:
        """The shape of an endpoint."""
        return cls(
            id=endpoint.endpoint_id,
            url=endpoint.url,
            description=endpoint.description,
            events=list(endpoint.events),
            topics=list(endpoint.topics),
            state=endpoint.state,
            disabled_why=endpoint.disabled_why,
            disabled_at=endpoint.disabled_at,
            failures=endpoint.failures,
            failing_since=endpoint.failing_since,
            old_secret_until=endpoint.old_secret_until,
            created_at=endpoint.created_at,
            application_id=endpoint.application_id,
        )


class WebhookSecretAnswer(BaseModel):
    """An endpoint with its secret, which is told here only."""

    endpoint: WebhookEndpointAnswer
    secret: str = Field(description="Standard Webhooks: whsec_ and base64.")

    @classmethod
    def of(cls, keys: Keys) -> WebhookSecretAnswer:
        """The shape of an endpoint with its secret."""
        return cls(endpoint=WebhookEndpointAnswer.of(keys.endpoint), secret=keys.secret)


class WebhookEndpointPage(BaseModel):
    """Endpoints; `next` is the address of the page behind, or null."""

    items: list[WebhookEndpointAnswer]
    next: str | None


class WebhookAnswer(BaseModel):
    """A webhook and what became of it."""

    event_id: UUID
    kind: str
    state: str
    attempts: int
    status_code: int | None
    error: str
    created_at: datetime
    sent_at: datetime | None
    next_attempt_at: datetime | None

    @classmethod
    def of(cls, webhook: WebhookDelivery) -> WebhookAnswer:
        """The shape of a webhook."""
        return cls(**{name: getattr(webhook, name) for name in cls.model_fields})


class WebhookPage(BaseModel):
    """Webhooks; `next` is the address of the page behind, or null."""

    items: list[WebhookAnswer]
    next: str | None


class WebhookTestAnswer(BaseModel):
    """A test that is on its way, by its event."""

    event_id: UUID


class WebhookDeleted(BaseModel):
    """An endpoint that is gone, and how many webhooks waited for it: these are not sent any more."""

    id: UUID
    waiting: int


@router.get("", responses=PROBLEMS)
async def get_notify_webhooks(
    request: Request, scope: Watched, limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE, before: UUID | None = None
) -> WebhookEndpointPage:
    """Endpoints, the newest first."""
    async with database_of(request).connection() as conn:
        found = await list_endpoints(conn, limit=limit + 1, before=before, application_id=scope)
    behind = f"?limit={limit}&before={found[limit - 1].endpoint_id}" if len(found) > limit else None
    return WebhookEndpointPage(
        items=[WebhookEndpointAnswer.of(each) for each in found[:limit]],
        next=None if behind is None else f"/api/v1/notify/webhooks{behind}",
    )


@router.post("", status_code=201, responses=MAKE_PROBLEMS)
async def post_notify_webhook(
    request: Request, scope: Steered, body: WebhookEndpointBody, key: RequestKey = ""
) -> WebhookSecretAnswer:
    """Make an endpoint. The same key makes one, however often it is sent, and tells its secret again."""
    await _check(request, body.url)
    by = await actor_of(request)
    async with database_of(request).transaction() as conn:
        keys = await make_endpoint(
            conn,
            _settings(request).webhooks,
            url=body.url,
            description=body.description,
            events=body.events,
            topics=body.topics,
            author_id=by,
            request_key=_key(key),
            application_id=scope,
        )
    log.info("webhook endpoint made", endpoint=str(keys.endpoint.endpoint_id), by=str(by))
    return WebhookSecretAnswer.of(keys)


@router.get("/{endpoint_id}", responses=PROBLEMS)
async def get_notify_webhook(request: Request, scope: Watched, endpoint_id: UUID) -> WebhookEndpointAnswer:
    """One endpoint."""
    async with database_of(request).connection() as conn:
        return WebhookEndpointAnswer.of(await find_endpoint(conn, endpoint_id=endpoint_id, application_id=scope))


@router.patch("/{endpoint_id}", responses=CHANGE_PROBLEMS)
async def patch_notify_webhook(
    request: Request, scope: Steered, endpoint_id: UUID, body: WebhookEndpointChange
) -> WebhookEndpointAnswer:
    """Change an endpoint, disable or enable it."""
    if body.url is not None:
        await _check(request, body.url)
    by = await actor_of(request)
    async with database_of(request).transaction() as conn:
        old = await find_endpoint(conn, endpoint_id=endpoint_id, application_id=scope)
        changed = await change_endpoint(
            conn,
            endpoint_id=endpoint_id,
            url=old.url if body.url is None else body.url,
            description=old.description if body.description is None else body.description,
            events=old.events if body.events is None else body.events,
            topics=old.topics if body.topics is None else body.topics,
        )
        if body.state is EndpointState.ACTIVE:
            changed = await enable_endpoint(conn, _settings(request).webhooks, endpoint_id=endpoint_id)
        elif body.state is EndpointState.DISABLED:
            changed = await disable_endpoint(conn, endpoint_id=endpoint_id)
    log.info("webhook endpoint changed", endpoint=str(endpoint_id), state=changed.state.value, by=str(by))
    return WebhookEndpointAnswer.of(changed)


@router.delete("/{endpoint_id}", responses=PROBLEMS)
async def delete_notify_webhook(request: Request, scope: Steered, endpoint_id: UUID) -> WebhookDeleted:
    """Delete an endpoint with its address and secrets. What waits for it is suppressed within seconds, and counted."""
    by = await actor_of(request)
    async with database_of(request).transaction() as conn:
        await find_endpoint(conn, endpoint_id=endpoint_id, application_id=scope)
        waiting = await delete_endpoint(conn, endpoint_id=endpoint_id)
    log.info("webhook endpoint deleted", endpoint=str(endpoint_id), waiting=waiting, by=str(by))
    return WebhookDeleted(id=endpoint_id, waiting=waiting)


@router.post("/{endpoint_id}/secret", responses=KEY_PROBLEMS)
async def post_notify_webhook_secret(
    request: Request, scope: Steered, endpoint_id: UUID, key: RequestKey = ""
) -> WebhookSecretAnswer:
    """Give it a new secret; the old one signs beside it for a day. The same key rotates once."""
    by = await actor_of(request)
    async with database_of(request).transaction() as conn:
        await find_endpoint(conn, endpoint_id=endpoint_id, application_id=scope)
        keys = await rotate_secret(conn, _settings(request).webhooks, endpoint_id=endpoint_id, request_key=_key(key))
    log.info("webhook secret rotated", endpoint=str(endpoint_id), by=str(by))
    return WebhookSecretAnswer.of(keys)


@router.post("/{endpoint_id}/test", status_code=202, responses=TEST_PROBLEMS)
async def post_notify_webhook_test(
    request: Request, scope: Steered, endpoint_id: UUID, key: RequestKey = ""
) -> WebhookTestAnswer:
    """Send it a test. The same key sends one."""
    async with database_of(request).transaction() as conn:
        await find_endpoint(conn, endpoint_id=endpoint_id, application_id=scope)
        event_id = await send_test(conn, endpoint_id=endpoint_id, request_key=_key(key))
    return WebhookTestAnswer(event_id=event_id)


@router.get("/{endpoint_id}/deliveries", responses=PROBLEMS)
async def get_notify_webhook_deliveries(
    request: Request,
    scope: Watched,
    endpoint_id: UUID,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    before: UUID | None = None,
) -> WebhookPage:
    """What it was told, of the newest events first."""
    last = None if before is None else EventId(before)
    async with database_of(request).connection() as conn:
        await find_endpoint(conn, endpoint_id=endpoint_id, application_id=scope)
        found = await list_webhooks(conn, endpoint_id=endpoint_id, limit=limit + 1, before=last)
    behind = f"?limit={limit}&before={found[limit - 1].event_id}" if len(found) > limit else None
    return WebhookPage(
        items=[WebhookAnswer.of(each) for each in found[:limit]],
        next=None if behind is None else f"/api/v1/notify/webhooks/{endpoint_id}/deliveries{behind}",
    )


@router.post("/{endpoint_id}/deliveries/{event_id}/replay", status_code=204, responses=REPLAY_PROBLEMS)
async def post_notify_webhook_replay(request: Request, scope: Steered, endpoint_id: UUID, event_id: UUID) -> None:
    """Tell it of an event again, under the same webhook-id."""
    by = await actor_of(request)
    async with database_of(request).transaction() as conn:
        await find_endpoint(conn, endpoint_id=endpoint_id, application_id=scope)
        await replay_webhook(conn, endpoint_id=endpoint_id, event_id=EventId(event_id))
    log.info("webhook replayed", endpoint=str(endpoint_id), event_id=str(event_id), by=str(by))


async def _check(request: Request, url: str) -> None:
    limits = _settings(request).webhooks
    await check_reachable(
        checked_url(url), allowed=limits.allow_hosts, resolve=resolve_host, timeout_s=float(limits.timeout_s)
    )


def _key(key: str) -> str:
    if not key.strip():
        raise KeyMissing()
    return key.strip()


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings
