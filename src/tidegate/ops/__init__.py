"""Running a shop: the supervisor of `tidegate up`, and what a merchant does across modules."""

from __future__ import annotations

from tidegate.ops.contracts import UpOptions
from tidegate.ops.merchant import import_file, replay_drop, set_available, start_drop
from tidegate.ops.supervisor import run_up

__all__ = ["UpOptions", "import_file", "replay_drop", "run_up", "set_available", "start_drop"]
