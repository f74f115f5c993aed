"""Running a shop: the supervisor of `tidegate up`, and what a merchant does across modules."""

from __future__ import annotations

from tidegate.ops.contracts import UpOptions
from tidegate.ops.endpoints import write_endpoints
from tidegate.ops.findings import Finding
from tidegate.ops.history import (
    DropSample,
    ProcessState,
    Sample,
    Statuses,
    read_drop_samples,
    read_samples,
    read_statuses,
)
from tidegate.ops.local_database import database_at_hand
from tidegate.ops.local_servers import servers_at_hand
from tidegate.ops.merchant import change_drop, import_file, replay_drop, set_available, start_drop
from tidegate.ops.overview import SettingRow, SettingSection, production_findings, settings_sections
from tidegate.ops.rehearsals import (
    RehearsalNow,
    RehearsalPast,
    RehearsalSecond,
    end_rehearsal,
    keep_rehearsal,
    past_rehearsals,
    rehearsal_page,
    rehearsal_under_way,
    tell_rehearsal,
)
from tidegate.ops.sampling import Sampler
from tidegate.ops.supervisor import run_up

__all__ = [
    "DropSample",
    "Finding",
    "ProcessState",
    "RehearsalNow",
    "RehearsalPast",
    "RehearsalSecond",
    "Sample",
    "Sampler",
    "SettingRow",
    "SettingSection",
    "Statuses",
    "UpOptions",
    "change_drop",
    "database_at_hand",
    "end_rehearsal",
    "import_file",
    "keep_rehearsal",
    "past_rehearsals",
    "production_findings",
    "read_drop_samples",
    "read_samples",
    "read_statuses",
    "rehearsal_page",
    "rehearsal_under_way",
    "replay_drop",
    "run_up",
    "servers_at_hand",
    "set_available",
    "settings_sections",
    "start_drop",
    "tell_rehearsal",
    "write_endpoints",
]
