"""Passes: what lets a person buy in a drop with a room, for some minutes, once.

A pass is a JSON Web Token (RFC 7519) signed with Ed25519 (RFC 8037), so that any site can verify it offline with a
library of its language. Its claims: `aud` the drop, `jti` the place, `sub` the buyer, `exp` when it ends (Unix time).
Its header must be, byte for byte, one that this gate writes: there is nothing in it to be negotiated. That a pass is
good once is not in the pass: the hold that it allows spends it, in one transaction (see `inventory`), and a foreign
site's session does.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tidegate.gate.contracts import Pass
from tidegate.gate.signing import KeyRing
from tidegate.platform.ids import DropId, PersonId, PlaceId

HEADER = "Tidegate-Pass"
MAX_CHARS = 1_000
"""Longer texts are no passes, and are not looked at."""

KEPT = 20_000
"""Verified passes that a reader remembers: a page, a hold and its repeat verify one signature and not three."""


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str
    typ: str


class _Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    aud: UUID
    jti: UUID
    sub: UUID
    exp: int


_decode_claims = msgspec.json.Decoder(_Claims, strict=True).decode
_decode_header = msgspec.json.Decoder(_Header).decode


def sign_pass(held: Pass, *, key_id: str, key: Ed25519PrivateKey) -> str:
    """The pass as its holder carries it: three parts of URL-safe base64."""
    claims = _Claims(held.drop_id, held.place_id, held.buyer_id, held.ends_s)
    signed = f"{_header(key_id)}.{_encode(msgspec.json.encode(claims))}"
    return f"{signed}.{_encode(key.sign(signed.encode()))}"


def pass_of(ring: KeyRing, *, drop_id: DropId, place_id: PlaceId, buyer_id: PersonId, ends_at: datetime) -> str:
    """The pass of somebody who was let in until `ends_at`."""
    held = Pass(drop_id, place_id, buyer_id, int(ends_at.timestamp()))
    return sign_pass(held, key_id=ring.signer.id, key=ring.signer.private)


def key_of(token: str) -> str | None:
    """The id of the key that a pass says it was signed with; None when it is no pass."""
    head, _, rest = token.partition(".")
    if len(token) > MAX_CHARS or not rest:
        return None
    try:
        return _decode_header(_decode(head)).kid
    except (ValueError, msgspec.DecodeError):
        return None


class PassReader:
    """Verifies passes with public keys by their ids; offline, and each pass's signature once."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = {_header(key_id): key for key_id, key in keys.items()}
        self._known: OrderedDict[str, Pass] = OrderedDict()

    def read(self, token: str) -> Pass | None:
        """What a pass says; None when none of the keys signed it. Whether it has ended is the caller's to judge."""
        found = self._known.get(token)
        if found is None:
            found = self._verify(token)
            if found is not None:
                self._known[token] = found
                if len(self._known) > KEPT:
                    self._known.popitem(last=False)
        return found

    def knows(self, token: str) -> bool:
        """Whether this pass was verified already."""
        return token in self._known

    def _verify(self, token: str) -> Pass | None:
        if len(token) > MAX_CHARS or not token.isascii():
            return None
        signed, _, signature = token.rpartition(".")
        header, _, claims = signed.partition(".")
        key = self._keys.get(header)
        if key is None:
            return None
        try:
            key.verify(_decode(signature), signed.encode())
            said = _decode_claims(_decode(claims))
            held = Pass(DropId(said.aud), PlaceId(said.jti), PersonId(said.sub), said.exp)
            return held if held.ends_at else None
        except (InvalidSignature, ValueError, OverflowError, OSError, msgspec.DecodeError):
            return None


def _header(key_id: str) -> str:
    return _encode(msgspec.json.encode(_Header("EdDSA", key_id, "JWT")))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Raises: ValueError for anything but unpadded URL-safe base64 in its one spelling."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if _encode(raw) != text:
        raise ValueError("not the one spelling of these bytes")
    return raw
