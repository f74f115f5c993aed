"""Visitors of a gate that runs on its own: who they are stands in a stamped token, and nothing is kept of them.

Such a gate has no accounts. A visitor is whom their shop vouched for, or a guest where the room takes guests; the token
is a cookie like a session's, and programs send it as `Authorization: Bearer`. Its staff are who may run commands beside
it: `tidegate room staff` makes a sign-in key that is good for minutes, for which the gate gives a token of hours.
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
GUEST, VOUCHED, STAFF, STAFF_KEY = range(4)
ROLES = ("guest", "customer", "staff")
KEY_LIFE_S = 600
STAFF_LIFE_S = 12 * 3_600
MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class GateVisitor:
    """Somebody at the gate; `role` is customer when their shop vouched for them, staff for staff, else guest."""

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
        return self._token(VOUCHED if vouched else GUEST, person_id, int(now_s) + self._life_s)

    def make_guest(self, *, now_s: float) -> NewVisitor:
        """Somebody new, whom nobody knows."""
        person = GateVisitor(PersonId(new_id()), ROLES[GUEST])
        return NewVisitor(self.make(person.id, vouched=False, now_s=now_s), person)

    def make_staff_key(self, name: str, *, now_s: float) -> str:
        """What one of the staff signs in with; the same name is the same person again."""
        assert 1 <= len(name) <= MAX_NAME
        person = PersonId(UUID(bytes=self._mac(b"staff " + name.encode())[:16], version=5))
        return self._token(STAFF_KEY, person, int(now_s) + KEY_LIFE_S)

    def sign_in(self, key: str, *, now_s: float) -> str | None:
        """The token of the staff for a sign-in key; None when that is none of ours, or its time is over."""
        found = self._read(key, now_s=now_s)
        if found is None or found[0] != STAFF_KEY:
            return None
        return self._token(STAFF, found[1], int(now_s) + STAFF_LIFE_S)

    def read(self, token: str, *, now_s: float) -> GateVisitor | None:
        """Whose token it is; None when it is none of ours, or its time is over."""
        found = self._read(token, now_s=now_s)
        return None if found is None or found[0] == STAFF_KEY else GateVisitor(found[1], ROLES[found[0]])

    def _token(self, kind: int, person_id: PersonId, ends_s: int) -> str:
        body = FORMAT.pack(kind, person_id.bytes, ends_s)
        return base64.urlsafe_b64encode(body + self._mac(body)).rstrip(b"=").decode()

    def _read(self, token: str, *, now_s: float) -> tuple[int, PersonId] | None:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body, mac = raw[: FORMAT.size], raw[FORMAT.size :]
        if len(body) != FORMAT.size or not hmac.compare_digest(mac, self._mac(body)):
            return None
        kind, person, ends_s = FORMAT.unpack(body)
        return (kind, PersonId(UUID(bytes=person))) if ends_s > now_s else None

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:MAC_BYTES]
