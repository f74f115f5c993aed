"""Whether the mail server lets us in, without a mail."""

from __future__ import annotations

from tidegate.platform.settings_notify import MailSettings


async def check_mail_server(settings: MailSettings) -> str:
    """Connect, greet, log in and leave; what went wrong, empty when nothing did. Raises: StartupError for a bad URL."""
    from tidegate.notify.mail import MailServer, MailServerAway  # a site process need not import it

    async with MailServer(settings) as server:
        try:
            await server.greet()
        except MailServerAway as error:
            return str(error)
    return ""
