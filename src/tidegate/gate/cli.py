"""`tidegate verify-draw`: is a draw what it was promised to be?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tidegate.gate.contracts import Receipt
from tidegate.gate.log import Log
from tidegate.gate.messages import DrawAnswer
from tidegate.gate.receipts import read_claim
from tidegate.gate.verify import NotChecked, Verdict, assurance_of, check_draw, number_in, wrong_values
from tidegate.gate.verify_proofs import check_receipt
from tidegate.gate.verify_source import is_address, read_draw, read_draw_only, save_draw

WRONG, UNREADABLE = 1, 2
"""Exit codes."""


def verify_draw_command(
    source: Annotated[str, typer.Argument(metavar="URL|FILE", help="A drop's page, or what --save wrote.")],
    commitment: Annotated[
        str | None, typer.Option(help="The commitment as it was published before the lobby opened.")
    ] = None,
    digest: Annotated[str | None, typer.Option(help="The digest as it was noted elsewhere.")] = None,
    receipt: Annotated[
        str | None, typer.Option(help="Your receipt: is your entry in the list, with which number?")
    ] = None,
    proofs: Annotated[
        bool, typer.Option("--proofs", help="Check your receipt by its proofs only, without fetching the whole list.")
    ] = False,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the draw and its entries in a file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a waiting room's draw: recompute the log of entries, the key and everybody's number from what is public.

    Exit code: 0 when all of it fits, 1 when something does not, 2 when it could not be checked.
    """
    try:
        if proofs:
            draw, verdict, own = _by_proofs(source, receipt, save=save, commitment=commitment, digest=digest)
        else:
            draw, verdict, own = _by_list(source, receipt, save=save, commitment=commitment, digest=digest)
    except NotChecked as error:
        typer.echo(f"tidegate: the draw was not checked: {error}", err=True)
        raise typer.Exit(UNREADABLE) from None
    _print(draw, verdict, own, as_json=as_json)
    if verdict.wrong:
        raise typer.Exit(WRONG)


def _by_list(
    source: str, receipt: str | None, *, save: Path | None, commitment: str | None, digest: str | None
) -> tuple[DrawAnswer, Verdict, int | None]:
    """The draw, what is found by recomputing all of it, and the number of the receipt. Raises: NotChecked."""
    draw, entries = read_draw(source)
    if save is not None:
        save_draw(save, draw, entries)
    verdict = check_draw(
        draw, entries, commitment=commitment, digest=digest, on_progress=lambda done: _progress(done, draw.size)
    )
    own, wrong = (None, "") if receipt is None else _own_number(draw, entries, receipt, source=source)
    if wrong:
        verdict = Verdict(verdict.size, verdict.assurance, (*verdict.wrong, wrong), "")
    return draw, verdict, own


def _by_proofs(
    source: str, receipt: str | None, *, save: Path | None, commitment: str | None, digest: str | None
) -> tuple[DrawAnswer, Verdict, int | None]:
    """The same by the proofs of one receipt. Raises: NotChecked."""
    if receipt is None or save is not None:
        raise NotChecked("--proofs checks a receipt: give --receipt, and no --save")
    claim = _claim(receipt)
    draw = read_draw_only(source)
    wrong = check_receipt(draw, claim, receipt, source=source)
    reasons = (*wrong_values(draw, commitment=commitment, digest=digest), *([wrong] if wrong else []))
    own = None if reasons else number_in(draw, claim.index)
    return draw, Verdict(draw.size or 0, assurance_of(draw), reasons, ""), own


def _own_number(draw: DrawAnswer, entries: list[bytes], receipt: str, *, source: str) -> tuple[int | None, str]:
    """The number of a receipt's entry, or None and what does not fit. Raises: NotChecked.

    A receipt from before the draw must fit the list as a whole: its root is that of the first entries. One from after
    it is checked by its proofs.
    """
    claim = _claim(receipt)
    if str(claim.room_id) == draw.room and draw.size is not None and claim.index >= draw.size:
        if not is_address(source):
            raise NotChecked("your entry came after the draw: such a receipt is checked at the shop's address only")
        wrong = check_receipt(draw, claim, receipt, source=source)
        return (None, wrong) if wrong else (number_in(draw, claim.index), "")
    if str(claim.room_id) != draw.room or claim.index >= len(entries) or entries[claim.index] != claim.entry:
        return None, "your entry is not in the list"
    if claim.size <= len(entries) and Log().extended(entries[: claim.size]).root != claim.root:
        return None, "the list is not the one that your receipt is of: entries before it were changed or moved"
    return number_in(draw, claim.index), ""


def _claim(receipt: str) -> Receipt:
    claim = read_claim(receipt)
    if claim is None:
        raise NotChecked("this is not a receipt")
    return claim


def _print(draw: DrawAnswer, verdict: Verdict, own: int | None, *, as_json: bool) -> None:
    if as_json:
        document = {
            "ok": not verdict.wrong,
            "wrong": list(verdict.wrong),
            "size": verdict.size,
            "assurance": verdict.assurance,
            "root": draw.root,
            "digest": draw.digest,
            "cut_at": draw.cut_at,
            "beacon": draw.beacon,
            "beacon_source": draw.beacon_source,
            "beacon_at": draw.beacon_at,
            "order": verdict.order,
            "number": own,
        }
        typer.echo(json.dumps(document))
        return
    for reason in verdict.wrong:
        typer.echo(f"WRONG: {reason}")
    if verdict.wrong:
        typer.echo(f"this draw of {verdict.size:,} entries does not verify")
        return
    typer.echo(f"entries    {verdict.size:,}")
    typer.echo(f"root       {draw.root}")
    typer.echo(f"digest     {draw.digest or 'none: numbers are the order of arrival'}")
    if draw.cut_at is not None:
        typer.echo(f"closed     {draw.cut_at!r}: later entries are not in the draw")
    if draw.beacon is not None:
        typer.echo(f"value      {draw.beacon!r}")
        typer.echo(
            f"from       {draw.beacon_source!r}, taken {draw.beacon_at!r}: compare it with what was published then"
        )
    if verdict.order:
        typer.echo(f"order      {verdict.order}")
    late = own is not None and own > verdict.size
    if own is not None:
        typer.echo(f"yours      number {own:,}{', in order of arrival' if late else ''}")
    if late:
        typer.echo(LATE)
    elif not verdict.order:
        typer.echo("your entry is in the log, and the log goes on from the one of your receipt")
    if not verdict.order:
        typer.echo("the rest was not looked at")
    typer.echo(SAYS[verdict.assurance])


LATE = (
    "your entry came after the draw: the shop signed your receipt, and its log goes on from the one that was drawn."
    " If you joined before the room opened, it should have been drawn: keep your receipt, and ask the shop"
)
SAYS = {
    "verifiable": "the draw verifies: its order comes from the seed, the list, and a value that nobody knew before",
    "reproducible": "the draw is reproducible: its order comes from the seed and the list; there was no value from"
    " outside, so who knew the seed could have added entries until the order suited them",
    "arrival": "the list is whole: numbers are the order of arrival",
}


def _progress(done: int, size: int | None) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rnumbers: {done:,} of {size or 0:,}")
        sys.stderr.flush()
