"""JSON routes of the devices of an application's recipients."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from tidegate.notify.address_book import find_ids, find_known
from tidegate.notify.devices import (
    MOST_ROWS,
    Device,
    DeviceKind,
    NewDevice,
    WrittenDevice,
    check_devices,
    list_devices,
    remove_device,
    upsert_devices,
)
from tidegate.notify.fields import wrong_fields
from tidegate.notify.http_keys import FOUND_PROBLEMS, PROBLEMS, Reader, Sender, database_of
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _

router = APIRouter(prefix="/api/v1/notify", tags=["notify"])


class DeviceBody(BaseModel):
    """A device. `token` is as the push service gave it; a browser's is its subscription's endpoint."""

    kind: DeviceKind
    token: Annotated[str, Field(min_length=1, max_length=4_000, repr=False)]
    keys: Annotated[dict[str, Annotated[str, Field(max_length=400)]], Field(max_length=2, repr=False)] = Field(
        {}, description="Of a browser's subscription: `auth` and `p256dh`."
    )
    label: Annotated[str, Field(max_length=400, repr=False)] = Field("", description="What its owner calls it.")

    @property
    def device(self) -> NewDevice:
        """What it says."""
        return NewDevice(self.kind, self.token, self.keys, self.label)


class RecipientDeviceBody(DeviceBody):
    """A device of one of your recipients."""

    external_id: Annotated[str, Field(max_length=400)]


class RecipientDevicesBody(BaseModel):
    """Devices to write down, new ones and known ones."""

    devices: Annotated[list[RecipientDeviceBody], Field(min_length=1, max_length=MOST_ROWS)]


class WrittenDeviceAnswer(BaseModel):
    """A device that was written."""

    id: UUID
    created: bool

    @classmethod
    def of(cls, written: WrittenDevice) -> WrittenDeviceAnswer:
        """The shape of what was written."""
        return cls(id=written.device_id, created=written.created)


class WrittenDevices(BaseModel):
    """What was written, in the order asked."""

    devices: list[WrittenDeviceAnswer]


class DeviceAnswer(BaseModel):
    """A device as it is kept; it was last told of at `seen_at`."""

    id: UUID
    kind: DeviceKind
    token: str
    keys: dict[str, str]
    label: str
    created_at: datetime
    seen_at: datetime

    @classmethod
    def of(cls, device: Device) -> DeviceAnswer:
        """The shape of a device."""
        return cls(
            id=device.device_id,
            kind=device.kind,
            token=device.token,
            keys=dict(device.keys),
            label=device.label,
            created_at=device.created_at,
            seen_at=device.seen_at,
        )


class DeviceList(BaseModel):
    """Somebody's devices, those seen last first; there are few."""

    items: list[DeviceAnswer]


@router.put("/devices", responses=PROBLEMS)
async def put_notify_devices(request: Request, application: Sender, body: RecipientDevicesBody) -> WrittenDevices:
    """Write down up to 1,000 devices of your recipients: all of them, or none where one is wrong.

    A token that is known is replaced, and is its last owner's. Somebody who has more than fit keeps those seen last.
    """
    settings: Settings = request.app.state.settings
    devices = [each.device for each in body.devices]
    errors = check_devices(devices)
    async with database_of(request).transaction() as conn:
        known = await find_ids(
            conn, application_id=application, external_ids=[each.external_id for each in body.devices]
        )
        for number, each in enumerate(body.devices):
            if each.external_id not in known:
                errors.append((f"devices[{number}].external_id", _("There is no such recipient.")))
        if errors:
            raise wrong_fields(errors)
        written = await upsert_devices(
            conn,
            recipients=[known[each.external_id] for each in body.devices],
            devices=devices,
            most=settings.follows.max_devices,
            application_id=application,
        )
    return WrittenDevices(devices=[WrittenDeviceAnswer.of(each) for each in written])


@router.get("/recipients/{external_id}/devices", responses=FOUND_PROBLEMS)
async def get_notify_recipient_devices(request: Request, application: Reader, external_id: str) -> DeviceList:
    """The devices of a recipient of yours."""
    async with database_of(request).connection() as conn:
        known = await find_known(conn, application_id=application, external_id=external_id)
        found = await list_devices(conn, recipient_id=known.recipient_id)
    return DeviceList(items=[DeviceAnswer.of(each) for each in found])


@router.delete("/recipients/{external_id}/devices/{device_id}", status_code=204, responses=FOUND_PROBLEMS)
async def delete_notify_recipient_device(
    request: Request, application: Sender, external_id: str, device_id: UUID
) -> Response:
    """Forget a device of a recipient of yours."""
    async with database_of(request).transaction() as conn:
        known = await find_known(conn, application_id=application, external_id=external_id)
        await remove_device(conn, recipient_id=known.recipient_id, device_id=device_id)
    return Response(status_code=204)
