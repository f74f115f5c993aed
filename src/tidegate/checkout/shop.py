"""What every use case of buying stands on."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.payments import Providers
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings


@dataclass(frozen=True, slots=True)
class Shop:
    """The database, the settings, the ways to pay."""

    database: Database
    settings: Settings
    providers: Providers
