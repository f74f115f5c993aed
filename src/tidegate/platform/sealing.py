"""Personal data at rest: AES-256-GCM with a versioned key, and a keyed hash where it must be found.

A sealed value is one byte of key version, 12 bytes of nonce, then ciphertext and tag (NIST SP 800-38D). The name of
its column is authenticated with it, so that a value cannot be moved to another column unnoticed.
"""

from __future__ import annotations

import base64
import hmac
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tidegate.platform.problems import StartupError
from tidegate.platform.settings import SecuritySettings, current_settings

NONCE_BYTES = 12


class SealBroken(Exception):
    """A sealed value was changed, moved, or sealed with a key that is no longer configured."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """Keys by version; `newest` seals, all of them open."""

    keys: dict[int, AESGCM]
    newest: int
    fingerprint_key: bytes

    def seal(self, text: str, *, column: str) -> bytes:
        """Encrypt `text` for `column` ("schema.table.column")."""
        nonce = os.urandom(NONCE_BYTES)
        return bytes([self.newest]) + nonce + self.keys[self.newest].encrypt(nonce, text.encode(), column.encode())

    def open(self, sealed: bytes, *, column: str) -> str:
        """Decrypt what `seal` made for the same column. Raises: SealBroken."""
        key = self.keys.get(sealed[0]) if sealed else None
        if key is None:
            raise SealBroken("sealed with a key that is not configured")
        try:
            return key.decrypt(sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :], column.encode()).decode()
        except InvalidTag:
            raise SealBroken("changed or moved since it was sealed") from None

    def seal_json(self, value: dict[str, Any], *, column: str) -> bytes:
        """Encrypt a JSON object."""
        return self.seal(msgspec.json.encode(value).decode(), column=column)

    def open_json(self, sealed: bytes, *, column: str) -> dict[str, Any]:
        """Decrypt what `seal_json` made. Raises: SealBroken."""
        value: dict[str, Any] = msgspec.json.decode(self.open(sealed, column=column))
        return value

    def fingerprint(self, text: str, *, column: str) -> bytes:
        """A keyed hash (HMAC-SHA-256, 32 bytes) of the text, folded for comparison, for finding it again."""
        folded = text.strip().casefold()
        return hmac.digest(self.fingerprint_key, f"{column}\0{folded}".encode(), "sha256")


def make_sealer(security: SecuritySettings) -> Sealer:
    """Build a `Sealer` from the settings. Raises: StartupError when keys are missing or malformed."""
    try:
        versions = [
            (int(version), base64.b64decode(key, validate=True))
            for version, key in (part.split(":", 1) for part in security.sealing_keys.get_secret_value().split(","))
        ]
        fingerprint_key = base64.b64decode(security.fingerprint_key.get_secret_value(), validate=True)
        if not all(0 < version < 256 and len(key) == 32 for version, key in versions) or len(fingerprint_key) != 32:
            raise ValueError
    except ValueError:
        raise StartupError(
            "TIDEGATE_SECURITY__SEALING_KEYS and TIDEGATE_SECURITY__FINGERPRINT_KEY are missing or malformed: "
            "`1:` and 32 random bytes in base64, and 32 random bytes in base64"
        ) from None
    return Sealer({version: AESGCM(key) for version, key in versions}, versions[0][0], fingerprint_key)


@lru_cache(maxsize=1)
def current_sealer() -> Sealer:
    """The sealer of this process."""
    return make_sealer(current_settings().security)
