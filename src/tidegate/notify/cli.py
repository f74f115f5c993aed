"""Notify's commands."""

from __future__ import annotations

from tidegate.platform.settings import Settings


def serve_mail_catcher(settings: Settings) -> None:
    """Run the mail catcher until it is told to stop. Raises: StartupError."""
    from tidegate.notify.mail_catcher import serve  # aiosmtpd is of no use to any other command

    serve(settings)
