"""A shop to be broken: everything that ends by time ends within seconds in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.faults import QUICK, run
from tests.servers import Shop


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """A loop that leaves the machine to the shop: the crowd shares it."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def sale(shared_shop: Callable[..., Shop]) -> Shop:
    """One demo shop for all faults: each leaves it running, with books that close."""
    return shared_shop("sale", environment=QUICK)


@pytest.fixture
def stock(sale: Shop) -> Callable[[dict[str, int]], None]:
    """Makes so many items of SKUs available: `stock({"22423": 100})`."""

    def set_stock(levels: dict[str, int]) -> None:
        for sku, items in levels.items():
            run(sale, "stock", "set", sku, str(items))

    return set_stock
