"""What the shop wrote to its followers: a feed, and each post by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.notify.contracts import Post
from tidegate.notify.posts import find_post, list_posts
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, parse_id
from tidegate.platform.problems import NotFound
from tidegate.web import NOT_KEPT, render

router = APIRouter(include_in_schema=False)

SHOWN: Final = 20
"""Most posts on a page."""


@dataclass(frozen=True, slots=True)
class PostsContext:
    """Context of `notify/posts.html`. `alone`: one post by itself.

    `before` is where the page begins, empty for the newest; `older` is the next page's address, or empty.
    """

    posts: tuple[Post, ...]
    alone: bool
    before: str = ""
    older: str = ""


@router.get("/posts")
async def show_posts(request: Request, before: str = "") -> Response:
    """The feed, the newest first."""
    start = parse_id(before)
    database: Database = request.app.state.database
    async with database.connection() as conn:
        posts = await list_posts(conn, limit=SHOWN + 1, before=None if start is None else EventId(start))
    older = f"/posts?{urlencode({'before': posts[SHOWN - 1].post_id})}" if len(posts) > SHOWN else ""
    place = "" if start is None else str(start)
    context = PostsContext(tuple(posts[:SHOWN]), alone=False, before=place, older=older)
    return render(request, "notify/posts.html", context, headers=NOT_KEPT)


@router.get("/posts/{post_id}")
async def show_post(request: Request, post_id: str) -> Response:
    """One post."""
    wanted = parse_id(post_id)
    if wanted is None:
        raise NotFound()
    database: Database = request.app.state.database
    async with database.connection() as conn:
        post = await find_post(conn, post_id=EventId(wanted))
    return render(request, "notify/posts.html", PostsContext((post,), alone=True))
