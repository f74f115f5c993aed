"""Devices of recipients: by which somebody can be reached besides mail, once there is a channel for them.

A token is an address at a push service, opaque to us. It is sealed with the keys that belong to it and the name that
its owner knows it by. A device is one person's among the shop's people, or among an application's: whoever uses it next
takes it over, so that nobody is told what another one waits for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from tidegate.notify.fields import wrong_fields
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.problems import NotFound
from tidegate.platform.sealing import SealBroken, current_sealer
from tidegate.platform.texts import text as _

DEVICE: Final = "notify.devices.device_sealed"
TOKEN: Final = "notify.devices.token_fingerprint"  # noqa: S105 - a column's name
MAX_TOKEN: Final = 2_048
MAX_LABEL: Final = 100
KEYS: Final = frozenset({"auth", "p256dh"})
"""What a browser's subscription holds besides its endpoint (RFC 8291), and all that is kept beside a token."""
MAX_KEY: Final = 200
MOST_ROWS: Final = 1_000
"""Most devices that one request writes."""


class DeviceKind(StrEnum):
    """Whose push service a device listens to."""

    WEB_PUSH = "web_push"
    """A browser; its token is the https address of its subscription."""
    ANDROID = "android"
    IOS = "ios"


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device as it is told: `keys` are those of a browser's subscription, `label` what its owner calls it."""

    kind: DeviceKind
    token: str = field(repr=False)
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    label: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Device:
    """A device as it is kept, opened. Times in UTC; it was last told of at `seen_at`."""

    device_id: UUID
    kind: DeviceKind
    token: str = field(repr=False)
    keys: Mapping[str, str] = field(repr=False)
    label: str = field(repr=False)
    created_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class WrittenDevice:
    """What became of a device that was told, and whether it is new."""

    device_id: UUID
    created: bool


def check_devices(devices: Sequence[NewDevice]) -> list[tuple[str, str]]:
    """What is wrong with devices: pairs of a field's path and what to do."""
    errors: list[tuple[str, str]] = []
    first: dict[tuple[DeviceKind, str], int] = {}
    for number, device in enumerate(devices):
        errors += [(f"devices[{number}].{name}", message) for name, message in _check(device)]
        known = first.setdefault((device.kind, device.token), number)
        if known != number:
            errors.append((f"devices[{number}].token", _("Row %(row)s has the same token.", row=known)))
    return errors


def _check(device: NewDevice) -> list[tuple[str, str]]:
    errors: list[tuple[str, str]] = []
    if not device.token or not device.token.isascii() or not device.token.isprintable() or " " in device.token:
        errors.append(("token", _("Write the token as the push service gave it: letters without spaces.")))
    elif len(device.token) > MAX_TOKEN:
        errors.append(("token", _("A token has at most %(most)s characters.", most=MAX_TOKEN)))
    elif device.kind is DeviceKind.WEB_PUSH and not device.token.startswith("https://"):
        errors.append(("token", _("A browser's token is its subscription's endpoint, which begins with https://.")))
    if device.kind is DeviceKind.WEB_PUSH and set(device.keys) != KEYS:
        errors.append(("keys", _("A browser's subscription has the keys auth and p256dh.")))
    elif device.kind is not DeviceKind.WEB_PUSH and device.keys:
        errors.append(("keys", _("Only a browser's subscription has keys.")))
    elif not all(
        0 < len(value) <= MAX_KEY and value.isascii() and value.isprintable() for value in device.keys.values()
    ):
        errors.append(("keys", _("A key has at most %(most)s letters.", most=MAX_KEY)))
    if len(device.label) > MAX_LABEL or not device.label.isprintable():
        errors.append(("label", _("A name has at most %(most)s characters, in one line.", most=MAX_LABEL)))
    return errors


async def upsert_devices(
    conn: Connection,
    *,
    recipients: Sequence[UUID],
    devices: Sequence[NewDevice],
    most: int,
    application_id: UUID | None = None,
) -> list[WrittenDevice]:
    """Write down devices, each of the recipient at its place, in the caller's transaction: all of them or none.

    Who has more than `most` then loses those that were not seen for the longest. Raises: InvalidRequest that names
    every wrong one; NotFound when a recipient was erased meanwhile.
    """
    errors = check_devices(devices)
    if errors:
        raise wrong_fields(errors)
    locked = await conn.execute(
        "SELECT FROM notify.recipients WHERE recipient_id = ANY (%s) ORDER BY recipient_id FOR NO KEY UPDATE",
        (list(recipients),),
    )
    if locked.rowcount < len(set(recipients)):
        raise NotFound()
    sealer = current_sealer()
    prints = [_fingerprint(each.token, application_id) for each in devices]
    # In one order, so that two requests with the same devices wait for one another instead of locking each other out.
    order = sorted(range(len(devices)), key=lambda number: (devices[number].kind, prints[number]))
    rows = await conn.execute(
        """
        INSERT INTO notify.devices AS d (device_id, recipient_id, kind, device_sealed, token_fingerprint)
        SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::bytea[], %s::bytea[])
        ON CONFLICT (kind, token_fingerprint) DO UPDATE SET recipient_id = excluded.recipient_id,
            device_sealed = excluded.device_sealed, seen_at = clock_timestamp()
        RETURNING d.token_fingerprint, d.kind, d.device_id, d.xmax = 0
        """,
        (
            [new_id() for _ in order],
            [recipients[number] for number in order],
            [devices[number].kind.value for number in order],
            [
                sealer.seal_json({"token": each.token, "keys": dict(each.keys), "label": each.label}, column=DEVICE)
                for each in (devices[number] for number in order)
            ],
            [prints[number] for number in order],
        ),
    )
    written = {(bytes(row[0]), row[1]): WrittenDevice(row[2], row[3]) for row in await rows.fetchall()}
    await conn.execute(
        """
        DELETE FROM notify.devices WHERE device_id IN (
            SELECT device_id FROM (
                SELECT device_id, row_number() OVER (
                    PARTITION BY recipient_id ORDER BY seen_at DESC, device_id DESC
                ) AS place FROM notify.devices WHERE recipient_id = ANY (%s)
            ) AS ranked WHERE place > %s
        )
        """,
        (list(set(recipients)), most),
    )
    return [written[known, each.kind.value] for known, each in zip(prints, devices, strict=True)]


async def list_devices(conn: Connection, *, recipient_id: UUID) -> list[Device]:
    """A recipient's devices, those seen last first. One that cannot be opened any more is left out."""
    rows = await conn.execute(
        """
        SELECT device_id, kind, device_sealed, created_at, seen_at FROM notify.devices
        WHERE recipient_id = %s ORDER BY seen_at DESC, device_id DESC
        """,
        (recipient_id,),
    )
    found = []
    for device_id, kind, sealed, created_at, seen_at in await rows.fetchall():
        try:
            said = current_sealer().open_json(bytes(sealed), column=DEVICE)
        except SealBroken:
            continue
        found.append(
            Device(device_id, DeviceKind(kind), said["token"], said["keys"], said["label"], created_at, seen_at)
        )
    return found


async def remove_device(conn: Connection, *, recipient_id: UUID, device_id: UUID) -> None:
    """Forget a device of a recipient. Raises: NotFound."""
    done = await conn.execute(
        "DELETE FROM notify.devices WHERE device_id = %s AND recipient_id = %s", (device_id, recipient_id)
    )
    if not done.rowcount:
        raise NotFound()


def _fingerprint(token: str, application_id: UUID | None) -> bytes:
    """How a token is found again, letter by letter: fingerprints fold the case of what they are made of."""
    whose = "" if application_id is None else f"{application_id} "
    return current_sealer().fingerprint(whose + hashlib.sha256(token.encode()).hexdigest(), column=TOKEN)
