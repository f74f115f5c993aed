"""The shop's settings, to read: what is unsafe in production first, then every setting by section."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from tidegate import ops
from tidegate.admin.pages_shell import staff_router
from tidegate.ops import Finding, SettingSection
from tidegate.platform.settings import Settings
from tidegate.web import NOT_KEPT, render

router = staff_router("/settings")


@dataclass(frozen=True, slots=True)
class SettingsContext:
    """Context of `admin/settings.html`. `findings` are only those that are not good."""

    findings: tuple[Finding, ...]
    sections: tuple[SettingSection, ...]
    only_changed: bool


@router.get("")
async def show_settings(request: Request, every: str = "") -> Response:
    """What was changed from its default; with `every`, all settings."""
    settings: Settings = request.app.state.settings
    findings = await asyncio.to_thread(ops.production_findings, settings)  # it looks at files
    context = SettingsContext(findings, _shown(ops.settings_sections(settings), every=bool(every)), not every)
    return render(request, "admin/settings.html", context, headers=NOT_KEPT)


def _shown(sections: tuple[SettingSection, ...], *, every: bool) -> tuple[SettingSection, ...]:
    if every:
        return sections
    changed = (
        SettingSection(each.name, each.explanation, tuple(row for row in each.rows if row.changed)) for each in sections
    )
    return tuple(each for each in changed if each.rows)
