"""Running a shop: the supervisor of `tidegate up`, and what a merchant does across modules."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tidegate.ops.contracts import UpOptions

if TYPE_CHECKING:
    from tidegate.ops.merchant import import_file, replay_drop, set_available, start_drop
    from tidegate.ops.supervisor import run_up

__all__ = ["UpOptions", "import_file", "replay_drop", "run_up", "set_available", "start_drop"]


def __getattr__(name: str) -> Any:
    """Imported when first asked for: the supervisor is a small process that needs nothing of the shop itself."""
    if name not in __all__:
        raise AttributeError(name)
    return getattr(import_module("tidegate.ops." + ("supervisor" if name == "run_up" else "merchant")), name)
