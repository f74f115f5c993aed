"""Pages and API answers that a process keeps: no query when warm, and never long untrue."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio
