"""What the gate signs: keys with ids, and tokens that say which of them signed.

A token is `KIND.KEY.PAYLOAD.SIGNATURE`, the last two in base64 without padding for URLs; signed is all that stands
before the last dot. Kinds keep a token of one purpose from passing for one of another. Where others must be able to
check it (receipts, passes) it is signed with Ed25519; where only the gate itself checks (tickets) with HMAC-SHA-256
under a key derived from the same secret, which takes a fiftieth of the time.

What is made many at a time (receipts) shares one signature: it is over the root of a tree of all that is signed, hashed
as RFC 9162, and each token carries the way from itself to that root. The last part of such a token is its place among
them and how many they are (4 bytes each), the hashes of the way, and the signature of `KIND.KEY.`, their number (4
bytes) and the root.

Secrets are kept in the database, sealed with the shop's key ring (docs/adr/0007), so that every process has them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tidegate.gate.log import HASH_BYTES, leaf_hash, paths_to_root, root_by
from tidegate.gate.mac import Mac
from tidegate.platform.database import Connection
from tidegate.platform.sealing import current_sealer

SECRET_COLUMN = "gate.signing_keys.secret_sealed"  # noqa: S105

SPREAD_S = 60
"""A new key signs when it is so old: by then every process knows it, and can check what it signed."""

MAX_TOKEN = 1_500
SEAT = struct.Struct(">II")
SIGNATURE_BYTES = 64
KEY_ID_BYTES = 4
MAC_LABEL = b"tidegate gate mac v1"
KEYS_RACE = 7_420_001
"""Advisory lock of those who find no key and make one."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key: `secret` is the 32 bytes of Ed25519's private key."""

    id: str
    secret: bytes = field(repr=False)
    made_at: datetime
    private: Ed25519PrivateKey = field(init=False, repr=False)
    public: Ed25519PublicKey = field(init=False, repr=False)
    mac: Mac = field(init=False, repr=False)

    def __post_init__(self) -> None:
        private = Ed25519PrivateKey.from_private_bytes(self.secret)
        object.__setattr__(self, "private", private)
        object.__setattr__(self, "public", private.public_key())
        object.__setattr__(self, "mac", Mac(HKDF(SHA256(), 32, salt=None, info=MAC_LABEL).derive(self.secret)))


class KeyRing:
    """The keys of the gate: the newest that all processes know by now signs, all of them verify."""

    def __init__(self, keys: Iterable[SigningKey], *, now: datetime) -> None:
        """`now` is the database's. Raises: ValueError without a key."""
        self._keys = {key.id: key for key in sorted(keys, key=lambda key: key.made_at)}
        if not self._keys:
            raise ValueError("a ring needs a key")
        ordered = list(self._keys.values())
        settled = [key for key in ordered if key.made_at <= now - timedelta(seconds=SPREAD_S)]
        self.signer = settled[-1] if settled else ordered[0]

    @property
    def public_keys(self) -> dict[str, bytes]:
        """Ed25519 public keys by id, the oldest first."""
        return {key.id: key.public.public_bytes_raw() for key in self._keys.values()}

    def sign(self, kind: str, payload: bytes) -> str:
        """A token that anybody can check with the public key."""
        body = f"{kind}.{self.signer.id}.{_text(payload)}"
        return f"{body}.{_text(self.signer.private.sign(body.encode()))}"

    def sign_many(self, kind: str, payloads: Sequence[bytes]) -> list[str]:
        """A token for each payload that anybody can check, all of them under one signature."""
        head = f"{kind}.{self.signer.id}."
        bodies = [head + _text(payload) for payload in payloads]
        root, paths = paths_to_root([leaf_hash(body.encode()) for body in bodies])
        count = len(bodies)
        signature = self.signer.private.sign(_of_many(head, count, root))
        return [
            f"{body}.{_text(SEAT.pack(at, count) + b''.join(path) + signature)}"
            for at, (body, path) in enumerate(zip(bodies, paths, strict=True))
        ]

    def stamp(self, kind: str, payload: bytes) -> str:
        """A token that only a ring with the same key can check."""
        body = f"{kind}.{self.signer.id}.{_text(payload)}"
        return f"{body}.{_text(self.signer.mac.digest(body.encode()))}"

    def open_signed(self, kind: str, token: str) -> bytes | None:
        """The payload of a token that `sign` made for this kind, else None."""
        parts = _split(kind, token)
        key = self._keys.get(parts[1]) if parts else None
        if parts is None or key is None:
            return None
        try:
            key.public.verify(parts[3], parts[0])
        except InvalidSignature:
            return None
        return parts[2]

    def open_one_of_many(self, kind: str, token: str) -> bytes | None:
        """The payload of a token that `sign_many` made for this kind, else None."""
        return open_one_of_many(kind, token, {key.id: key.public for key in self._keys.values()})

    def open_stamped(self, kind: str, token: str) -> bytes | None:
        """The payload of a token that `stamp` made for this kind, else None."""
        parts = _split(kind, token)
        key = self._keys.get(parts[1]) if parts else None
        if parts is None or key is None or not hmac.compare_digest(key.mac.digest(parts[0]), parts[3]):
            return None
        return parts[2]


def open_one_of_many(kind: str, token: str, keys: Mapping[str, Ed25519PublicKey]) -> bytes | None:
    """The payload of a token that `KeyRing.sign_many` made for this kind with one of `keys`, else None."""
    parts = _split(kind, token)
    key = keys.get(parts[1]) if parts else None
    if parts is None or key is None or len(parts[3]) < SEAT.size + SIGNATURE_BYTES:
        return None
    path, signature = parts[3][SEAT.size : -SIGNATURE_BYTES], parts[3][-SIGNATURE_BYTES:]
    proof = [path[at : at + HASH_BYTES] for at in range(0, len(path), HASH_BYTES)]
    at, count = SEAT.unpack_from(parts[3])
    root = root_by(leaf_hash(parts[0]), at, count, proof)
    if root is None:
        return None
    try:
        key.verify(signature, _of_many(f"{kind}.{parts[1]}.", count, root))
    except InvalidSignature:
        return None
    return parts[2]


def claimed(kind: str, token: str) -> bytes | None:
    """What a token of this kind says, whoever signed it."""
    parts = _split(kind, token)
    return None if parts is None else parts[2]


async def load_keys(conn: Connection) -> KeyRing:
    """The ring as the database has it; the first caller ever makes its first key. Raises: SealBroken."""
    ring = await _read(conn)
    if ring is None:
        async with conn.transaction():
            await conn.execute("SELECT pg_advisory_xact_lock(%s)", (KEYS_RACE,))
            ring = await _read(conn)
            if ring is None:
                await make_key(conn)
                ring = await _read(conn)
    assert ring is not None, "a key was just made"
    return ring


async def make_key(conn: Connection) -> str:
    """Make a key and return its id; it takes over signing a minute later, and older ones go on to verify."""
    private = Ed25519PrivateKey.generate()
    sealed = current_sealer().seal(_text(private.private_bytes_raw()), column=SECRET_COLUMN)
    key_id = secrets.token_hex(KEY_ID_BYTES)
    await conn.execute(
        "INSERT INTO gate.signing_keys (id, public_key, secret_sealed) VALUES (%s, %s, %s)",
        (key_id, private.public_key().public_bytes_raw(), sealed),
    )
    return key_id


async def retire_key(conn: Connection, *, key_id: str) -> bool:
    """Let nothing that this key signed be good any more, for a key that others may know; whether there was one.

    The last key stays: a gate without one could let nobody in.
    """
    done = await conn.execute(
        "UPDATE gate.signing_keys SET retired_at = clock_timestamp() WHERE id = %s AND retired_at IS NULL"
        " AND EXISTS (SELECT 1 FROM gate.signing_keys AS o WHERE o.id <> %s AND o.retired_at IS NULL)",
        (key_id, key_id),
    )
    return done.rowcount == 1


async def _read(conn: Connection) -> KeyRing | None:
    rows = await conn.execute(
        "SELECT id, secret_sealed, made_at, clock_timestamp() FROM gate.signing_keys WHERE retired_at IS NULL"
    )
    found = await rows.fetchall()
    sealer = current_sealer()
    keys = [
        SigningKey(key_id, _bytes(sealer.open(sealed, column=SECRET_COLUMN)), made_at)
        for key_id, sealed, made_at, _ in found
    ]
    return KeyRing(keys, now=found[0][3]) if keys else None


def _of_many(head: str, count: int, root: bytes) -> bytes:
    """What is signed of `count` tokens that begin with `head`."""
    return head.encode() + count.to_bytes(4, "big") + root


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _split(kind: str, token: str) -> tuple[bytes, str, bytes, bytes] | None:
    """What was signed, by which key, the payload and the signature; None for what cannot be a token of this kind."""
    body, _, signature = token.rpartition(".")
    parts = body.split(".")
    if len(token) > MAX_TOKEN or len(parts) != 3 or parts[0] != kind:
        return None
    try:
        return body.encode("ascii"), parts[1], _bytes(parts[2]), _bytes(signature)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        return None
