"""What can go wrong, as types. Problems that the shop tells (RFC 9457) are known by the end of their `type`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tidegate.client.contracts import PlaceState


class ShopError(Exception):
    """Something that this client was asked for did not happen."""


class ShopUnreachable(ShopError):
    """The shop did not answer: no connection, or no answer in time. What was asked for may have happened."""


class UnexpectedAnswer(ShopError):
    """The shop answered something that is not an answer of this API."""


class PlaceOver(ShopError):
    """A place is spent, expired or left: join again for one at the end, if the room still takes people."""

    def __init__(self, state: PlaceState) -> None:
        super().__init__(f"this place is {state.value}")
        self.state = state


class ShopProblem(ShopError):
    """The shop refused, and said why.

    `slug` is the kind of problem, `status` the HTTP status, `detail` the shop's words for a person, `extra` what else
    the document holds. `retry_after_s`: when the shop wants to be asked again, None where it does not say.
    """

    slugs: ClassVar[tuple[str, ...]] = ()
    _kinds: ClassVar[dict[str, type[ShopProblem]]] = {}

    def __init__(
        self, slug: str, status: int, detail: str, *, retry_after_s: float | None = None, extra: Mapping[str, Any]
    ) -> None:
        super().__init__(f"{detail} ({slug}, {status})")
        self.slug = slug
        self.status = status
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.extra = dict(extra)

    def __init_subclass__(cls) -> None:
        """A kind of its own for its slugs."""
        super().__init_subclass__()
        ShopProblem._kinds |= dict.fromkeys(cls.slugs, cls)

    @staticmethod
    def of(document: Mapping[str, Any], *, status: int, retry_after_s: float | None) -> ShopProblem:
        """The problem that a document tells. Kinds that this client does not know yet go by their status."""
        slug = str(document.get("type", "about:blank")).rpartition("/")[2]
        otherwise = TooManyRequests if status == 429 else ShopBusy if status >= 500 else ShopProblem
        detail = str(document.get("detail") or document.get("title") or slug)
        extra = {name: value for name, value in document.items() if name not in ("type", "title", "status", "detail")}
        return ShopProblem._kinds.get(slug, otherwise)(slug, status, detail, retry_after_s=retry_after_s, extra=extra)


class TooManyRequests(ShopProblem):
    """Asked too often; nothing was lost. `retry_after_s` says when to ask again."""

    slugs = ("too-many-requests",)


class ShopBusy(ShopProblem):
    """The shop cannot answer now (5xx); the same request may succeed later."""

    slugs = ("overloaded",)


class NotSignedIn(ShopProblem):
    """This needs the token of a session that lives."""

    slugs = ("not-signed-in",)


class NotAllowed(ShopProblem):
    """This account or key may not do that."""

    slugs = ("not-allowed",)


class NotFound(ShopProblem):
    """There is no such thing, or it is not yours."""

    slugs = ("not-found",)


class KeyReused(ShopProblem):
    """This key of yours was used for another request."""

    slugs = ("key-reused",)


class ClassMandatory(ShopProblem):
    """What somebody waits for is always sent: this class of messages cannot be switched off."""

    slugs = ("class-mandatory",)


class NotReplayable(ShopProblem):
    """This message cannot be sent again: its send is over for long, or its endpoint is disabled."""

    slugs = ("not-replayable",)


class InvalidRequest(ShopProblem):
    """What was sent is wrong; nothing was changed. `errors` names the wrong fields (`recipients[3].email`) and why."""

    slugs = ("invalid-request",)

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong with which field."""
        named = self.extra.get("errors", ())
        return {str(each["field"]): str(each["message"]) for each in named if isinstance(each, Mapping)}


class WrongCredentials(ShopProblem):
    """No account has this e-mail address and password."""

    slugs = ("wrong-credentials",)


class RoomUnknown(ShopProblem):
    """This drop has no waiting room."""

    slugs = ("room-unknown",)


class LobbyNotOpen(ShopProblem):
    """The room takes nobody yet."""

    slugs = ("lobby-not-open",)


class RoomClosed(ShopProblem):
    """The room is closed for good."""

    slugs = ("room-closed",)


class RoomSoldOut(ShopProblem):
    """Everything is sold."""

    slugs = ("room-sold-out",)


class AccountNeeded(ShopProblem):
    """The room is for people with an account; this session is a guest's."""

    slugs = ("account-needed",)


class JoinedTooOften(ShopProblem):
    """Left and come back as often as is possible."""

    slugs = ("joined-too-often",)


class TicketNotGood(ShopProblem):
    """The ticket is not good for this place and session; joining again gives one that is."""

    slugs = ("ticket-not-good",)


class PlaceUnknown(ShopProblem):
    """There is no such place."""

    slugs = ("place-unknown",)
