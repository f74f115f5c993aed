"""Which application is asking: by the access key that comes as the bearer token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from tidegate.notify.applications import Caller, KeyRole, find_caller
from tidegate.platform.database import Database
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import InvalidRequest, NotAllowed, NotFound, NotSignedIn, Problem
from tidegate.platform.texts import text as _
from tidegate.web import Visitor, require_staff, session_token

KEY_PROBLEMS: tuple[type[Problem], ...] = (NotSignedIn, NotAllowed, InvalidRequest)
PROBLEMS = problems_by_status(KEY_PROBLEMS)
FOUND_PROBLEMS = problems_by_status((*KEY_PROBLEMS, NotFound))
KEY_KEY = "tidegate.notify_key"


@dataclass(frozen=True, slots=True)
class Operator:
    """Who has an operator's key, as one of the staff."""

    id: PersonId
    role: str = "staff"


def database_of(request: Request) -> Database:
    """The database of the process that answers."""
    database: Database = request.app.state.database
    return database


async def current_key(request: Request) -> Caller | None:
    """Whose access key came with a request; None when none did."""
    if KEY_KEY not in request.scope:
        token = session_token(request) or ""
        found = None
        if token and "authorization" in request.headers:
            async with database_of(request).connection() as conn:
                found = await find_caller(conn, token=token)
        request.scope[KEY_KEY] = found
    caller: Caller | None = request.scope[KEY_KEY]
    return caller


async def require_sender(request: Request) -> UUID:
    """The application whose sender's key came. Raises: NotSignedIn, NotAllowed."""
    return await _application(request, KeyRole.SENDER)


async def require_reader(request: Request) -> UUID:
    """The application whose key came, which may be one that only looks. Raises: NotSignedIn, NotAllowed."""
    return await _application(request, KeyRole.SENDER, KeyRole.READER)


async def require_provider(request: Request) -> None:
    """Asks for the key of a mail provider. Raises: NotSignedIn, NotAllowed."""
    await _require(request, KeyRole.RECEIPTS)


async def require_operator(request: Request) -> Visitor:
    """Who is asking, when that is staff or has an operator's key. Raises: NotSignedIn, NotAllowed, NotFound."""
    if await current_key(request) is None:
        return await require_staff(request)
    return Operator(PersonId((await _require(request, KeyRole.OPERATOR)).key_id))


async def watch_scope(request: Request) -> UUID | None:
    """Whose messages may be looked at: an application's by its key, all (None) by an operator. Raises: as both."""
    if await _is_operator(request):
        return None
    return await require_reader(request)


async def steer_scope(request: Request) -> UUID | None:
    """Whose messages may be changed, likewise."""
    if await _is_operator(request):
        return None
    return await require_sender(request)


async def actor_of(request: Request) -> PersonId:
    """Who does something by `Steered`, for what they make and for the log: an application goes by its own id."""
    caller = await current_key(request)
    if caller is None or caller.application_id is None:
        return (await require_operator(request)).id
    return PersonId(caller.application_id)


async def _is_operator(request: Request) -> bool:
    caller = await current_key(request)
    if caller is not None and caller.application_id is not None:
        return False
    await require_operator(request)
    return True


async def _application(request: Request, *roles: KeyRole) -> UUID:
    caller = await _require(request, *roles)
    assert caller.application_id is not None, "keys of these roles belong to an application"
    return caller.application_id


async def _require(request: Request, *roles: KeyRole) -> Caller:
    caller = await current_key(request)
    if caller is None:
        raise NotSignedIn(
            _("Send an access key as `Authorization: Bearer KEY`; `tidegate notify key create` makes one.")
        )
    if caller.role not in roles:
        needed = ", ".join(roles)
        raise NotAllowed(
            _("This needs a key of the role %(needed)s, and yours is one of %(role)s.", needed=needed, role=caller.role)
        )
    return caller


Sender = Annotated[UUID, Depends(require_sender)]
Reader = Annotated[UUID, Depends(require_reader)]
Operated = Annotated[Visitor, Depends(require_operator)]
Watched = Annotated[UUID | None, Depends(watch_scope)]
Steered = Annotated[UUID | None, Depends(steer_scope)]
