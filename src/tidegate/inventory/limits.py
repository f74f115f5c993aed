"""What a buyer may have under a drop's rule. The row also carries the buyer's live hold, so there is at most one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidegate.inventory.contracts import BuyerUse, HoldRequest
from tidegate.inventory.rules import BuyerRule
from tidegate.platform.database import Connection
from tidegate.platform.ids import NO_DROP, DropId, HoldId


@dataclass(frozen=True, slots=True)
class LimitChange:
    """`used` items more (or fewer) for a buyer; `hold_id` becomes live with it, or ends."""

    rule: BuyerRule
    used: int
    hold_id: HoldId
    live: bool


async def lock_limits(conn: Connection, requests: Sequence[HoldRequest]) -> dict[BuyerRule, BuyerUse]:
    """Lock the limit rows of requests that belong to a drop, making those that are missing."""
    quotas = {(r.drop.drop_id, r.buyer_id): r.drop.per_buyer for r in requests if r.drop is not None}
    if not quotas:
        return {}
    rules = sorted(quotas)
    rows = await conn.execute(
        "INSERT INTO inventory.buyer_limits AS l (rule_id, buyer_id, quota, used)"
        " SELECT rule_id, buyer_id, quota, 0 FROM unnest(%s::uuid[], %s::uuid[], %s::int[])"
        " AS wanted (rule_id, buyer_id, quota) ORDER BY rule_id, buyer_id"
        " ON CONFLICT (rule_id, buyer_id) DO UPDATE SET quota = greatest(excluded.quota, l.used)"
        " RETURNING rule_id, buyer_id, used, live_hold_id",
        ([rule[0] for rule in rules], [rule[1] for rule in rules], [quotas[rule] for rule in rules]),
    )
    return {(row[0], row[1]): BuyerUse(row[2], row[3]) for row in await rows.fetchall()}


async def change_limits(conn: Connection, changes: Sequence[LimitChange]) -> None:
    """Apply changes in (rule, buyer) order. An ended hold clears only its own mark."""
    ordered = sorted((c for c in changes if c.rule[0] != NO_DROP), key=lambda change: change.rule)
    if not ordered:
        return
    await conn.execute(
        "SELECT 1 FROM inventory.buyer_limits AS l"
        " JOIN unnest(%s::uuid[], %s::uuid[]) AS w (rule_id, buyer_id) USING (rule_id, buyer_id)"
        " ORDER BY rule_id, buyer_id FOR NO KEY UPDATE OF l",
        ([c.rule[0] for c in ordered], [c.rule[1] for c in ordered]),
    )
    await conn.execute(
        "UPDATE inventory.buyer_limits AS l SET used = l.used + c.used, live_hold_id = CASE"
        " WHEN c.live_id IS NOT NULL THEN c.live_id"
        " WHEN l.live_hold_id = ANY(c.ended_ids) THEN NULL ELSE l.live_hold_id END"
        " FROM (SELECT rule_id, buyer_id, sum(used)::int AS used,"
        " (array_agg(hold_id) FILTER (WHERE live))[1] AS live_id,"
        " array_agg(hold_id) FILTER (WHERE NOT live) AS ended_ids"
        " FROM unnest(%s::uuid[], %s::uuid[], %s::int[], %s::uuid[], %s::bool[])"
        " AS d (rule_id, buyer_id, used, hold_id, live) GROUP BY rule_id, buyer_id) AS c"
        " WHERE l.rule_id = c.rule_id AND l.buyer_id = c.buyer_id",
        (
            [c.rule[0] for c in ordered],
            [c.rule[1] for c in ordered],
            [c.used for c in ordered],
            [c.hold_id for c in ordered],
            [c.live for c in ordered],
        ),
    )


async def room_under_limits(conn: Connection, wanted: Mapping[BuyerRule, int]) -> dict[BuyerRule, bool]:
    """Lock limit rows and say where `wanted` more items would still be within the quota."""
    rules = sorted(rule for rule in wanted if rule[0] != NO_DROP)
    if not rules:
        return {}
    rows = await conn.execute(
        "SELECT l.rule_id, l.buyer_id, l.quota - l.used FROM inventory.buyer_limits AS l"
        " JOIN unnest(%s::uuid[], %s::uuid[]) AS w (rule_id, buyer_id) USING (rule_id, buyer_id)"
        " ORDER BY l.rule_id, l.buyer_id FOR NO KEY UPDATE OF l",
        ([rule[0] for rule in rules], [rule[1] for rule in rules]),
    )
    return {(row[0], row[1]): row[2] >= wanted[row[0], row[1]] for row in await rows.fetchall()}


async def clear_limits(conn: Connection, *, rule_id: DropId) -> None:
    """Let everyone start anew under a rule, as when a drop is opened again. Live holds keep counting."""
    await conn.execute("DELETE FROM inventory.buyer_limits WHERE rule_id = %s AND live_hold_id IS NULL", (rule_id,))
    await conn.execute(
        "UPDATE inventory.buyer_limits AS l SET used ="
        " (SELECT coalesce(sum(quantity), 0) FROM inventory.hold_lines WHERE hold_id = l.live_hold_id)"
        " WHERE rule_id = %s",
        (rule_id,),
    )
