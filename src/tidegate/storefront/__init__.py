"""The shopper's pages and the public catalogue of the JSON API, composed from the modules below."""

from tidegate.storefront.announcing import Announcer
from tidegate.storefront.freshness import open_answers

__all__ = ["Announcer", "open_answers"]
