"""JSON routes of what mail providers say afterwards, and of the addresses that are not written to for it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from tidegate.notify.fields import wrong_fields
from tidegate.notify.http_keys import PROBLEMS, Operated, database_of, require_provider
from tidegate.notify.receipts import MOST_RECEIPTS, Receipt, ReceiptKind, check_receipt, record_receipts
from tidegate.notify.signers import is_signed
from tidegate.notify.suppressions import MAX_WHY, Reason, find_suppressions, lift_suppressions, stop_address
from tidegate.platform.database import Connection
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.problems import InvalidRequest, NotFound, NotSignedIn
from tidegate.platform.texts import text as _

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/api/v1/notify", tags=["notify"])

STAFF_PROBLEMS = problems_by_status((NotSignedIn, NotFound, InvalidRequest))


SIGNED_PROBLEMS = problems_by_status((NotSignedIn, InvalidRequest))
SIGNATURE_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
BY_API = "lifted by the API"
"""What is noted where nobody says why."""


class ReceiptBody(BaseModel):
    """What became of one mail. Name it by its `message_id`; where that is not known, the address by `email`."""

    kind: ReceiptKind
    message_id: Annotated[str, Field(max_length=400)] = ""
    email: Annotated[str, Field(max_length=400, repr=False)] = ""
    detail: Annotated[str, Field(max_length=400, description="The provider's code, such as 5.1.1; no address.")] = ""


class ReceiptsBody(BaseModel):
    """What a provider says."""

    receipts: Annotated[list[ReceiptBody], Field(min_length=1, max_length=MOST_RECEIPTS)]


class ReceiptsAnswer(BaseModel):
    """How many receipts were noted; `unknown` are the places in the list of those that name no mail of ours."""

    noted: int
    unknown: list[int]


class SuppressedAddress(BaseModel):
    """An address to look up."""

    email: Annotated[str, Field(min_length=1, max_length=400, repr=False)]


class StoppedAddress(SuppressedAddress):
    """An address that is not to be written to any more, and why."""

    why: Annotated[str, Field(min_length=1, max_length=MAX_WHY, description="What its owner asked, or where.")]


class LiftedAddress(SuppressedAddress):
    """An address to write to again, and why."""

    why: Annotated[str, Field(min_length=1, max_length=MAX_WHY, description="What has changed.")] = BY_API


class SuppressionAnswer(BaseModel):
    """Why an address is not written to."""

    reason: Reason
    detail: str
    since: datetime


class SuppressionList(BaseModel):
    """Reasons not to write to an address; none when it is written to."""

    items: list[SuppressionAnswer]


class LiftedAnswer(BaseModel):
    """How many reasons there were."""

    lifted: int


@router.post("/receipts", responses=PROBLEMS, dependencies=[Depends(require_provider)])
async def post_notify_receipts(request: Request, body: ReceiptsBody) -> ReceiptsAnswer:
    """Say what became of up to 1,000 mails, with a key of the role `receipts`. Saying it again changes nothing."""
    return await _record(request, body)


async def require_signature(request: Request, provider: str) -> None:
    """Asks for a provider's signature of the body. Raises: NotSignedIn, whether there is such a provider or not."""
    headers = {name: request.headers.get(name, "") for name in SIGNATURE_HEADERS}
    body = await request.body()
    async with database_of(request).connection() as conn:
        if not await is_signed(conn, slug=provider, body=body, headers=headers):
            raise NotSignedIn(_("Sign the request as Standard Webhooks has it, with the secret of this provider."))


@router.post("/receipts/{provider}", responses=SIGNED_PROBLEMS, dependencies=[Depends(require_signature)])
async def post_notify_signed_receipts(request: Request, provider: str, body: ReceiptsBody) -> ReceiptsAnswer:
    """Say what became of up to 1,000 mails, signed as Standard Webhooks has it with the provider's secret.

    Headers: `webhook-id`, `webhook-timestamp` (seconds, at most five minutes old) and `webhook-signature`.
    """
    return await _record(request, body)


async def _record(request: Request, body: ReceiptsBody) -> ReceiptsAnswer:
    receipts = [Receipt(each.kind, each.message_id.strip(), each.email.strip(), each.detail) for each in body.receipts]
    errors = [(f"receipts[{number}]", wrong) for number, each in enumerate(receipts) if (wrong := check_receipt(each))]
    if errors:
        raise wrong_fields(errors)
    async with database_of(request).transaction() as conn:
        recorded = await record_receipts(conn, receipts)
    return ReceiptsAnswer(noted=recorded.noted, unknown=list(recorded.unknown))


@router.post("/suppressions/find", responses=STAFF_PROBLEMS)
async def post_notify_suppression_find(request: Request, person: Operated, body: SuppressedAddress) -> SuppressionList:
    """Why an address is not written to."""
    async with database_of(request).connection() as conn:
        return await _suppressions(conn, body.email)


@router.post("/suppressions", responses=STAFF_PROBLEMS)
async def post_notify_suppression(request: Request, person: Operated, body: StoppedAddress) -> SuppressionList:
    """Write no more to an address but links that somebody asks for; why it is not. Asking again changes nothing."""
    async with database_of(request).transaction() as conn:
        await stop_address(conn, email=body.email, why=body.why, by=person.id)
        found = await _suppressions(conn, body.email)
    log.info("address stopped", by=str(person.id))
    return found


@router.post("/suppressions/lift", responses=STAFF_PROBLEMS)
async def post_notify_suppression_lift(request: Request, person: Operated, body: LiftedAddress) -> LiftedAnswer:
    """Write to an address again. Who lifted it, when and why is kept."""
    async with database_of(request).transaction() as conn:
        lifted = await lift_suppressions(conn, email=body.email, why=body.why, by=person.id)
    log.info("suppression lifted", by=str(person.id), reasons=lifted)
    return LiftedAnswer(lifted=lifted)


async def _suppressions(conn: Connection, email: str) -> SuppressionList:
    found = await find_suppressions(conn, email=email)
    items = [SuppressionAnswer(reason=Reason(each.reason), detail=each.detail, since=each.created_at) for each in found]
    return SuppressionList(items=items)
