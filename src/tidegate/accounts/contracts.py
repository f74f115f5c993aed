"""Who people are to the shop."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from tidegate.platform.ids import PersonId
from tidegate.platform.problems import Overloaded, Problem


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


class LinkKind(StrEnum):
    """What a mailed link is for."""

    REGISTER = "register"
    LOGIN = "login"
    RESET = "reset"
    INVITE = "invite"


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session of somebody's, as they see it. Times in UTC."""

    id: str
    started_at: datetime
    seen_at: datetime
    current: bool
    """Whether it is the one that asks."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session. The token is told once; only its hash is kept."""

    token: str = field(repr=False)
    person: Person


@dataclass(frozen=True, slots=True)
class PersonAccount:
    """An account as the staff see it. Times in UTC; `confirmed_at` is when its address was, None if it never was."""

    id: PersonId
    role: Role
    email: str
    created_at: datetime
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """A page of accounts; `next_before` is where the next one begins, None at the end."""

    people: tuple[PersonAccount, ...]
    next_before: PersonId | None


@dataclass(frozen=True, slots=True)
class RoleChange:
    """What happened to somebody's role. `actor` is the address of who did it, None once that account is erased."""

    what: str
    before: Role | None
    after: Role
    at: datetime
    actor_id: PersonId
    actor: str | None


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation that waits to be accepted."""

    id: UUID
    email: str
    role: Role
    expires_at: datetime


class WrongCredentials(Problem):
    """The e-mail address or the password is not right."""

    slug = "wrong-credentials"
    status = 401


class LinkSpent(Problem):
    """This link was used already or is too old."""

    slug = "link-spent"
    status = 410


class SignInBusy(Overloaded):
    """Too many people sign in at this moment; buying goes on, and a mailed link signs in without waiting."""

    slug = "sign-in-busy"


class LastAdmin(Problem):
    """The only administrator must stay one; make somebody else an administrator first."""

    slug = "last-admin"
    status = 409
