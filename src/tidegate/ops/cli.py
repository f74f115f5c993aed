"""The commands of this module, for the command line to mount."""

from __future__ import annotations

from tidegate.ops.backup_cli import backup_command, restore_command
from tidegate.ops.books_cli import books_command
from tidegate.ops.demo_cli import demo_app
from tidegate.ops.doctor_cli import doctor_command
from tidegate.ops.goods_cli import export_command, import_app
from tidegate.ops.init_cli import init_command
from tidegate.ops.merchant_cli import drop_app, stock_app, voucher_app
from tidegate.ops.notify_cli import notify_app
from tidegate.ops.rooms_cli import room_app
from tidegate.ops.scale_cli import restart_command, scale_command

__all__ = [
    "backup_command",
    "books_command",
    "demo_app",
    "doctor_command",
    "drop_app",
    "export_command",
    "import_app",
    "init_command",
    "notify_app",
    "restart_command",
    "restore_command",
    "room_app",
    "scale_command",
    "stock_app",
    "voucher_app",
]
