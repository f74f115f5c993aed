"""What is new in somebody's inbox, while they look: server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tidegate.notify.contracts import InboxMessage
from tidegate.notify.live import End, Listeners, News, Stream, spread_ms
from tidegate.platform.edge.exchange import exchange_of
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.ids import parse_id
from tidegate.platform.problems import NotSignedIn, Overloaded
from tidegate.platform.settings import Settings
from tidegate.web import Visitor, require_person, session_token

router = APIRouter(prefix="/api/v1/inbox", tags=["inbox"])

HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""No proxy may keep it, or wait for its end."""

EXAMPLE = """\
id: 019a5c1e-7f3a-7b52-9d0e-2f6a4c8b1d3e
event: unread
data: {"unread": 1}

id: 019a5c1e-7f3a-7b52-9d0e-2f6a4c8b1d3e
event: message
data: {"id": "...", "subject": "...", "body": "...", "link": "...", "created_at": "..."}
"""


class InboxStream(StreamingResponse):
    """The events of one stream, as they come. Raises: Overloaded before it starts."""

    def __init__(self, request: Request, person: Visitor, token: str, position: str) -> None:
        self._request = request
        self._person = person
        self._token = token
        self._position = position
        super().__init__((), headers=HEADERS, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it (ASGI)."""
        listeners: Listeners = self._request.app.state.listeners
        position = parse_id(self._position)
        async with listeners.listening(person_id=self._person.id, token=self._token, position=position) as stream:
            exchange_of(scope).begin_stream()
            self.body_iterator = self._events(stream)
            await super().__call__(scope, receive, send)

    async def _events(self, stream: Stream) -> AsyncIterator[bytes]:
        settings: Settings = self._request.app.state.settings
        until = monotonic() + settings.live.max_s
        yield format_sse_event(retry=spread_ms(settings))
        while True:
            left_s = until - monotonic()
            news = await stream.next(within_s=max(min(settings.live.heartbeat_s, left_s), 0))
            if news is not None:
                yield _told(news)
            elif stream.end is not None:
                break
            elif left_s <= 0:
                stream.finish(End.OLD)
            elif not await self._is_still_theirs():
                stream.finish(End.SIGNED_OUT)
            else:
                yield format_sse_event(comment="still here")
        if stream.end in (End.REPLACED, End.SIGNED_OUT):
            yield format_sse_event(event=stream.end.value, data_str="{}")
        else:
            yield format_sse_event(retry=spread_ms(settings))

    async def _is_still_theirs(self) -> bool:
        person: Visitor | None = await self._request.app.state.resolve_person(self._token)
        return person is not None and person.id == self._person.id


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events, for as long as you listen.",
            "content": {"text/event-stream": {"example": EXAMPLE}},
        },
        **problems_by_status((NotSignedIn, Overloaded)),
    },
)
async def get_events(
    request: Request,
    last_event_id: Annotated[
        str, Header(max_length=100, description="The id of the last event that you got, to get what came since.")
    ] = "",
    after: Annotated[str, Query(max_length=100, description="The same, for clients that cannot send the header.")] = "",
) -> InboxStream:
    """Be told of new messages as they come, and of how many are unread.

    `message` carries a new message, which may come twice around a reconnect: know it by its `id`. `unread` carries the
    count. `more` says that there is more than was told: read the inbox. A browser has one stream: another one of the
    same session ends this one with `replaced`; `signed-out` ends it when the session is over. Else come back when it
    ends, as browsers do by themselves.
    """
    person = await require_person(request)
    token = session_token(request)
    assert token is not None, "whoever is known has come with a token"
    return InboxStream(request, person, token, last_event_id or after)


def _told(news: News) -> bytes:
    position = str(news.position)
    parts = [
        format_sse_event(id=position, event="message", data_str=json.dumps(_shape(message)))
        for message in news.messages
    ]
    if news.more:
        parts.append(format_sse_event(id=position, event="more", data_str="{}"))
    parts.append(format_sse_event(id=position, event="unread", data_str=json.dumps({"unread": news.unread})))
    return b"".join(parts)


def _shape(message: InboxMessage) -> dict[str, str]:
    return {
        "id": str(message.event_id),
        "subject": message.subject,
        "body": message.body,
        "link": message.link,
        "created_at": message.created_at.isoformat(),
    }
