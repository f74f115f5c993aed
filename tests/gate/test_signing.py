"""Keys, tickets and receipts."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gate.conftest import somebody
from tidegate.gate import Place, PlaceState, Receipt, make_key, retire_key
from tidegate.gate.mac import Mac
from tidegate.gate.receipts import Sheet, read_claim, read_receipt
from tidegate.gate.signing import KeyRing, SigningKey, load_keys
from tidegate.gate.tickets import claim_of, entry_of, ticket_of
from tidegate.platform.database import Database
from tidegate.platform.ids import PlaceId, RoomId, new_id
from tidegate.platform.sealing import current_sealer

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def key(name: str, age_s: int = 3600) -> SigningKey:
    return SigningKey(name, sha256(name.encode()).digest(), NOW - timedelta(seconds=age_s))


RING = KeyRing([key("aaaa0000")], now=NOW)


def place() -> Place:
    return Place(PlaceId(new_id()), RoomId(new_id()), somebody(), 7, None, PlaceState.WAITING, 1)


@given(st.binary(max_size=200))
def test_what_was_signed_is_read_and_nothing_else(payload: bytes) -> None:
    signed, stamped = RING.sign("tgr1", payload), RING.stamp("tgt1", payload)
    assert RING.open_signed("tgr1", signed) == payload
    assert RING.open_stamped("tgt1", stamped) == payload
    assert RING.open_signed("tgp1", signed) is None
    assert RING.open_stamped("tgt1", signed.replace("tgr1", "tgt1")) is None
    assert RING.open_signed("tgr1", stamped.replace("tgt1", "tgr1")) is None
    other = KeyRing([SigningKey("aaaa0000", b"o" * 32, NOW)], now=NOW)
    assert other.open_signed("tgr1", signed) is None
    assert other.open_stamped("tgt1", stamped) is None


@given(st.text(max_size=80))
def test_nonsense_is_no_token(text: str) -> None:
    for token in (text, f"tgt1.aaaa0000.{text}", f"tgt1.{text}.AA.AA", f"tgt1.aaaa0000.{text}.{text}"):
        assert RING.open_stamped("tgt1", token) is None
        assert RING.open_signed("tgt1", token) is None
    assert RING.open_stamped("tgt1", "tgt1.aaaa0000." + "A" * 5_000 + ".AA") is None


def test_a_ticket_names_room_place_and_buyer() -> None:
    mine = place()
    ticket = ticket_of(RING, mine)
    assert ticket == ticket_of(RING, mine)
    assert claim_of(RING, ticket, place_id=mine.id) == (mine.room_id, mine.buyer_id)
    assert claim_of(RING, ticket, place_id=PlaceId(new_id())) is None


def unwrapped(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def receipts(count: int) -> list[Receipt]:
    room = RoomId(new_id())
    return [Receipt(room, at, entry_of(PlaceId(new_id()), 1), count, b"r" * 32) for at in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 64, 65])
def test_receipts_of_a_batch_share_a_signature_and_each_is_checked_by_itself(count: int) -> None:
    batch = receipts(count)
    sheet = Sheet(batch)
    texts = [sheet.text(RING, line) for line in range(count)]
    assert len({unwrapped(text.rpartition(".")[2])[-64:] for text in texts}) == 1, "one signature"
    longer = KeyRing([key("aaaa0000", 1), key("cccc0000", 2)], now=NOW)
    for receipt, text in zip(batch, texts, strict=True):
        assert read_receipt(RING, text) == read_receipt(longer, text) == read_claim(text) == receipt
        assert read_receipt(KeyRing([key("cccc0000")], now=NOW), text) is None
    assert read_receipt(RING, ticket_of(RING, place())) is None


@given(st.integers(1, 9), st.data())
def test_a_receipt_that_was_changed_is_none(count: int, data: st.DataObject) -> None:
    sheet = Sheet(receipts(count))
    line = data.draw(st.integers(0, count - 1))
    _, kid, payload, seal = sheet.text(RING, line).split(".")
    if count > 1:
        other = sheet.text(RING, (line + 1) % count).split(".")
        assert read_receipt(RING, ".".join(("tgr1", kid, payload, other[3]))) is None
        assert read_receipt(RING, ".".join(("tgr1", kid, other[2], seal))) is None
    raw = bytearray(unwrapped(seal))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    assert read_receipt(RING, f"tgr1.{kid}.{payload}.{changed}") is None
    assert read_receipt(RING, f"tgr1.{kid}.{payload}.{seal[:-44]}") is None


def test_a_new_key_signs_when_every_process_knows_it() -> None:
    old, new = key("aaaa0000"), key("bbbb0000", age_s=10)
    ring = KeyRing([new, old], now=NOW)
    assert ring.signer.id == "aaaa0000"
    later = KeyRing([new, old], now=NOW + timedelta(minutes=2))
    assert later.signer.id == "bbbb0000"
    assert later.open_stamped("tgt1", ring.stamp("tgt1", b"x")) == b"x", "older tickets stay good"
    assert KeyRing([new], now=NOW).signer.id == "bbbb0000", "the first key signs at once"
    with pytest.raises(ValueError, match="needs a key"):
        KeyRing([], now=NOW)


async def test_keys_are_sealed_in_the_database_and_shared_by_all_processes(database: Database) -> None:
    async with database.connection() as conn:
        first, second = await load_keys(conn), await load_keys(conn)
        assert first.public_keys == second.public_keys
        assert second.open_stamped("tgt1", first.stamp("tgt1", b"x")) == b"x"
        row = await (await conn.execute("SELECT secret_sealed FROM gate.signing_keys")).fetchone()
        assert row is not None and first.signer.secret not in bytes(row[0])
        assert current_sealer().open(bytes(row[0]), column="gate.signing_keys.secret_sealed")


async def test_a_key_is_retired_but_never_the_last(database: Database) -> None:
    async with database.connection() as conn:
        old = (await load_keys(conn)).signer.id
        assert not await retire_key(conn, key_id=old)
        new = await make_key(conn)
        before = await load_keys(conn)
        assert set(before.public_keys) == {old, new}
        ticket = before.stamp("tgt1", b"x")
        assert await retire_key(conn, key_id=old)
        after = await load_keys(conn)
        assert set(after.public_keys) == {new}
        assert after.open_stamped("tgt1", ticket) is None
        assert not await retire_key(conn, key_id=new)


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_codes_are_those_of_hmac(secret: bytes, text: bytes) -> None:
    assert Mac(secret).digest(text) == hmac.digest(secret, text, "sha256")
