"""Checking one receipt by its proofs, where the list is long: some hashes instead of all entries.

What it cannot show is that the list as a whole is sound, which `check_draw` does.
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from tidegate.gate.contracts import Receipt
from tidegate.gate.log import is_consistent, is_included, leaf_hash
from tidegate.gate.messages import ConsistencyAnswer, DrawAnswer, ProofAnswer
from tidegate.gate.receipts import is_signed
from tidegate.gate.verify import HASH, NotChecked
from tidegate.gate.verify_source import TIMEOUT_S, ask_document, drop_address, read_keys

MAX_PROOF_BYTES = 20_000
MOVED = "the log did not grow from the one that your receipt is of: entries were changed, left out or moved"
MISSING = "your entry is not in the log"
UNSIGNED = "the shop did not sign your receipt: it was changed, or signed with a key that is not this shop's"


def check_receipt(draw: DrawAnswer, claim: Receipt, text: str, *, source: str) -> str:
    """What does not fit between a receipt and the draw at a shop's address; "" when all fits. Raises: NotChecked.

    `claim` is what the receipt `text` says. The entry of one that came after the draw is in no list that is public, so
    the shop's signature stands for it.
    """
    drop = drop_address(source)
    if draw.size is None or draw.root is None or HASH.fullmatch(draw.root) is None:
        raise NotChecked("the draw is not over yet")
    if str(claim.room_id) != draw.room:
        return MISSING
    size, root = draw.size, bytes.fromhex(draw.root)
    with httpx.Client(timeout=TIMEOUT_S) as client:
        if claim.index >= size:
            if not is_signed(text, read_keys(client, source)):
                return UNSIGNED
        else:
            found = ask_document(client, f"{drop}/entries/{claim.index}", ProofAnswer, most=MAX_PROOF_BYTES)
            if not is_included(leaf_hash(claim.entry), claim.index, size, _hashes(found.proof), root):
                return MISSING
        if size == 0:  # of nothing, everything is a continuation
            return ""
        if claim.size == size:
            return "" if claim.root == root else MOVED
        grown = ask_document(client, f"{drop}/consistency/{claim.size}", ConsistencyAnswer, most=MAX_PROOF_BYTES)
    older, newer = sorted(((claim.size, claim.root), (size, root)))
    proof = _hashes(grown.proof)
    fits = is_consistent(older[0], newer[0], proof, first_root=older[1], second_root=newer[1])
    return "" if fits else MOVED


def _hashes(texts: Sequence[str]) -> list[bytes]:
    """Raises: NotChecked for what is no hash."""
    if not all(HASH.fullmatch(text) for text in texts):
        raise NotChecked("a proof has a line that is no hash")
    return [bytes.fromhex(text) for text in texts]
