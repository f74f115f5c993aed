"""People, sessions and roles."""

from tidegate.accounts.contracts import Person, Role, SignedIn, WrongCredentials
from tidegate.accounts.erasing import erase_people
from tidegate.accounts.links import delete_old_links
from tidegate.accounts.people import ADMIN_EMAIL, addresses_of, ensure_admin, find_login
from tidegate.accounts.session_cache import Sessions, open_sessions
from tidegate.accounts.sessions import TakeOver, delete_ended_sessions, find_person, make_guest, sign_in, sign_out

__all__ = [
    "ADMIN_EMAIL",
    "Person",
    "Role",
    "Sessions",
    "SignedIn",
    "TakeOver",
    "WrongCredentials",
    "addresses_of",
    "delete_ended_sessions",
    "delete_old_links",
    "ensure_admin",
    "erase_people",
    "find_login",
    "find_person",
    "make_guest",
    "open_sessions",
    "sign_in",
    "sign_out",
]
