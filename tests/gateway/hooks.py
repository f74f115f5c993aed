"""Webhooks out: signed as Stripe signs, late, twice, out of order, as the plan says."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

ATTEMPTS = 20
PAUSE_S = 0.25


@dataclass(slots=True)
class HookPlan:
    """Where events go, empty for nowhere. Each is sent `copies` times, after a chance share of `delay_s` when
    `shuffle`, after all of it otherwise."""

    url: str = ""
    secrets: list[str] = field(default_factory=lambda: ["whsec_gateway"])
    delay_s: float = 0.0
    copies: int = 1
    shuffle: bool = False
    chance: random.Random = field(default_factory=lambda: random.Random(2))
    sent: int = 0
    refused: int = 0


class Sender:
    """Sends events in the background."""

    def __init__(self, plan: HookPlan) -> None:
        self.plan = plan
        self._client: httpx.AsyncClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, event: dict[str, Any]) -> None:
        """Plan the sending of an event."""
        if not self.plan.url:
            return
        for _ in range(self.plan.copies):
            delay_s = self.plan.delay_s * (self.plan.chance.random() if self.plan.shuffle else 1.0)
            task = asyncio.get_running_loop().create_task(self._send(event, delay_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what was not sent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _send(self, event: dict[str, Any], delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=10.0, trust_env=False)
        for _ in range(ATTEMPTS):
            headers, body = signed(event, secrets=self.plan.secrets)
            try:
                answer = await self._client.post(self.plan.url, content=body, headers=headers)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.is_success:
                self.plan.sent += 1
                return
            self.plan.refused += 1
            await asyncio.sleep(PAUSE_S)


def signed(event: dict[str, Any], *, secrets: Sequence[str], at: float | None = None) -> tuple[dict[str, str], bytes]:
    """Headers and body of a webhook, signed by each of `secrets` (Stripe does so while a secret is rolled)."""
    moment, body = int(time.time() if at is None else at), json.dumps(event, indent=2).encode()
    signatures = [
        hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest() for secret in secrets
    ]
    header = ",".join([f"t={moment}", *(f"v1={signature}" for signature in signatures), "v0=6ffbb59b2300aae6"])
    return {"Stripe-Signature": header, "Content-Type": "application/json; charset=utf-8"}, body
