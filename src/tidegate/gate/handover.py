"""What becomes of places when a guest signs in, or somebody deletes their account."""

from __future__ import annotations

from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId


async def take_over_places(conn: Connection, guest: PersonId, person: PersonId) -> None:
    """Make a guest's places a person's, except where the person has one already: there is one place a person.

    Tickets name their buyer, so the guest's are good no more: joining again gives the person theirs.
    """
    await conn.execute(
        "UPDATE gate.places AS p SET buyer_id = %(person)s"
        " WHERE p.room_id = ANY(SELECT id FROM gate.rooms WHERE guests AND phase <> 'closed')"
        " AND p.buyer_id = %(guest)s AND NOT EXISTS ("
        " SELECT FROM gate.places AS o WHERE o.room_id = p.room_id AND o.buyer_id = %(person)s)",
        {"guest": guest, "person": person},
    )


async def leave_all_rooms(conn: Connection, person_id: PersonId) -> None:
    """Give up the places of somebody whose account is deleted. The rows name nobody once it is."""
    await conn.execute(
        "UPDATE gate.places SET state = 'left' WHERE buyer_id = %s AND state IN ('waiting', 'admitted')"
        " AND room_id = ANY(SELECT id FROM gate.rooms WHERE phase <> 'closed')",
        (person_id,),
    )
