"""Visitors of a gate that runs on its own: who they are stands in a stamped token, and nothing is kept of them.

Such a gate has no accounts. A visitor is whom their shop vouched for, or a guest where the room takes guests; the token
is a cookie like a session's, and programs send it as `Authorization: Bearer`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass
from uuid import UUID

from tidegate.platform.ids import PersonId, new_id

LABEL = b"tidegate gate visitor v1"
FORMAT = struct.Struct(">B16sQ")
"""Kind, who, and until when (Unix time)."""

MAC_BYTES = 24
GUEST, VOUCHED = 0, 1
ROLES = ("guest", "customer")


@dataclass(frozen=True, slots=True)
class GateVisitor:
    """Somebody at the gate; `role` is customer when their shop vouched for them, else guest."""

    id: PersonId
    role: str


@dataclass(frozen=True, slots=True)
class NewVisitor:
    """A guest who was just made, with the token to show."""

    token: str
    person: GateVisitor


class VisitorTokens:
    """Makes and reads tokens with a key of the processes of one gate."""

    def __init__(self, key: bytes, *, days: int) -> None:
        self._key = hmac.digest(key, LABEL, "sha256")
        self._life_s = days * 86_400

    def make(self, person_id: PersonId, *, vouched: bool, now_s: float) -> str:
        """The token of somebody."""
        body = FORMAT.pack(VOUCHED if vouched else GUEST, person_id.bytes, int(now_s) + self._life_s)
        return base64.urlsafe_b64encode(body + self._mac(body)).rstrip(b"=").decode()

    def make_guest(self, *, now_s: float) -> NewVisitor:
        """Somebody new, whom nobody knows."""
        person = GateVisitor(PersonId(new_id()), ROLES[GUEST])
        return NewVisitor(self.make(person.id, vouched=False, now_s=now_s), person)

    def read(self, token: str, *, now_s: float) -> GateVisitor | None:
        """Whose token it is; None when it is none of ours, or its time is over."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body, mac = raw[: FORMAT.size], raw[FORMAT.size :]
        if len(body) != FORMAT.size or not hmac.compare_digest(mac, self._mac(body)):
            return None
        kind, person, ends_s = FORMAT.unpack(body)
        return GateVisitor(PersonId(UUID(bytes=person)), ROLES[kind]) if ends_s > now_s else None

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:MAC_BYTES]
