"""JSON routes of an application's address book."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from tidegate.notify.address_book import (
    MOST_ROWS,
    Known,
    Row,
    Written,
    erase_recipient,
    find_by_email,
    find_known,
    list_known,
    upsert_recipients,
)
from tidegate.notify.http_keys import FOUND_PROBLEMS, PROBLEMS, Reader, Sender, database_of

router = APIRouter(prefix="/api/v1/notify", tags=["notify"])

PAGE = 100
Text = Annotated[str, Field(max_length=400)]


class RecipientBody(BaseModel):
    """Somebody to write to. `external_id` is your own id of them; what is left out is emptied."""

    external_id: Text
    email: Annotated[str, Field(max_length=400, repr=False)]
    name: Annotated[str, Field(max_length=400, repr=False)] = ""
    locale: Text = Field("", description="The language to write in, such as `de` or `pt_BR`.")
    time_zone: Text = Field("", description="An IANA name, such as `Europe/Berlin`.")
    has_inbox: bool = Field(False, description="Whether messages are kept in an inbox too, which you read and show.")


class RecipientsBody(BaseModel):
    """Recipients to write down, new ones and known ones."""

    recipients: Annotated[list[RecipientBody], Field(min_length=1, max_length=MOST_ROWS)]


class WrittenAnswer(BaseModel):
    """A recipient that was written."""

    id: UUID
    external_id: str
    created: bool


class RecipientsAnswer(BaseModel):
    """What was written, in the order asked."""

    created: int
    updated: int
    recipients: list[WrittenAnswer]

    @classmethod
    def of(cls, written: list[Written]) -> RecipientsAnswer:
        """The shape of what was written."""
        created = sum(each.created for each in written)
        rows = [
            WrittenAnswer(id=each.recipient_id, external_id=each.external_id, created=each.created) for each in written
        ]
        return cls(created=created, updated=len(written) - created, recipients=rows)


class RecipientAnswer(BaseModel):
    """A recipient as it is kept."""

    id: UUID
    external_id: str
    email: str
    name: str
    locale: str
    time_zone: str
    has_inbox: bool

    @classmethod
    def of(cls, known: Known) -> RecipientAnswer:
        """The shape of a recipient."""
        return cls(
            id=known.recipient_id,
            external_id=known.external_id,
            email=known.email,
            name=known.name,
            locale=known.locale,
            time_zone=known.time_zone,
            has_inbox=known.has_inbox,
        )


class RecipientPage(BaseModel):
    """Recipients in the order of your ids; `next` is the address of the page behind, or null."""

    items: list[RecipientAnswer]
    next: str | None


class RecipientAddress(BaseModel):
    """An address to look up, which stands in the body and not in the request's own address."""

    email: Annotated[str, Field(max_length=400, repr=False)]


@router.put("/recipients", responses=PROBLEMS)
async def put_notify_recipients(request: Request, application: Sender, body: RecipientsBody) -> RecipientsAnswer:
    """Write down up to 1,000 recipients: all of them, or none where one is wrong; the problem names each wrong field.

    A recipient whose `external_id` is known is replaced. Sending the same again changes nothing.
    """
    rows = [Row(**each.model_dump()) for each in body.recipients]
    async with database_of(request).transaction() as conn:
        written = await upsert_recipients(conn, application_id=application, rows=rows)
    return RecipientsAnswer.of(written)


@router.get("/recipients", responses=PROBLEMS)
async def get_notify_recipients(
    request: Request,
    application: Reader,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    after: Annotated[str, Query(max_length=100)] = "",
) -> RecipientPage:
    """Your recipients in the order of your ids."""
    async with database_of(request).connection() as conn:
        found = await list_known(conn, application_id=application, limit=limit + 1, after=after)
    behind = (
        f"/api/v1/notify/recipients?limit={limit}&after={found[limit - 1].external_id}" if len(found) > limit else None
    )
    return RecipientPage(items=[RecipientAnswer.of(each) for each in found[:limit]], next=behind)


@router.post("/recipients/find", responses=FOUND_PROBLEMS)
async def post_notify_recipient_find(request: Request, application: Reader, body: RecipientAddress) -> RecipientAnswer:
    """The recipient that has an address, however its letters are cased."""
    async with database_of(request).connection() as conn:
        return RecipientAnswer.of(await find_by_email(conn, application_id=application, email=body.email))


@router.get("/recipients/{external_id}", responses=FOUND_PROBLEMS)
async def get_notify_recipient(request: Request, application: Reader, external_id: str) -> RecipientAnswer:
    """One recipient, by your id."""
    async with database_of(request).connection() as conn:
        return RecipientAnswer.of(await find_known(conn, application_id=application, external_id=external_id))


@router.delete("/recipients/{external_id}", status_code=204, responses=FOUND_PROBLEMS)
async def delete_notify_recipient(request: Request, application: Sender, external_id: str) -> Response:
    """Erase a recipient: the address, follows, messages and what is kept of them. What waits is not sent any more."""
    async with database_of(request).transaction() as conn:
        await erase_recipient(conn, application_id=application, external_id=external_id)
    return Response(status_code=204)
