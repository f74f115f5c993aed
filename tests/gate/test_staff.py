"""What staff may do with a room, by the API; to others there is none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.checkout.buying import guest, problem
from tests.checkout.conftest import put_on_sale
from tests.gate.rooms import a_key, a_room, database_url
from tests.guests import make_guest
from tests.waiting import eventually
from tidegate.entrypoints.admission import Admission, shop_admission
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings

__all__ = ["database_url"]

pytestmark = pytest.mark.anyio

ROOM = "/api/v1/admin/rooms/lamp-drop"


@pytest.fixture
async def staff(site: httpx.AsyncClient, database: Database) -> dict[str, str]:
    """A staff member's session, beside a room with six people and three lamps."""
    await put_on_sale(database, "LAMP", stock=3, drop_in_s=-5)
    async with database.transaction() as conn:
        made = await make_guest(conn)
        sealed = current_sealer().seal("staff@post.example", column="accounts.people.email_sealed")
        await conn.execute(
            "UPDATE accounts.people SET role = 'staff', email_sealed = %s, email_fingerprint = sha256('staff')",
            (sealed,),
        )
        await a_key(conn)
        await a_room(conn, slug="lamp-drop", buyers=[PersonId(new_id()) for _ in range(6)])
    return {"authorization": f"Bearer {made.token}"}


async def test_the_room_by_the_api(
    site: httpx.AsyncClient,
    staff: dict[str, str],
    database: Database,
    settings: Settings,
) -> None:
    stranger = await guest(site)
    assert problem(await site.get(ROOM, headers=stranger)) == (404, "not-found")
    assert problem(await site.get(ROOM)) == (401, "not-signed-in")
    assert problem(await site.get(ROOM + "x", headers=staff)) == (404, "room-unknown")
    seen = (await site.get(ROOM, headers=staff)).json()
    assert (seen["phase"], seen["waiting"], seen["inside"], seen["left"]) == ("open", 6, 0, None)
    change = {"paused": True, "speed_limit_per_min": 90, "message": "  We begin\n in a minute. "}
    changed = (await site.patch(ROOM, json=change, headers=staff)).json()
    assert (changed["paused"], changed["speed_limit_per_min"]) == (True, 90)
    assert changed["message"] == "We begin in a minute."
    line = shop_admission(database, settings)
    await line.once()
    assert (await site.get(ROOM, headers=staff)).json()["admitted"] == 0
    changed = (await site.patch(ROOM, json={"paused": False, "speed_limit_per_min": None}, headers=staff)).json()
    assert (changed["paused"], changed["speed_limit_per_min"]) == (False, None)
    assert changed["message"] == "We begin in a minute.", "what is left out stays"
    await database_settles(line)
    seen = (await site.get(ROOM, headers=staff)).json()
    assert (seen["waiting"], seen["admitted"], seen["inside"], seen["left"]) == (3, 3, 3, 3)
    app: Any = site._transport.app  # type: ignore[attr-defined]
    await app.app.state.gate.refresh()
    status = (await site.get("/api/v1/drops/lamp-drop/status")).json()
    assert (status["message"], status["serving"]) == ("We begin in a minute.", 4)
    assert (await site.patch(ROOM, json={"speed_limit_per_min": 0}, headers=staff)).status_code == 422
    assert (await site.patch(ROOM, json={"message": "x" * 501}, headers=staff)).status_code == 422
    closed = [await site.post(f"{ROOM}/close", headers=staff) for _ in range(2)]
    assert [(each.status_code, each.json()["phase"]) for each in closed] == [(200, "closed")] * 2
    assert problem(await site.patch(ROOM, json={"paused": True}, headers=staff)) == (404, "room-unknown")


async def database_settles(line: Admission) -> None:
    """Rounds until three are in: a pause leaves no credit, so it takes a moment."""

    async def three() -> bool:
        await line.once()
        async with line.database.connection() as conn:
            row = await (await conn.execute("SELECT max(admitted) FROM gate.admissions")).fetchone()
        return row is not None and row[0] == 3

    await eventually(three)
    await line.once()
