"""Probes: `/livez` says that the process answers, `/readyz` that it can do its work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

log = structlog.get_logger("tidegate.health")

CHECK_TIMEOUT_S = 1.0
"""How long each part may take to answer."""

HealthCheck = Callable[[], Awaitable[None]]
"""Returns when a part is well; raises whatever it likes when it is not."""


def health_router(checks: Mapping[str, HealthCheck]) -> APIRouter:
    """Routes of the probes. `checks` are the parts without which this process should get no requests."""
    router = APIRouter(include_in_schema=False)

    @router.get("/livez")
    async def livez() -> Response:
        return JSONResponse({"status": "ok"})

    @router.get("/readyz")
    async def readyz() -> Response:
        states = await asyncio.gather(*(_state(name, check) for name, check in checks.items()))
        parts = dict(zip(checks, states, strict=True))
        ready = all(state == "ok" for state in states)
        headers = {} if ready else {"retry-after": "1"}
        body = {"status": "ok" if ready else "unavailable", "parts": parts}
        return JSONResponse(body, status_code=200 if ready else 503, headers=headers)

    return router


async def _state(name: str, check: HealthCheck) -> str:
    """`ok`, or one word why not: details would tell strangers about the inside, so they are only logged."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except TimeoutError:
        return "timeout"
    except Exception as error:
        log.warning("part_not_ready", part=name, error=type(error).__name__)
        return "failed"
    return "ok"
