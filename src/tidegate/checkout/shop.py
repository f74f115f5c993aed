"""What every use case of buying stands on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from tidegate.catalog import Snapshot
from tidegate.checkout.twins import Twins
from tidegate.gate import PassDesk
from tidegate.payments import Providers
from tidegate.platform.database import Database
from tidegate.platform.group_commit import GroupCommit
from tidegate.platform.idempotency import KeyDesk
from tidegate.platform.settings import Settings

if TYPE_CHECKING:
    from tidegate.checkout.contracts import OrderView
    from tidegate.checkout.guessing import Codes
    from tidegate.checkout.holding import FreshHold, HoldWish
    from tidegate.checkout.ordering import OrderWish, Started
    from tidegate.checkout.purchasing import PurchaseWish
    from tidegate.checkout.settlement import Settlement
    from tidegate.platform.idempotency import StoredAnswer


@dataclass(frozen=True, slots=True)
class Desk:
    """What a batch needs beside its connection. `number_key` is the key of order numbers."""

    settings: Settings
    snapshot: Snapshot
    number_key: UUID
    passes: PassDesk
    keys: KeyDesk = field(default_factory=KeyDesk)


@dataclass(frozen=True, slots=True)
class Batches:
    """The group commits of buying, one a kind."""

    holds: GroupCommit[HoldWish, FreshHold | StoredAnswer]
    orders: GroupCommit[OrderWish, Started | StoredAnswer]
    purchases: GroupCommit[PurchaseWish, Started | StoredAnswer]
    settlements: GroupCommit[Settlement, OrderView | StoredAnswer | None]


@dataclass(frozen=True, slots=True)
class Shop:
    """The database, the settings, the ways to pay, the batches, and who may use codes. `open_shop` makes one."""

    database: Database
    settings: Settings
    providers: Providers
    desk: Desk
    batches: Batches
    twins: Twins
    codes: Codes
