"""The mail catcher of a development shop."""

from __future__ import annotations

from tidegate.notify.cli import serve_mail_catcher
from tidegate.platform.observability import configure_logging, start_metrics
from tidegate.platform.settings import Settings

NAME = "mail-catcher"


def serve(settings: Settings) -> None:
    """Take mails until SIGTERM. Raises: StartupError when the port is taken or the folder cannot be written."""
    configure_logging(settings, process_name=NAME)
    start_metrics(settings, process_name=NAME)
    serve_mail_catcher(settings)
