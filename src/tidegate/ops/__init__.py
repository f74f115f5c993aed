"""Running a shop: the supervisor of `tidegate up`, and what a merchant does across modules."""

from __future__ import annotations

from tidegate.ops.books import RULES, check_books, watch_books
from tidegate.ops.contracts import Books, BooksNotChecked, Checked, UpOptions
from tidegate.ops.merchant import import_file, replay_drop, set_available, start_drop
from tidegate.ops.supervisor import run_up

__all__ = [
    "RULES",
    "Books",
    "BooksNotChecked",
    "Checked",
    "UpOptions",
    "check_books",
    "import_file",
    "replay_drop",
    "run_up",
    "set_available",
    "start_drop",
    "watch_books",
]
