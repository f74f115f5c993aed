"""The generated secrets of an embedded shop: one file, readable by its owner only."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

NAMES = (
    "database_password",
    "valkey_password",
    "sealing_keys",
    "fingerprint_key",
    "form_key",
    "sandbox_webhook_secret",
)


def load_or_create(home: Path) -> dict[str, str]:
    """The secrets of the shop in `home`, made at the first call; keys are `NAMES`.

    A name that an older file lacks is added. The file is replaced in one step: a crash leaves the old or the new one.
    """
    file = home / "secrets.json"
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    if all(name in known for name in NAMES):
        return known
    complete = _fresh() | known
    draft = file.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(complete, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    return complete


def _fresh() -> dict[str, str]:
    def key() -> str:
        return base64.b64encode(secrets.token_bytes(32)).decode()

    return {
        "database_password": secrets.token_urlsafe(24),
        "valkey_password": secrets.token_urlsafe(24),
        "sealing_keys": f"1:{key()}",
        "fingerprint_key": key(),
        "form_key": key(),
        "sandbox_webhook_secret": "whsec_" + key(),
    }
