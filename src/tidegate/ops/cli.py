"""The commands of this module, for the command line to mount."""

from __future__ import annotations

from tidegate.ops.books_cli import books_command
from tidegate.ops.goods_cli import export_command, import_app
from tidegate.ops.merchant_cli import drop_app, stock_app, voucher_app

__all__ = ["books_command", "drop_app", "export_command", "import_app", "stock_app", "voucher_app"]
