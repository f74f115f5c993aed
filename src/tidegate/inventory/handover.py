"""A guest's holds become an account's."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.inventory.contracts import Hold
from tidegate.inventory.holds import ask_holds, read_holds
from tidegate.inventory.limits import ask_limits, read_limits
from tidegate.platform.database import Connection
from tidegate.platform.idempotency import in_flight
from tidegate.platform.ids import ANYONE, NO_DROP, HoldId, PersonId


async def take_over_holds(
    conn: Connection, guest: PersonId, person: PersonId, *, ordered: Sequence[HoldId]
) -> list[HoldId]:
    """Make a guest's live holds and their `ordered` ones a person's, in the caller's transaction; returns these.

    What was used of limits moves along. All holds move or none: none where the person has used one of the same limits
    already, since the sum could be more than a buyer may have, and none while a request of the guest's is still being
    answered. The caller has locked the orders; holds and limits are locked here in the order of buying (see `stock`),
    those of the person also where there are none yet.

    Nobody counts the holds outside drops of either meanwhile. Together they may be more than the bound for one buyer:
    nothing that was held is taken away, and the person holds nothing more until enough of them ended.
    """
    holds = await read_holds(await ask_holds(conn, {*await _live(conn, guest), *ordered}))
    own = [hold for hold in holds.values() if hold.buyer_id == guest and (hold.live or hold.id in ordered)]
    rules = {rule_id for hold in own for (rule_id, buyer_id), _, _ in hold.taken if buyer_id != ANYONE}
    keys = {(rule_id, each) for rule_id in rules for each in (guest, person)}
    counts = [(NO_DROP, guest), (NO_DROP, person)]
    uses = await read_limits(await ask_limits(conn, keys, may_make=True, alone=counts))
    taken = [use for (_, buyer_id), use in uses.items() if buyer_id == person]
    if any(use.used or use.live_hold_id for use in taken) or set(await _live(conn, guest)) - holds.keys():
        return []  # the person has used one of the limits, or the guest has just now taken something more
    if await in_flight(conn, buyer_id=guest):
        return []  # what a request has ordered meanwhile may be written in its key only, with the guest's name
    await conn.execute(
        "DELETE FROM inventory.buyer_limits WHERE rule_id = ANY (%s) AND buyer_id = %s", (list(rules), person)
    )
    await conn.execute(
        "UPDATE inventory.buyer_limits SET buyer_id = %s WHERE rule_id = ANY (%s) AND buyer_id = %s",
        (person, list(rules), guest),
    )
    return await _move(conn, own, person)


async def _live(conn: Connection, guest: PersonId) -> list[HoldId]:
    rows = await conn.execute(
        "SELECT id FROM inventory.holds WHERE buyer_id = %s AND state IN ('held', 'ordered')", (guest,)
    )
    return [HoldId(row[0]) for row in await rows.fetchall()]


async def _move(conn: Connection, holds: Sequence[Hold], person: PersonId) -> list[HoldId]:
    moved = [hold.id for hold in holds]
    await conn.execute("UPDATE inventory.holds SET buyer_id = %s WHERE id = ANY (%s)", (person, moved))
    return moved
