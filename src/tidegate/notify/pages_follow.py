"""Where the link at the end of a message to followers leads.

Opening it shows a page with a button, and only a POST acts: mail scanners open links, too. Mail programs post to the
same address by themselves (RFC 8058). The link is all that counts: no cookie is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.notify.contracts import Topic
from tidegate.notify.follow_links import read_unsubscribe
from tidegate.notify.follows import end_follow, find_topic
from tidegate.platform.database import Database
from tidegate.platform.problems import NotFound
from tidegate.web import NOT_KEPT, render

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class UnsubscribeContext:
    """Context of `notify/unsubscribe.html`. `topic` is None where the link was cut off."""

    topic: Topic | None
    token: str = ""
    done: bool = False


@router.get("/unsubscribe")
async def show_unsubscribe(request: Request, token: str = "") -> Response:
    """What the link ends, and a button."""
    database: Database = request.app.state.database
    try:
        topic_id, _fingerprint = read_unsubscribe(token)
        async with database.connection() as conn:
            topic = await find_topic(conn, topic_id=topic_id)
    except NotFound:
        return _page(request, UnsubscribeContext(None))
    return _page(request, UnsubscribeContext(topic, token))


@router.post("/unsubscribe")
async def post_unsubscribe(request: Request, token: str = "") -> Response:
    """End the follow. Doing it again changes nothing."""
    database: Database = request.app.state.database
    topic_id, fingerprint = read_unsubscribe(token)
    async with database.transaction() as conn:
        topic = await find_topic(conn, topic_id=topic_id)
        await end_follow(conn, topic_id=topic_id, email_fingerprint=fingerprint)
    return _page(request, UnsubscribeContext(topic, done=True))


def _page(request: Request, context: UnsubscribeContext) -> Response:
    return render(request, "notify/unsubscribe.html", context, headers=NOT_KEPT)
