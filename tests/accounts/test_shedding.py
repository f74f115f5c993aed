"""A full queue of hashes: its own problem, counted, and no other route waits for it."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from prometheus_client import REGISTRY

from tests.accounts.visitor import EMAIL
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"tidegate_password_hashes_{name}") or 0.0


async def test_log_ins_are_shed_by_their_own_name(browser: httpx.AsyncClient, settings: Settings) -> None:
    room = settings.accounts.hash_workers + settings.accounts.hash_queue
    before = metric("shed_total")
    answers = await asyncio.gather(
        *(
            browser.post("/api/v1/sessions", json={"email": f"{number}.{EMAIL}", "password": "some guess"})
            for number in range(room + 8)
        )
    )
    shed = [answer for answer in answers if answer.status_code == 503]
    assert all(answer.status_code in (401, 429, 503) for answer in answers)
    assert metric("shed_total") - before == len(shed)
    for answer in shed:
        assert answer.json()["type"] == "/problems/sign-in-busy"
        assert int(answer.headers["retry-after"]) > 0
    assert (metric("waiting"), metric("running")) == (0, 0)
