"""Answers of the gate's routes, as msgspec writes them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tidegate.gate.contracts import PlaceState

Id = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
State = Annotated[str, msgspec.Meta(extra_json_schema={"enum": [state.value for state in PlaceState]})]
Number = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class JoinAnswer(msgspec.Struct, frozen=True):
    """A place. `ticket` says whose it is: send it in `Tidegate-Ticket` with the same account's session.

    `index`, `root` and `receipt` show that the place is in the room's log: the receipt is signed (Ed25519).
    """

    id: Id
    ticket: str
    phase: str
    number: Number | None
    index: Count
    joined: Count
    root: Hash
    receipt: str


class PlaceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A place as it stands. `pass` is what buys once it is your turn."""

    id: Id
    number: Number | None
    state: State
    admission: str | None = msgspec.field(name="pass")


class ProofAnswer(msgspec.Struct, frozen=True):
    """That an entry is in the log: hash `entry` as a leaf, then with each of `proof`, and compare with `root`.

    As in RFC 9162, section 2.1.3. `size` and `root` are those of the draw.
    """

    index: Count
    entry: Hash
    size: Count
    proof: list[Hash]
    root: Hash
    number: Number


class ConsistencyAnswer(msgspec.Struct, frozen=True):
    """That the log of `first` entries is the beginning of the one of `second`, as in RFC 9162, section 2.1.4.

    One of the two is the log that was drawn from, the other that of a receipt.
    """

    first: Number
    second: Number
    proof: list[Hash]


class DrawAnswer(msgspec.Struct, frozen=True):
    """What a draw was made of. `commitment` is there from the beginning, the rest once the room has opened.

    `assurance`: `verifiable` with a value from outside that nobody knew before, `reproducible` without one, `arrival`
    where numbers are the order of arrival, `pending` before. `cut_at`: when the log was closed, `beacon_at`: when the
    value from outside was taken; compare them with what its source published then.
    """

    room: Id
    mode: str
    algorithm: str
    commitment: Hash
    beacon_source: str
    opens_at: Moment
    assurance: str
    size: Count | None
    root: Hash | None
    beacon: str | None
    seed: Hash | None
    digest: Hash | None
    drawn_at: Moment | None
    cut_at: Moment | None = None
    beacon_at: Moment | None = None


class KeyAnswer(msgspec.Struct, frozen=True):
    """A public key (RFC 8037)."""

    kid: str
    x: str
    kty: str = "OKP"
    crv: str = "Ed25519"


class KeysAnswer(msgspec.Struct, frozen=True):
    """The keys with which receipts and passes are checked."""

    keys: list[KeyAnswer]
