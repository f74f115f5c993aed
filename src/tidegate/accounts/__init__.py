"""People, sessions and roles."""

from tidegate.accounts.contracts import Person, Role, SignedIn, WrongCredentials
from tidegate.accounts.people import ADMIN_EMAIL, ensure_admin, find_login
from tidegate.accounts.session_cache import Sessions, open_sessions
from tidegate.accounts.sessions import delete_ended_sessions, find_person, make_guest, sign_in, sign_out

__all__ = [
    "ADMIN_EMAIL",
    "Person",
    "Role",
    "Sessions",
    "SignedIn",
    "WrongCredentials",
    "delete_ended_sessions",
    "ensure_admin",
    "find_login",
    "find_person",
    "make_guest",
    "open_sessions",
    "sign_in",
    "sign_out",
]
