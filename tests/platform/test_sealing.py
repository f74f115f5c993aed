"""Personal data at rest: sealed to its column, found by a keyed hash, keys that can be changed."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tidegate.platform.problems import StartupError
from tidegate.platform.sealing import SealBroken, Sealer, make_sealer
from tidegate.platform.settings import SecuritySettings

OLD, NEW, HASH = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))


def sealer(keys: str) -> Sealer:
    return make_sealer(SecuritySettings(sealing_keys=SecretStr(keys), fingerprint_key=SecretStr(HASH)))


@given(st.text(max_size=50))
def test_what_is_sealed_is_opened_again_and_never_looks_alike(text: str) -> None:
    ours = sealer(f"1:{OLD}")
    first, second = ours.seal(text, column="a.b.c"), ours.seal(text, column="a.b.c")
    assert first != second
    assert ours.open(first, column="a.b.c") == text


def test_a_value_moved_changed_or_of_an_unknown_key_does_not_open() -> None:
    ours = sealer(f"1:{OLD}")
    sealed = ours.seal("ada@example.com", column="a.b.c")
    assert b"ada" not in sealed
    for broken in (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"", bytes([9]) + sealed[1:]):
        with pytest.raises(SealBroken):
            ours.open(broken, column="a.b.c")
    with pytest.raises(SealBroken):
        ours.open(sealed, column="a.b.other")


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    sealed = sealer(f"1:{OLD}").seal_json({"name": "Ada"}, column="a.b.c")
    both = sealer(f"2:{NEW},1:{OLD}")
    assert both.open_json(sealed, column="a.b.c") == {"name": "Ada"}
    assert both.seal("x", column="a.b.c")[0] == 2


def test_a_fingerprint_finds_what_people_type_differently() -> None:
    ours = sealer(f"1:{OLD}")
    assert ours.fingerprint(" Ada@Example.COM ", column="c") == ours.fingerprint("ada@example.com", column="c")
    assert ours.fingerprint("ada@example.com", column="c") != ours.fingerprint("ada@example.com", column="d")


@pytest.mark.parametrize("keys", ["", "1:short", f"0:{OLD}", OLD, f"300:{OLD}"])
def test_malformed_keys_are_named(keys: str) -> None:
    with pytest.raises(StartupError, match="TIDEGATE_SECURITY__SEALING_KEYS"):
        sealer(keys)
