"""Buying: hold, order, payment, and what happens when one of them does not come through."""

from tidegate.checkout.books import INVARIANTS
from tidegate.checkout.contracts import (
    Address,
    AlreadyOrdered,
    BoughtLine,
    CodeNotValid,
    CodeUnknown,
    CodeUsedUp,
    HoldExpired,
    HoldsOpen,
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
from tidegate.checkout.engine import open_shop
from tidegate.checkout.erasing import erase_orders, forget_buyers, ordered_variants
from tidegate.checkout.handover import take_over_purchases
from tidegate.checkout.holding import FreshHold, HoldWish, find_hold, give_up, live_hold_in, open_hold, settle_hold
from tidegate.checkout.ordering import Replay, find_order, pay_again, place_order
from tidegate.checkout.orders import list_recent
from tidegate.checkout.purchasing import PurchaseWish, purchase
from tidegate.checkout.rules import check_form
from tidegate.checkout.shop import Shop
from tidegate.checkout.upkeep import expire_holds_once, expire_orders_once, reconcile_once

__all__ = [
    "INVARIANTS",
    "Address",
    "AlreadyOrdered",
    "BoughtLine",
    "CodeNotValid",
    "CodeUnknown",
    "CodeUsedUp",
    "FreshHold",
    "HoldExpired",
    "HoldView",
    "HoldWish",
    "HoldsOpen",
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
    "PurchaseWish",
    "Replay",
    "Shop",
    "SoldOut",
    "UnknownSku",
    "check_form",
    "erase_orders",
    "expire_holds_once",
    "expire_orders_once",
    "find_hold",
    "find_order",
    "forget_buyers",
    "give_up",
    "list_recent",
    "live_hold_in",
    "open_hold",
    "open_shop",
    "ordered_variants",
    "pay_again",
    "place_order",
    "purchase",
    "reconcile_once",
    "settle_hold",
    "take_over_purchases",
]
