"""What every page of the staff stands on: who may see it.

A router of the staff's pages is made by `staff_router`, so that no page can forget the question who is asking.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from tidegate.platform.problems import NotFound
from tidegate.web import SignInFirst, Visitor, current_person

STAFF = frozenset({"staff", "admin"})
ADMINS = frozenset({"admin"})


def staff_router(prefix: str = "", *, roles: frozenset[str] = STAFF) -> APIRouter:
    """A router under `/admin` that only `roles` get through; to everyone else who is signed in its pages are not there.

    Raises, in its routes: SignInFirst for strangers, NotFound for others.
    """

    async def admit(request: Request) -> None:
        person = await current_person(request)
        if person is None:
            raise SignInFirst(then=request.url.path if request.method == "GET" else "/admin")
        if person.role not in roles:
            raise NotFound()

    return APIRouter(prefix=f"/admin{prefix}", include_in_schema=False, dependencies=[Depends(admit)])


async def staff_member(request: Request) -> Visitor:
    """Who is asking, behind a `staff_router`."""
    person = await current_person(request)
    assert person is not None, "staff_router let a stranger pass"
    return person
