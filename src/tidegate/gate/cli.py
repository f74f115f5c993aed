"""`tidegate verify-draw`: is a draw what it was promised to be?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tidegate.gate.log import Log
from tidegate.gate.messages import DrawAnswer
from tidegate.gate.receipts import read_claim
from tidegate.gate.verify import NotChecked, Verdict, check_draw, number_in
from tidegate.gate.verify_source import read_draw, save_draw

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
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the draw and its entries in a file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a waiting room's draw: recompute the log of entries, the key and everybody's number from what is public.

    Exit code: 0 when all of it fits, 1 when something does not, 2 when it could not be checked.
    """
    try:
        draw, entries = read_draw(source)
        if save is not None:
            save_draw(save, draw, entries)
        verdict = check_draw(
            draw, entries, commitment=commitment, digest=digest, on_progress=lambda done: _progress(done, draw.size)
        )
        own, wrong = (None, "") if receipt is None else _own_number(draw, entries, receipt)
    except NotChecked as error:
        typer.echo(f"tidegate: the draw was not checked: {error}", err=True)
        raise typer.Exit(UNREADABLE) from None
    if wrong:
        verdict = Verdict(verdict.size, verdict.assurance, (*verdict.wrong, wrong), "")
    _print(draw, verdict, own, as_json=as_json)
    if verdict.wrong:
        raise typer.Exit(WRONG)


def _own_number(draw: DrawAnswer, entries: list[bytes], receipt: str) -> tuple[int | None, str]:
    """The number of a receipt's entry, or None and what does not fit.

    A receipt from before the draw must fit the list as a whole: its root is that of the first entries.
    """
    claim = read_claim(receipt)
    if claim is None:
        raise NotChecked("this is not a receipt")
    if str(claim.room_id) != draw.room or claim.index >= len(entries) or entries[claim.index] != claim.entry:
        return None, "your entry is not in the list"
    if claim.size <= len(entries) and Log().extended(entries[: claim.size]).root != claim.root:
        return None, "the list is not the one that your receipt is of: entries before it were changed or moved"
    return number_in(draw, claim.index), ""


def _print(draw: DrawAnswer, verdict: Verdict, own: int | None, *, as_json: bool) -> None:
    if as_json:
        document = {
            "ok": not verdict.wrong,
            "wrong": list(verdict.wrong),
            "size": verdict.size,
            "assurance": verdict.assurance,
            "root": draw.root,
            "digest": draw.digest,
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
    typer.echo(f"order      {verdict.order}")
    if own is not None:
        typer.echo(f"yours      number {own:,}")
    typer.echo(SAYS[verdict.assurance])


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
