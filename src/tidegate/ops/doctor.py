"""`tidegate doctor`: everything that a shop stands on, looked at without changing anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from tidegate.ops import checkups_live as live
from tidegate.ops.checkups import settings_findings
from tidegate.ops.findings import Finding, Level, broken
from tidegate.platform.settings import Settings

LONGEST_S = 30.0
"""For each question; those behind it do not wait."""


async def examine(settings: Settings, *, online: bool = True) -> list[Finding]:
    """All findings. `online`: whether the payment provider may be asked."""
    groups = await asyncio.gather(
        _all("database", live.database_findings(settings)),
        _one("Valkey", live.valkey(settings)),
        _one("broker", live.broker(settings)),
        _one("mail", live.mail(settings)),
        _one("payment keys", live.payments(settings, online=online)),
    )
    asked = [finding for group in groups for finding in group]
    return [*asked, *live.processes(settings), *settings_findings(settings)]


def worst(findings: list[Finding]) -> Level:
    """The level of the worst finding."""
    for level in (Level.BROKEN, Level.UNSAFE):
        if any(finding.level is level for finding in findings):
            return level
    return Level.OK


async def _one(name: str, question: Awaitable[Finding]) -> list[Finding]:
    async def listed() -> list[Finding]:
        return [await question]

    return await _all(name, listed())


async def _all(name: str, question: Awaitable[list[Finding]]) -> list[Finding]:
    """A check that breaks is a finding too: the others are still of use."""
    try:
        async with asyncio.timeout(LONGEST_S):
            return await question
    except TimeoutError:
        return [broken(name, f"no answer within {LONGEST_S:.0f} s", "see whether it is overloaded")]
    except Exception as error:
        return [broken(name, f"could not be checked: {type(error).__name__}: {str(error)[:200]}", "see its logs")]
