"""Stock and holds: who may have what, decided in the database and never beyond what there is."""

from tidegate.inventory.books import INVARIANTS
from tidegate.inventory.contracts import (
    BuyerUse,
    Decision,
    DropRule,
    Granted,
    Hold,
    HoldLine,
    HoldRequest,
    HoldState,
    NotYetOpen,
    OverLimit,
    SoldOut,
    StockLevel,
    Take,
    TooManyHolds,
    VoucherNotNow,
    VoucherRule,
    VoucherSpent,
    summed,
)
from tidegate.inventory.erasing import erase_holds, erase_stock
from tidegate.inventory.handover import take_over_holds
from tidegate.inventory.holds import (
    Confirmation,
    ask_hold_states,
    ask_holds,
    attach_holds,
    confirm_holds,
    expire_holds,
    live_holds,
    load_holds,
    read_holds,
    release_holds,
    release_unordered,
)
from tidegate.inventory.limits import RACE as LIMIT_RACE
from tidegate.inventory.limits import clear_limits, redemptions
from tidegate.inventory.placing import ask_room, place_holds
from tidegate.inventory.returns import return_items, undo_sale
from tidegate.inventory.stock import MAX_STOCK, StockMoves, add_missing_stock, available, set_stock, stock_levels
from tidegate.inventory.stock import RACE as STOCK_RACE

__all__ = [
    "INVARIANTS",
    "LIMIT_RACE",
    "MAX_STOCK",
    "STOCK_RACE",
    "BuyerUse",
    "Confirmation",
    "Decision",
    "DropRule",
    "Granted",
    "Hold",
    "HoldLine",
    "HoldRequest",
    "HoldState",
    "NotYetOpen",
    "OverLimit",
    "SoldOut",
    "StockLevel",
    "StockMoves",
    "Take",
    "TooManyHolds",
    "VoucherNotNow",
    "VoucherRule",
    "VoucherSpent",
    "add_missing_stock",
    "ask_hold_states",
    "ask_holds",
    "ask_room",
    "attach_holds",
    "available",
    "clear_limits",
    "confirm_holds",
    "erase_holds",
    "erase_stock",
    "expire_holds",
    "live_holds",
    "load_holds",
    "place_holds",
    "read_holds",
    "redemptions",
    "release_holds",
    "release_unordered",
    "return_items",
    "set_stock",
    "stock_levels",
    "summed",
    "take_over_holds",
    "undo_sale",
]
