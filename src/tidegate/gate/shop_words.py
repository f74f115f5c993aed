"""What a shop elsewhere says, signed: JSON Web Tokens (RFC 7519) with Ed25519 (RFC 8037), as any language makes them.

Claims: `aud` the drop, `use` what the token is for, `exp` when it ends (Unix time), at most `LIFE_S` seconds from now;
for a visitor `sub`, a UUID that the shop makes of whoever is signed in with it: the same for the same person, and
telling nobody who that is.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from hashlib import sha256
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tidegate.platform.ids import DropId, PersonId

LIFE_S = 300
"""Longest life of what a shop says: long enough for two clocks that disagree, too short to be found and used."""

MAX_CHARS = 1_000
PREFIX = "tgs_"
VISITOR = "visitor"
REPORT = "report"
VISITOR_LABEL = b"tidegate visitor v1"
HEADER = {"alg": "EdDSA", "typ": "JWT"}


class _Header(msgspec.Struct, frozen=True):
    alg: str


class _Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    aud: UUID
    use: str
    exp: int
    sub: UUID | None = None


class ShopKey:
    """A shop's secret: what it signs with, and what makes its visitors' pseudonyms."""

    def __init__(self, text: str) -> None:
        """Raises: ValueError for anything but a key as `make_shop_key` writes them."""
        raw = _decode(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else b""
        if len(raw) != 32:
            raise ValueError("a shop's key is what `tidegate room create` printed: tgs_ and 43 characters")
        self._raw = raw
        self._private = Ed25519PrivateKey.from_private_bytes(raw)

    @property
    def public(self) -> bytes:
        """What the gate keeps of it."""
        return self._private.public_key().public_bytes_raw()

    def pseudonym(self, who: str) -> UUID:
        """Whom the shop means by `who`, for nobody else to know."""
        return _uuid8(hmac.digest(self._raw, VISITOR_LABEL + who.encode(), "sha256"))

    def buyer_id(self, who: str) -> PersonId:
        """Who that is in the passes that the gate gives them."""
        return buyer_of(self.public, self.pseudonym(who))

    def say(self, use: str, *, drop: DropId, now_s: float, who: str | None = None) -> str:
        """A token for the gate that ends after half of the longest life."""
        sub = None if who is None else self.pseudonym(who)
        claims = _Claims(drop, use, int(now_s) + LIFE_S // 2, sub)
        body = f"{_encode(msgspec.json.encode(HEADER))}.{_encode(msgspec.json.encode(claims))}"
        return f"{body}.{_encode(self._private.sign(body.encode()))}"


def make_shop_key() -> str:
    """A new key, as the shop keeps it."""
    return PREFIX + _encode(secrets.token_bytes(32))


def buyer_of(shop_key: bytes, pseudonym: UUID) -> PersonId:
    """Who a shop's visitor is at the gate: of one shop the same always, of two shops never."""
    return PersonId(_uuid8(sha256(VISITOR_LABEL + shop_key + pseudonym.bytes).digest()))


def read_visitor(token: str, *, shop_key: bytes, drop: DropId, now_s: float) -> PersonId | None:
    """Whom the shop vouches for; None when it did not, or not for this drop, or too long ago."""
    claims = _read(token, VISITOR, shop_key=shop_key, drop=drop, now_s=now_s)
    return None if claims is None or claims.sub is None else buyer_of(shop_key, claims.sub)


def may_report(token: str, *, shop_key: bytes, drop: DropId, now_s: float) -> bool:
    """Whether the shop signed this as its right to report of this drop, a short time ago."""
    return _read(token, REPORT, shop_key=shop_key, drop=drop, now_s=now_s) is not None


def _read(token: str, use: str, *, shop_key: bytes, drop: DropId, now_s: float) -> _Claims | None:
    signed, _, signature = token.rpartition(".")
    head, _, body = signed.partition(".")
    if len(token) > MAX_CHARS or not token.isascii():
        return None
    try:
        if msgspec.json.decode(_decode(head), type=_Header).alg != HEADER["alg"]:
            return None
        Ed25519PublicKey.from_public_bytes(shop_key).verify(_decode(signature), signed.encode())
        claims = msgspec.json.decode(_decode(body), type=_Claims)
    except (InvalidSignature, ValueError, msgspec.DecodeError):
        return None
    good = claims.use == use and claims.aud == drop and now_s < claims.exp <= now_s + LIFE_S
    return claims if good else None


def _uuid8(digest: bytes) -> UUID:
    """A UUID of version 8 (RFC 9562): 122 bits of a digest."""
    bits = int.from_bytes(digest[:16], "big")
    return UUID(int=(bits & ~(0xF << 76) & ~(0x3 << 62)) | (8 << 76) | (2 << 62))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Raises: ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
