"""Buying: hold, order, payment, and what happens when one of them does not come through."""

from tidegate.checkout.contracts import (
    Address,
    AlreadyOrdered,
    BoughtLine,
    HoldExpired,
    HoldView,
    LimitReached,
    Line,
    NextAction,
    NotOpen,
    NotPayable,
    OrderForm,
    OrderState,
    OrderSummary,
    OrderView,
    PassRequired,
    PassSpent,
    SoldOut,
    UnknownSku,
)
from tidegate.checkout.holding import find_hold, give_up, live_hold_in, open_hold
from tidegate.checkout.ordering import find_order, pay_again, place_order
from tidegate.checkout.orders import list_recent
from tidegate.checkout.rules import check_form
from tidegate.checkout.shop import Shop
from tidegate.checkout.upkeep import expire_holds_once, expire_orders_once, reconcile_once

__all__ = [
    "Address",
    "AlreadyOrdered",
    "BoughtLine",
    "HoldExpired",
    "HoldView",
    "LimitReached",
    "Line",
    "NextAction",
    "NotOpen",
    "NotPayable",
    "OrderForm",
    "OrderState",
    "OrderSummary",
    "OrderView",
    "PassRequired",
    "PassSpent",
    "Shop",
    "SoldOut",
    "UnknownSku",
    "check_form",
    "expire_holds_once",
    "expire_orders_once",
    "find_hold",
    "find_order",
    "give_up",
    "list_recent",
    "live_hold_in",
    "open_hold",
    "pay_again",
    "place_order",
    "reconcile_once",
]
