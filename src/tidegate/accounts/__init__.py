"""People, sessions and roles."""

from tidegate.accounts.account import Desk
from tidegate.accounts.contracts import (
    Invitation,
    LastAdmin,
    PeoplePage,
    Person,
    PersonAccount,
    Role,
    RoleChange,
    SignedIn,
    WrongCredentials,
)
from tidegate.accounts.crowds import make_crowd, make_links, make_members
from tidegate.accounts.erasing import erase_people
from tidegate.accounts.links import delete_old_links
from tidegate.accounts.people import ADMIN_EMAIL, addresses_of, ensure_admin, find_login
from tidegate.accounts.roles import (
    change_role,
    find_accounts,
    find_person_account,
    invite_staff,
    list_invitations,
    list_people,
    list_role_changes,
    sign_out_everywhere,
    withdraw_invitation,
)
from tidegate.accounts.session_cache import Sessions, open_sessions
from tidegate.accounts.sessions import (
    TakeOver,
    delete_ended_sessions,
    find_person,
    list_sessions,
    make_guests,
    sign_in,
    sign_out,
)

__all__ = [
    "ADMIN_EMAIL",
    "Desk",
    "Invitation",
    "LastAdmin",
    "PeoplePage",
    "Person",
    "PersonAccount",
    "Role",
    "RoleChange",
    "Sessions",
    "SignedIn",
    "TakeOver",
    "WrongCredentials",
    "addresses_of",
    "change_role",
    "delete_ended_sessions",
    "delete_old_links",
    "ensure_admin",
    "erase_people",
    "find_accounts",
    "find_login",
    "find_person",
    "find_person_account",
    "invite_staff",
    "list_invitations",
    "list_people",
    "list_role_changes",
    "list_sessions",
    "make_crowd",
    "make_guests",
    "make_links",
    "make_members",
    "open_sessions",
    "sign_in",
    "sign_out",
    "sign_out_everywhere",
    "withdraw_invitation",
]
