"""The waiting room over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from prometheus_client import REGISTRY
from starlette.requests import Request

from tests.checkout.buying import problem
from tests.gate.conftest import MakeRoom, account, let_open, room_of, site_of
from tests.sizes import sized
from tests.waiting import eventually
from tidegate.gate import RoomMode, close_room, draw_rooms_once, fetch_beacon, set_beacon
from tidegate.gate.draw import Draw, commitment_of, draw_key
from tidegate.gate.http_pace import keep_session_pace
from tidegate.gate.log import Log, is_consistent, is_included, leaf_hash
from tidegate.gate.receipts import read_claim
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings
from tidegate.web import client_address

DROP = "/api/v1/drops/boots"


async def ready(site: httpx.AsyncClient, phase: str, *, drawn: bool | None = None) -> dict[str, object]:
    """The status once it says so."""
    found: dict[str, object] = {}

    async def says_so() -> bool:
        response = await site.get(f"{DROP}/status")
        if response.status_code == 200:
            found.update(response.json())
        return found.get("phase") == phase and drawn in (None, found.get("drawn"))

    await eventually(says_so)
    return found


async def joined(site: httpx.AsyncClient, who: dict[str, str]) -> dict[str, Any]:
    response = await site.post(f"{DROP}/places", headers=who)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def with_ticket(who: dict[str, str], place: dict[str, Any]) -> dict[str, str]:
    return who | {"tidegate-ticket": place["ticket"]}


async def test_from_the_lobby_to_a_number(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room()
    await ready(site, "lobby")
    who = await account(database)
    place = await joined(site, who)
    assert {"id", "ticket", "phase", "number"} <= place.keys()
    assert (place["phase"], place["number"]) == ("lobby", None)
    assert await joined(site, who) == place, "the same place, the same ticket, the same receipt"
    mine = f"{DROP}/places/{place['id']}"
    before = (await site.get(mine, headers=with_ticket(who, place))).json()
    assert before == {"id": place["id"], "number": None, "state": "waiting", "pass": None}
    await let_open(database, settings)
    after = (await site.get(mine, headers=with_ticket(who, place))).json()
    assert (after["number"], after["state"]) == (1, "waiting")
    assert (await site.delete(mine, headers=with_ticket(who, place))).status_code == 204
    assert (await site.get(mine, headers=with_ticket(who, place))).json()["state"] == "left"
    await ready(site, "open")
    back = await joined(site, who)
    assert (back["id"], back["number"]) == (place["id"], 2)


async def test_a_place_is_kept_after_cookies_are_cleared(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database
) -> None:
    """Another session of the same person: they join, and have the place they had, with a ticket that is good."""
    await make_room()
    await ready(site, "lobby")
    who = await account(database)
    place = await joined(site, who)
    first, token = who["authorization"].split()[1], "another-session-of-the-same-person"
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO accounts.sessions (token_hash, person_id, expires_at) SELECT sha256(%s), person_id, expires_at"
            " FROM accounts.sessions WHERE token_hash = sha256(%s)",
            (token.encode(), first.encode()),
        )
    again = await joined(site, {"authorization": f"Bearer {token}"})
    assert again["id"] == place["id"]


async def test_a_ticket_is_good_for_its_owner_and_place_alone(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database
) -> None:
    await make_room()
    await ready(site, "lobby")
    me, thief = await account(database), await account(database)
    mine, theirs = await joined(site, me), await joined(site, thief)
    address = f"{DROP}/places/{mine['id']}"

    async def tried(who: dict[str, str], ticket: str, at: str = address) -> tuple[int, str]:
        return problem(await site.get(at, headers=who | {"tidegate-ticket": ticket}))

    bad = (403, "ticket-not-good")
    assert await tried(thief, mine["ticket"]) == bad, "stolen"
    assert await tried(thief, theirs["ticket"]) == bad, "another's place"
    assert await tried(me, theirs["ticket"]) == bad, "another's ticket"
    forged = mine["ticket"][:-4] + ("AAAA" if not mine["ticket"].endswith("AAAA") else "BBBB")
    assert await tried(me, forged) == bad, "forged"
    assert await tried(me, mine["receipt"]) == bad, "signed for another purpose"
    assert await tried(me, "") == bad, "none"
    assert await tried(me, mine["ticket"], f"{DROP}/places/{uuid4()}") == bad, "a place that is not there"
    assert await tried(me, mine["ticket"], f"{DROP}/places/nonsense") == (404, "place-unknown")
    assert problem(await site.delete(address, headers=with_ticket(thief, mine))) == bad
    assert (await site.get(address, headers=with_ticket(me, mine))).json()["state"] == "waiting"


def looked_up() -> float:
    """Batches of places that were looked up in this process."""
    return REGISTRY.get_sample_value("tidegate_batch_size_count", {"batch": "places"}) or 0.0


async def test_without_a_live_session_a_ticket_shows_nothing_and_what_was_not_stamped_is_not_even_looked_up(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database
) -> None:
    await make_room()
    await ready(site, "lobby")
    me = await account(database)
    mine = await joined(site, me)
    address, ticket = f"{DROP}/places/{mine['id']}", {"tidegate-ticket": mine["ticket"]}
    before = looked_up()
    assert problem(await site.get(address, headers=ticket)) == (401, "not-signed-in"), "no session at all"
    for bad in ("", mine["ticket"][:-1], mine["receipt"]):
        assert problem(await site.get(address, headers=me | {"tidegate-ticket": bad}))[0] == 403
    assert looked_up() == before
    made_up = {"authorization": f"Bearer {'x' * 43}"}
    assert problem(await site.get(address, headers=made_up | ticket)) == (401, "not-signed-in")
    assert (await site.get(address, headers=me | ticket)).status_code == 200
    assert (await site.delete("/api/v1/sessions", headers=me)).status_code == 204
    for response in (await site.get(address, headers=me | ticket), await site.delete(address, headers=me | ticket)):
        assert problem(response) == (401, "not-signed-in"), "ended"


async def test_a_ticket_is_not_good_at_another_drop(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database
) -> None:
    await make_room()
    await make_room("hats")
    await ready(site, "lobby")
    who = await account(database)
    place = await joined(site, who)
    elsewhere = await site.get(f"/api/v1/drops/hats/places/{place['id']}", headers=with_ticket(who, place))
    assert problem(elsewhere)[0] == 404


async def test_a_place_of_an_earlier_room_is_none_in_the_one_that_the_drop_has_now(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    first = await make_room()
    assert (await ready(site, "lobby"))["room"] == str(first.id)
    who = await account(database)
    place = await joined(site, who)
    mine, ticket = f"{DROP}/places/{place['id']}", with_ticket(who, place)
    await let_open(database, settings)
    async with database.transaction() as conn:
        await close_room(conn, slug="boots")
    await ready(site, "closed")
    assert (await site.get(mine, headers=ticket)).json()["number"] == 1, "there is no other yet"
    second = await make_room()
    assert (await ready(site, "lobby"))["room"] == str(second.id) != str(first.id)
    for method in ("GET", "DELETE"):
        assert problem(await site.request(method, mine, headers=ticket)) == (404, "place-unknown")
    proof = (await site.get(f"{mine}/proof", headers=ticket)).json()
    assert proof["number"] == 1, "what was drawn there can still be proven"
    assert is_included(leaf_hash(bytes.fromhex(proof["entry"])), 0, 1, [], bytes.fromhex(proof["root"]))
    here = await joined(site, who)
    assert (here["number"], here["index"]) == (None, 0) and here["id"] != place["id"]
    again = await site.get(f"{DROP}/places/{here['id']}", headers=with_ticket(who, here))
    assert again.json()["state"] == "waiting"


async def test_a_place_in_a_room_that_this_process_has_not_seen_yet_is_known(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database
) -> None:
    """The status is a second old, and somebody joined meanwhile."""
    await make_room()
    await ready(site, "lobby")
    gate = site._transport.app.app.state.gate  # type: ignore[attr-defined]
    before = gate.statuses
    async with database.transaction() as conn:
        await close_room(conn, slug="boots")
    await make_room()
    who = await account(database)
    place = await joined(site, who)
    await ready(site, "lobby")
    gate.kept = lambda slug: before[slug]
    answered = await site.get(f"{DROP}/places/{place['id']}", headers=with_ticket(who, place))
    assert (answered.status_code, answered.json()["state"]) == (200, "waiting")


async def test_ten_thousand_joins_of_one_person_from_many_addresses_are_one_place(
    make_room: MakeRoom, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of them are told to wait; `test_places` has ten thousand get through."""
    await make_room()
    many, seen = sized(full=10_000, brief=1_000), set()

    async def note_and_count(request: Request) -> None:
        seen.add(client_address(request))
        await keep_session_pace(request)

    monkeypatch.setattr("tidegate.gate.http.keep_session_pace", note_and_count)
    behind_a_proxy = settings.http.model_copy(update={"trusted_proxies": ["127.0.0.1/32"]})
    async with site_of(settings.model_copy(update={"http": behind_a_proxy})) as site:
        await ready(site, "lobby")
        who = await account(database)
        addresses = [f"198.{turn >> 16}.{turn >> 8 & 255}.{turn & 255}" for turn in range(many)]
        tries = (site.post(f"{DROP}/places", headers=who | {"x-forwarded-for": each}) for each in addresses)
        answers = await asyncio.gather(*tries)
    assert seen == set(addresses), "the shop saw each of them"
    assert {answer.status_code for answer in answers} == {201, 429}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
    assert (await room_of(database)).size == 1


async def test_strangers_guests_and_early_birds_are_told_what_to_do(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database
) -> None:
    await make_room(lobby_in_s=60)
    await ready(site, "scheduled")
    assert problem(await site.post(f"{DROP}/places"))[0] == 401
    early = await site.post(f"{DROP}/places", headers=await account(database))
    assert problem(early) == (409, "lobby-not-open")
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET lobby_opens_at = clock_timestamp(), phase = 'lobby'")
    guest = (await site.post("/api/v1/guests")).json()["token"]
    refused = await site.post(f"{DROP}/places", headers={"authorization": f"Bearer {guest}"})
    assert problem(refused) == (403, "account-needed")
    nowhere = await site.post("/api/v1/drops/nowhere/places", headers=await account(database))
    assert problem(nowhere) == (404, "room-unknown")


async def test_the_status_is_the_same_for_everyone_and_needs_no_database(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database
) -> None:
    await make_room()
    status = await ready(site, "lobby")
    assert {"phase", "opens_at", "serving", "joined", "left", "paused", "poll", "at"} <= status.keys()
    me = await account(database)
    await joined(site, me)

    async def says_one() -> bool:
        return bool((await site.get(f"{DROP}/status")).json()["joined"] == 1)

    await eventually(says_one)
    plain = await site.get(f"{DROP}/status")
    assert plain.headers["cache-control"] == "public, max-age=1"
    assert "set-cookie" not in plain.headers and "vary" not in plain.headers
    same = await site.get(f"{DROP}/status", headers={"if-none-match": plain.headers["etag"]})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", plain.headers["etag"])
    assert problem(await site.get("/api/v1/drops/nowhere/status")) == (404, "room-unknown")


async def test_a_status_is_answered_while_the_database_is_away(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database, database_url: str
) -> None:
    await make_room()
    await ready(site, "lobby")
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("ALTER TABLE gate.rooms RENAME TO rooms_elsewhere")
        try:
            assert (await site.get(f"{DROP}/status")).status_code == 200
        finally:
            conn.execute("ALTER TABLE gate.rooms_elsewhere RENAME TO rooms")


async def test_a_draw_can_be_checked_from_what_is_public(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    room = await make_room(beacon_source="staff")
    await ready(site, "lobby")
    before = (await site.get(f"{DROP}/draw")).json()
    assert "draw" not in (await site.get(f"{DROP}/status")).json()
    assert before["commitment"] == room.commitment.hex()
    assert [before[name] for name in ("seed", "root", "digest", "size")] == [None] * 4
    assert before["assurance"] == "pending"
    for early in ("consistency/1", "entries", "entries/0"):
        assert problem(await site.get(f"{DROP}/{early}")) == (409, "not-drawn-yet")
    people = [await account(database) for _ in range(5)]
    places = [await joined(site, who) for who in people]
    await let_open(database, settings)
    async with database.transaction() as conn:
        await set_beacon(conn, slug="boots", value="7 of hearts")
    await draw_rooms_once(database, settings.gate, partial(fetch_beacon, timeout_s=1))
    await ready(site, "open", drawn=True)
    late = await joined(site, await account(database))
    draw = (await site.get(f"{DROP}/draw")).json()
    status = (await site.get(f"{DROP}/status")).json()
    assert status["draw"] == {name: draw[name] for name in ("seed", "root", "beacon", "size")}, "nobody asks for it"
    await check_logs_of_receipts(site, [*places, late], draw)
    assert (draw["assurance"], draw["size"], draw["beacon"]) == ("verifiable", 5, "7 of hearts")
    seed, root = bytes.fromhex(draw["seed"]), bytes.fromhex(draw["root"])
    assert commitment_of(seed).hex() == before["commitment"]
    listed = await site.get(f"{DROP}/entries")
    entries = [bytes.fromhex(line) for line in listed.text.splitlines()]
    assert Log().extended(entries).root == root
    rest = await site.get(f"{DROP}/entries?from=3")
    assert rest.text.splitlines() == listed.text.splitlines()[3:]
    assert problem(await site.get(f"{DROP}/entries?from=6"))[0] == 422
    order = Draw(draw_key(seed, root=root, beacon=draw["beacon"]), 5)
    for who, place in zip(people, places, strict=True):
        address = f"{DROP}/places/{place['id']}"
        proof = (await site.get(f"{address}/proof", headers=with_ticket(who, place))).json()
        leaf = leaf_hash(bytes.fromhex(proof["entry"]))
        path = [bytes.fromhex(each) for each in proof["proof"]]
        assert is_included(leaf, proof["index"], 5, path, root)
        number = (await site.get(address, headers=with_ticket(who, place))).json()["number"]
        assert number == proof["number"] == order.number(proof["index"])
        public = await site.get(f"{DROP}/entries/{proof['index']}")
        assert public.json() == proof
        assert public.headers["cache-control"] == "public, max-age=3600"
    assert late["number"] == 6
    for nobody in ("5", "-1", "x", "9" * 30):
        assert problem(await site.get(f"{DROP}/entries/{nobody}"))[0] == 404


async def check_logs_of_receipts(site: httpx.AsyncClient, places: list[dict[str, Any]], draw: dict[str, Any]) -> None:
    """Each receipt, older or later than the draw, is shown to be of the same log; of another nothing can be shown."""
    drawn = (draw["size"], bytes.fromhex(draw["root"]))
    for place in places:
        claim = read_claim(place["receipt"])
        assert claim is not None
        response = await site.get(f"{DROP}/consistency/{claim.size}")
        grown = response.json()
        (first, older), (second, newer) = sorted([(claim.size, claim.root), drawn])
        assert (grown["first"], grown["second"]) == (first, second)
        proof = [bytes.fromhex(node) for node in grown["proof"]]
        assert is_consistent(first, second, proof, first_root=older, second_root=newer)
        assert first == second or not is_consistent(first, second, proof, first_root=b"r" * 32, second_root=newer)
        assert response.headers["cache-control"] == "public, max-age=3600"
    for nothing in ("0", "7", "-1", "x", "9" * 30):
        assert problem(await site.get(f"{DROP}/consistency/{nothing}"))[0] == 404


async def test_a_long_list_goes_on_at_the_next_address(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room(mode=RoomMode.ARRIVAL)
    await ready(site, "lobby")
    for _ in range(3):
        await joined(site, await account(database))
    await let_open(database, settings)
    await ready(site, "open")
    whole = (await site.get(f"{DROP}/entries")).text
    site_app = site._transport.app.app  # type: ignore[attr-defined]
    gate = site_app.state.gate
    gate.settings = gate.settings.model_copy(update={"gate": gate.settings.gate.model_copy(update={"entries_page": 2})})
    first = await site.get(f"{DROP}/entries")
    assert first.headers["link"] == f'<{DROP}/entries?from=2>; rel="next"'
    second = await site.get(f"{DROP}/entries?from=2")
    assert "link" not in second.headers
    assert first.text + second.text == whole
    assert (await site.get(f"{DROP}/draw")).json()["assurance"] == "arrival"


async def test_a_receipt_is_checked_with_the_published_key(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database
) -> None:
    await make_room()
    await ready(site, "lobby")
    place = await joined(site, await account(database))
    keys = {key["kid"]: key["x"] for key in (await site.get("/api/v1/gate/keys")).json()["keys"]}
    signed, _, signature = place["receipt"].rpartition(".")
    kind, kid, payload = signed.split(".")

    def raw(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "==")

    one = b"\x00\x00\x00\x01"
    assert raw(signature)[:8] == b"\x00\x00\x00\x00" + one, "the only one of its batch, so the root is its leaf"
    root = sha256(b"\x00" + signed.encode()).digest()
    Ed25519PublicKey.from_public_bytes(raw(keys[kid])).verify(
        raw(signature)[8:], f"{kind}.{kid}.".encode() + one + root
    )
    assert kind == "tgr1"
    assert raw(payload)[-32:].hex() == place["root"]
    assert json.dumps(place).count("@") == 0


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_other_methods_are_refused(site: httpx.AsyncClient, method: str) -> None:
    assert problem(await site.request(method, f"{DROP}/status")) == (405, "method-not-allowed")


async def test_who_asks_for_the_status_a_hundred_times_too_often_is_slowed_down_and_nobody_else(
    site: httpx.AsyncClient, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room()
    await ready(site, "lobby")
    eager, calm = await account(database), await account(database)
    place = await joined(site, eager)
    most = settings.gate.status_per_minute
    with redis.Redis.from_url(settings.require_valkey_url()) as valkey:
        before = valkey.info("stats")["total_commands_processed"]
        answers = await asyncio.gather(*(site.get(f"{DROP}/status", headers=eager) for _ in range(most + 100)))
        asked = valkey.info("stats")["total_commands_processed"] - before
    assert asked < len(answers) / 10, "no status asks Valkey, only what runs in the background does"
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 90 <= len(refused) <= 100
    assert {problem(answer) for answer in refused} == {(429, "too-many-requests")}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    for headers in (calm, {}, {}):
        assert (await site.get(f"{DROP}/status", headers=headers)).status_code == 200
    assert (await joined(site, eager))["id"] == place["id"], "it costs nothing but speed"
