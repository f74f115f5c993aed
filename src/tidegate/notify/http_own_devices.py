"""JSON routes of the devices of the account that is asking."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from tidegate.notify.devices import list_devices, remove_device, upsert_devices
from tidegate.notify.http_devices import DeviceAnswer, DeviceBody, DeviceList, WrittenDeviceAnswer, WrittenDevices
from tidegate.notify.http_keys import database_of
from tidegate.notify.pages_preferences import AddressOf
from tidegate.notify.preferences import ensure_recipient, find_account
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import InvalidRequest, NotFound, NotSignedIn
from tidegate.platform.settings import Settings
from tidegate.web import request_locale, require_person

router = APIRouter(prefix="/api/v1/me/devices", tags=["followers"])

AT_ONCE = 20
"""Most devices of one request: somebody tells of the one that they use."""
PROBLEMS = problems_by_status((NotSignedIn, NotFound))
WRITE_PROBLEMS = problems_by_status((NotSignedIn, NotFound, InvalidRequest))


async def require_owner(request: Request) -> tuple[PersonId, str]:
    """Whose account it is, and its address. Raises: NotSignedIn for strangers and guests, NotFound without one."""
    person = await require_person(request)
    if person.role == "guest":
        raise NotSignedIn()
    address_of: AddressOf = request.app.state.address_of
    email = await address_of(person.id)
    if email is None:
        raise NotFound()
    return person.id, email


Owner = Annotated[tuple[PersonId, str], Depends(require_owner)]


class OwnDevicesBody(BaseModel):
    """Devices to write down."""

    devices: Annotated[list[DeviceBody], Field(min_length=1, max_length=AT_ONCE)]


@router.get("", responses=PROBLEMS)
async def get_own_devices(request: Request, owner: Owner) -> DeviceList:
    """The devices on which you can be told."""
    person_id, email = owner
    async with database_of(request).connection() as conn:
        found = await find_account(conn, person_id=person_id, email=email)
        devices = [] if found is None else await list_devices(conn, recipient_id=found.recipient_id)
    return DeviceList(items=[DeviceAnswer.of(each) for each in devices])


@router.put("", responses=WRITE_PROBLEMS)
async def put_own_devices(request: Request, owner: Owner, body: OwnDevicesBody) -> WrittenDevices:
    """Write down devices of yours. A known one is replaced, and is yours from now on, whosever it was."""
    person_id, email = owner
    settings: Settings = request.app.state.settings
    async with database_of(request).transaction() as conn:
        recipient_id = await ensure_recipient(conn, person_id=person_id, email=email, locale=request_locale(request))
        written = await upsert_devices(
            conn,
            recipients=[recipient_id] * len(body.devices),
            devices=[each.device for each in body.devices],
            most=settings.follows.max_devices,
        )
    return WrittenDevices(devices=[WrittenDeviceAnswer.of(each) for each in written])


@router.delete("/{device_id}", status_code=204, responses=PROBLEMS)
async def delete_own_device(request: Request, owner: Owner, device_id: UUID) -> Response:
    """Forget a device of yours."""
    person_id, email = owner
    async with database_of(request).transaction() as conn:
        found = await find_account(conn, person_id=person_id, email=email)
        if found is None:
            raise NotFound()
        await remove_device(conn, recipient_id=found.recipient_id, device_id=device_id)
    return Response(status_code=204)
