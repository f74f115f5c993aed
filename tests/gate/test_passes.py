"""Passes: what they say is what was signed, by a key that is known, and nothing else is a pass."""

from __future__ import annotations

import base64
import json
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tidegate.gate.contracts import Pass
from tidegate.gate.passes import PassReader, key_of, sign_pass
from tidegate.platform.ids import DropId, PersonId, PlaceId

OLD, NEW, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([each]) * 32) for each in (1, 2, 3))
READER = PassReader({"old": OLD.public_key(), "new": NEW.public_key()})
HELD = Pass(DropId(UUID(int=1)), PlaceId(UUID(int=2)), PersonId(UUID(int=3)), 1_800_000_000)
TOKEN = sign_pass(HELD, key_id="new", key=NEW)

passes = st.builds(Pass, st.uuids(), st.uuids(), st.uuids(), st.integers(0, 4_000_000_000))


@given(held=passes, old=st.booleans())
def test_what_was_signed_is_what_is_read_also_after_the_keys_were_changed(held: Pass, old: bool) -> None:
    token = sign_pass(held, key_id="old" if old else "new", key=OLD if old else NEW)
    assert READER.read(token) == READER.read(token) == held
    assert key_of(token) == ("old" if old else "new")
    assert PassReader({"other": OLD.public_key()}).read(token) is None
    assert len(token) < 500


@given(place=st.integers(0, len(TOKEN) - 1), sign=st.characters(max_codepoint=0x2FF))
def test_a_pass_with_any_sign_changed_is_none(place: int, sign: str) -> None:
    forged = TOKEN[:place] + sign + TOKEN[place + 1 :]
    assert READER.read(forged) == (HELD if forged == TOKEN else None)


@given(text=st.text(max_size=300) | st.just(TOKEN[:-1]) | st.just(TOKEN + "=") | st.just("." * 2_000))
def test_other_texts_are_no_passes(text: str) -> None:
    assert READER.read(text) is None
    assert key_of(text) in (None, "new")


def _part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document, separators=(",", ":")).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("header", "changed"),
    [
        ({"alg": "none", "kid": "new", "typ": "JWT"}, {}),
        ({"alg": "HS256", "kid": "new", "typ": "JWT"}, {}),
        ({"alg": "EdDSA", "kid": "new", "typ": "JWT", "jwk": {}}, {}),
        ({"alg": "EdDSA", "kid": "old", "typ": "JWT"}, {}),
        ({"alg": "EdDSA", "kid": "new", "typ": "JWT"}, {"exp": "1800000000"}),
        ({"alg": "EdDSA", "kid": "new", "typ": "JWT"}, {"exp": 10**30}),
        ({"alg": "EdDSA", "kid": "new", "typ": "JWT"}, {"exp": None}),
        ({"alg": "EdDSA", "kid": "new", "typ": "JWT"}, {"aud": "launch"}),
    ],
    ids=["no algorithm", "another algorithm", "a key of its own", "another key", "text", "never", "no end", "no drop"],
)
def test_passes_that_this_gate_would_not_write_are_none(header: object, changed: dict[str, object]) -> None:
    claims = {"aud": str(UUID(int=1)), "jti": str(UUID(int=2)), "sub": str(UUID(int=3)), "exp": 1_800_000_000} | changed
    signed = f"{_part(header)}.{_part(claims)}"
    signature = base64.urlsafe_b64encode(NEW.sign(signed.encode())).rstrip(b"=").decode()
    assert READER.read(f"{signed}.{signature}") is None
    assert READER.read(f"{signed}.") is None


def test_a_stranger_s_key_signs_nothing_here() -> None:
    assert READER.read(sign_pass(HELD, key_id="new", key=STRANGER)) is None
    assert READER.read(sign_pass(HELD, key_id="stranger", key=STRANGER)) is None


def test_the_format_stays_what_foreign_sites_were_told() -> None:
    header, claims, _ = TOKEN.split(".")
    assert base64.urlsafe_b64decode(header + "==") == b'{"alg":"EdDSA","kid":"new","typ":"JWT"}'
    assert json.loads(base64.urlsafe_b64decode(claims + "==")) == {
        "aud": "00000000-0000-0000-0000-000000000001",
        "jti": "00000000-0000-0000-0000-000000000002",
        "sub": "00000000-0000-0000-0000-000000000003",
        "exp": 1_800_000_000,
    }
