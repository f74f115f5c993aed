"""Pages and API answers that a process keeps: no query when warm, and never long untrue."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.storefront.conftest import Open, Sell, reading, text_of
from tests.waiting import wait_until_async
from tidegate.catalog import find_variants
from tidegate.entrypoints.site import create_app
from tidegate.inventory import set_stock
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio
