"""Who people are to the shop."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tidegate.platform.ids import PersonId
from tidegate.platform.problems import Problem


class Role(StrEnum):
    """What somebody may do. Guests and customers buy; staff and administrators run the shop."""

    GUEST = "guest"
    CUSTOMER = "customer"
    STAFF = "staff"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a session."""

    id: PersonId
    role: Role

    @property
    def is_staff(self) -> bool:
        """Whether the staff's pages are for them."""
        return self.role in (Role.STAFF, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session. The token is told once; only its hash is kept."""

    token: str = field(repr=False)
    person: Person


class WrongCredentials(Problem):
    """The e-mail address or the password is not right."""

    slug = "wrong-credentials"
    status = 401
