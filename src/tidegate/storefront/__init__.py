"""The shopper's pages and the public catalogue of the JSON API, composed from the modules below."""

from tidegate.storefront.announcing import Announcer
from tidegate.storefront.freshness import open_answers
from tidegate.storefront.room_drops import RoomDrops

__all__ = ["Announcer", "RoomDrops", "open_answers"]
