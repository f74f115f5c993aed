"""`tidegate verify-draw`: what fits is taken, and each thing that was tampered with is told."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from tests.gate.test_signing import NOW, RING, key
from tidegate.entrypoints.commands import make_app
from tidegate.gate import Receipt
from tidegate.gate.draw import Draw, commitment_of, digest_of, draw_key
from tidegate.gate.log import Log, consistency_proof, leaf_hash, path_to, root_of
from tidegate.gate.messages import ConsistencyAnswer, DrawAnswer, KeyAnswer, KeysAnswer, ProofAnswer
from tidegate.gate.receipts import receipt_text
from tidegate.gate.signing import KeyRing
from tidegate.gate.tickets import entry_of
from tidegate.platform.ids import PlaceId, RoomId, new_id

SIZE = 50
ROOM = RoomId(new_id())
ENTRIES = [entry_of(PlaceId(new_id()), 1) for _ in range(SIZE)]
SEED = b"s" * 32
ROOT = Log().extended(ENTRIES).root


def digest(**change: Any) -> str:
    values: dict[str, Any] = {
        "commitment": commitment_of(SEED), "root": ROOT, "size": SIZE, "beacon_source": "staff", "beacon": "9 of clubs",
    } | change  # fmt: skip
    return digest_of(**values).hex()


DRAW: dict[str, Any] = {
    "room": str(ROOM),
    "mode": "draw",
    "algorithm": "tidegate-draw-v1",
    "commitment": commitment_of(SEED).hex(),
    "beacon_source": "staff",
    "opens_at": "2030-01-01T12:00:00+00:00",
    "assurance": "verifiable",
    "size": SIZE,
    "root": ROOT.hex(),
    "beacon": "9 of clubs",
    "seed": SEED.hex(),
    "digest": digest(),
    "drawn_at": "2030-01-01T12:00:09+00:00",
    "cut_at": "2030-01-01T12:00:00.25+00:00",
    "beacon_at": "2030-01-01T12:00:08+00:00",
}

Verify = Callable[..., tuple[int, str]]


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    """Runs the command on a file with a draw: its exit code and what it said."""

    def run(*options: str, entries: list[bytes] = ENTRIES, **change: Any) -> tuple[int, str]:
        file = tmp_path / "draw.txt"
        lines = [json.dumps(DRAW | change), *(entry.hex() for entry in entries)]
        file.write_text("\n".join(lines) + "\n")
        done = CliRunner().invoke(make_app(["verify-draw"]), ["verify-draw", str(file), *options])
        return done.exit_code, done.output

    return run


def test_a_draw_that_fits_verifies(verify: Verify) -> None:
    code, said = verify()
    assert code == 0, said
    assert "the draw verifies" in said
    code, said = verify("--json", "--commitment", DRAW["commitment"], "--digest", DRAW["digest"])
    found = json.loads(said)
    assert (code, found["ok"], found["wrong"], found["size"]) == (0, True, [], SIZE)


def test_without_a_value_from_outside_it_is_called_reproducible(verify: Verify) -> None:
    code, said = verify(beacon=None, beacon_source="", digest=digest(beacon=None, beacon_source=""))
    assert code == 0
    assert "reproducible" in said and "verifies" not in said


def test_it_says_when_the_list_was_closed_and_the_value_taken(verify: Verify) -> None:
    _, said = verify()
    assert "closed     '2030-01-01T12:00:00.25+00:00'" in said
    assert "value      '9 of clubs'" in said
    assert "from       'staff', taken '2030-01-01T12:00:08+00:00'" in said
    _, said = verify("--json")
    found = json.loads(said)
    assert {name: found[name] for name in ("cut_at", "beacon", "beacon_source", "beacon_at")} == {
        name: DRAW[name] for name in ("cut_at", "beacon", "beacon_source", "beacon_at")
    }
    code, said = verify(cut_at=None, beacon_at=None)
    assert (code, "the draw verifies" in said) == (0, True), "a draw of before did not say it"


def test_a_value_from_before_the_cut_makes_it_reproducible_only(verify: Verify) -> None:
    code, said = verify(beacon_at="2030-01-01T12:00:00.2+00:00")
    assert code == 0
    assert "reproducible" in said and "verifies" not in said
    assert verify(beacon_at="noon")[0] == 2


@pytest.mark.parametrize(
    "entries",
    [
        ENTRIES[:-1],
        [*ENTRIES, ENTRIES[0]],
        [*ENTRIES, entry_of(PlaceId(new_id()), 1)],
        [ENTRIES[1], ENTRIES[0], *ENTRIES[2:]],
        [b"x" * 32, *ENTRIES[1:]],
        [ENTRIES[1], *ENTRIES[1:]],
        [],
    ],
)
def test_a_tampered_list_is_rejected(verify: Verify, entries: list[bytes]) -> None:
    code, said = verify(entries=entries)
    assert code == 1
    assert "WRONG: the list" in said


def test_a_tampered_seed_is_rejected(verify: Verify) -> None:
    code, said = verify(seed=(b"t" * 32).hex())
    assert code == 1
    assert "WRONG: the seed is not the one that was committed to" in said


def test_another_seed_with_its_commitment_differs_from_what_was_published_before(verify: Verify) -> None:
    other = commitment_of(b"t" * 32)
    forged = {"seed": (b"t" * 32).hex(), "commitment": other.hex(), "digest": digest(commitment=other)}
    assert verify(**forged)[0] == 0, "it fits by itself: this is why the commitment is published first"
    code, said = verify("--commitment", DRAW["commitment"], **forged)
    assert code == 1
    assert "not the one that was published before" in said


@pytest.mark.parametrize(
    "change", [{"digest": "0" * 64}, {"beacon": "8 of clubs"}, {"beacon": None}, {"beacon_source": "other"}]
)
def test_a_tampered_digest_or_beacon_is_rejected(verify: Verify, change: dict[str, Any]) -> None:
    code, said = verify(**change)
    assert code == 1
    assert "WRONG: the digest is not that of this draw" in said
    code, said = verify("--digest", "1" * 64)
    assert code == 1
    assert "not the one that was noted" in said


def test_a_tampered_root_is_rejected(verify: Verify) -> None:
    assert verify(root="0" * 64)[0] == 1


@pytest.mark.parametrize(
    "change",
    [{"seed": None}, {"size": None}, {"root": None}, {"algorithm": "tidegate-draw-v9"}, {"seed": "zz"}, {"mode": 7}],
)
def test_what_cannot_be_checked_is_neither_right_nor_wrong(verify: Verify, change: dict[str, Any]) -> None:
    code, said = verify(**change)
    assert code == 2
    assert "was not checked" in said


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\xff\xfe")
    for source in (str(tmp_path / "none"), str(tmp_path / "bad"), "http://127.0.0.1:9/drops/x", "http://127.0.0.1:9/"):
        done = CliRunner().invoke(make_app(["verify-draw"]), ["verify-draw", source])
        assert done.exit_code == 2
        assert len(done.output.strip().splitlines()) == 1


def test_a_receipt_tells_its_number(verify: Verify) -> None:
    index = 7
    then = Log().extended(ENTRIES[:8]).root
    receipt = receipt_text(RING, Receipt(ROOM, index, ENTRIES[index], 8, then))
    code, said = verify("--json", "--receipt", receipt)
    number = Draw(draw_key(SEED, root=ROOT, beacon="9 of clubs"), SIZE).number(index)
    assert (code, json.loads(said)["number"]) == (0, number)
    lost = receipt_text(RING, Receipt(ROOM, index, ENTRIES[8], 8, then))
    code, said = verify("--receipt", lost)
    assert code == 1
    assert "your entry is not in the list" in said
    moved = receipt_text(RING, Receipt(ROOM, index, ENTRIES[index], 8, b"r" * 32))
    code, said = verify("--receipt", moved)
    assert code == 1
    assert "entries before it were changed or moved" in said
    assert verify("--receipt", "nonsense")[0] == 2


def test_order_of_arrival_needs_no_seed(verify: Verify) -> None:
    arrival = {"mode": "arrival", "algorithm": "arrival", "seed": None, "digest": None, "beacon": None}
    code, said = verify(**arrival)
    assert code == 0
    assert "order of arrival" in said
    assert verify(entries=ENTRIES[::-1], **arrival)[0] == 1


def test_the_document_is_the_one_of_the_api() -> None:
    assert msgspec.to_builtins(msgspec.convert(DRAW, DrawAnswer)) == DRAW


LEAVES = [leaf_hash(entry) for entry in ENTRIES]
OLD, LATER = 8, SIZE + 3
LATER_ENTRIES = [*ENTRIES, *(entry_of(PlaceId(new_id()), 1) for _ in range(LATER - SIZE))]


def grown(first: int, entries: list[bytes]) -> ConsistencyAnswer:
    block = [leaf_hash(entry) for entry in entries]
    proof = consistency_proof(first, len(entries), block=block, blocks=[root_of(block)])
    return ConsistencyAnswer(first, len(entries), [node.hex() for node in proof])


PROOFS: dict[str, Any] = {
    "/api/v1/drops/boots/entries/7": ProofAnswer(
        7, ENTRIES[7].hex(), SIZE, [each.hex() for each in path_to(LEAVES, 7)], ROOT.hex(), 1
    ),
    f"/api/v1/drops/boots/consistency/{OLD}": grown(OLD, ENTRIES),
    f"/api/v1/drops/boots/consistency/{LATER}": grown(SIZE, LATER_ENTRIES),
    "/api/v1/gate/keys": KeysAnswer(
        [KeyAnswer(kid, base64.urlsafe_b64encode(raw).rstrip(b"=").decode()) for kid, raw in RING.public_keys.items()]
    ),
}


@pytest.fixture
def shop_url() -> Iterator[str]:
    """A shop that answers with the draw, and with its entries in pages of twenty, as ours does."""

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address, _, query = self.path.partition("?from=")
            start = int(query or 0)
            links = {}
            if address == "/api/v1/drops/boots/draw":
                body = json.dumps(DRAW).encode()
            elif address in PROOFS:
                body = msgspec.json.encode(PROOFS[address])
            elif address == "/api/v1/drops/boots/entries":
                body = "".join(f"{entry.hex()}\n" for entry in ENTRIES[start : start + 20]).encode()
                if start + 20 < SIZE:
                    links = {"link": f'<{address}?from={start + 20}>; rel="next"'}
            else:
                self.send_error(404)
                return
            self.send_response(200)
            for name, value in ({"content-length": str(len(body))} | links).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_draw_is_read_from_the_shop_and_kept(shop_url: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    run = partial(CliRunner().invoke, make_app(["verify-draw"]))
    done = run(["verify-draw", f"{shop_url}/drops/boots", "--save", str(kept)])
    assert done.exit_code == 0, done.output
    assert run(["verify-draw", str(kept)]).output == done.output
    assert run(["verify-draw", f"{shop_url}/drops/hats"]).exit_code == 2


@pytest.mark.parametrize(
    ("change", "size", "entries", "code", "words"),
    [
        ({}, OLD, ENTRIES, 0, "your entry is in the log"),
        ({}, SIZE, ENTRIES, 0, "your entry is in the log"),
        ({}, LATER, LATER_ENTRIES, 0, "your entry is in the log"),
        ({}, OLD, [b"x" * 32, *ENTRIES[1:]], 1, "the log did not grow from the one that your receipt is of"),
        ({}, SIZE, [b"x" * 32, *ENTRIES[1:]], 1, "the log did not grow from the one that your receipt is of"),
        ({}, LATER, [*ENTRIES[:-1], b"x" * 32, *LATER_ENTRIES[SIZE:]], 1, "the log did not grow from the one that"),
        ({"entry": ENTRIES[8]}, OLD, ENTRIES, 1, "your entry is not in the log"),
        ({"room_id": RoomId(new_id())}, OLD, ENTRIES, 1, "your entry is not in the log"),
        ({}, 9, ENTRIES, 2, "/consistency/9 answers 404"),
    ],
)
def test_one_receipt_is_checked_by_its_proofs(
    shop_url: str, change: dict[str, Any], size: int, entries: list[bytes], code: int, words: str
) -> None:
    root = Log().extended(entries[:size]).root
    claim: dict[str, Any] = {"room_id": ROOM, "index": 7, "entry": ENTRIES[7], "size": size, "root": root} | change
    receipt = receipt_text(RING, Receipt(**claim))
    run = partial(CliRunner().invoke, make_app(["verify-draw"]))
    done = run(["verify-draw", f"{shop_url}/drops/boots", "--proofs", "--receipt", receipt])
    assert (done.exit_code, words in done.output) == (code, True), done.output
    number = Draw(draw_key(SEED, root=ROOT, beacon="9 of clubs"), SIZE).number(7)
    assert (f"number {number:,}" in done.output) is (code == 0)


def late_receipt(ring: KeyRing = RING, **change: Any) -> str:
    """The receipt of somebody who came after the draw."""
    claim: dict[str, Any] = {
        "room_id": ROOM, "index": SIZE + 1, "entry": LATER_ENTRIES[SIZE + 1], "size": LATER,
        "root": Log().extended(LATER_ENTRIES).root,
    }  # fmt: skip
    return receipt_text(ring, Receipt(**claim | change))


def with_its_index_changed(receipt: str) -> str:
    kind, kid, payload, seal = receipt.split(".")
    raw = bytearray(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    raw[23] -= 1
    return ".".join((kind, kid, base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), seal))


@pytest.mark.parametrize("ways", [[], ["--proofs"]])
def test_whoever_came_after_the_draw_stands_in_order_of_arrival(shop_url: str, ways: list[str]) -> None:
    def run(receipt: str, *more: str) -> tuple[int, str]:
        command = ["verify-draw", f"{shop_url}/drops/boots", *ways, "--receipt", receipt, *more]
        done = CliRunner().invoke(make_app(["verify-draw"]), command)
        return done.exit_code, done.output

    code, said = run(late_receipt())
    assert code == 0, said
    assert f"number {SIZE + 2}, in order of arrival" in said
    assert "your entry came after the draw" in said and "in the log" not in said
    assert "the draw verifies" in said
    assert json.loads(run(late_receipt(), "--json")[1])["number"] == SIZE + 2
    for forged, words in (
        (with_its_index_changed(late_receipt()), "the shop did not sign your receipt"),
        (late_receipt(KeyRing([key("cccc0000")], now=NOW)), "the shop did not sign your receipt"),
        (late_receipt(root=b"r" * 32), "the log did not grow from the one that your receipt is of"),
        (late_receipt(room_id=RoomId(new_id())), "your entry is not in the"),
    ):
        code, said = run(forged)
        assert (code, words in said) == (1, True), said
        assert "in order of arrival" not in said
    assert run(late_receipt(size=LATER + 1))[0] == 2, "a log of which the shop shows nothing"


def test_a_receipt_from_after_the_draw_is_not_checked_in_a_file(verify: Verify) -> None:
    code, said = verify("--receipt", late_receipt())
    assert code == 2
    assert "your entry came after the draw" in said


def test_proofs_need_a_receipt_and_a_shop(shop_url: str) -> None:
    receipt = receipt_text(RING, Receipt(ROOM, 7, ENTRIES[7], SIZE, ROOT))
    run = partial(CliRunner().invoke, make_app(["verify-draw"]))
    assert run(["verify-draw", f"{shop_url}/drops/boots", "--proofs"]).exit_code == 2
    assert run(["verify-draw", "a-file", "--proofs", "--receipt", receipt]).exit_code == 2
    wrong = run(["verify-draw", f"{shop_url}/drops/boots", "--proofs", "--receipt", receipt, "--digest", "0" * 64])
    assert wrong.exit_code == 1
    assert "not the one that was noted" in wrong.output
