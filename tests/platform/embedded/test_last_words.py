"""Why a process ended: the line that says so, not the last one."""

from __future__ import annotations

from pathlib import Path

from tidegate.platform.embedded.last_words import last_words


def test_the_last_words_are_those_that_say_why(tmp_path: Path) -> None:
    file = tmp_path / "one.log"
    assert last_words(file) == "it said nothing"
    file.write_text("a\nb\n\n")
    assert last_words(file) == "b"
    file.write_text("LOG:  starting\nFATAL:  no room\nLOG:  database system is shut down\n")
    assert last_words(file) == "FATAL:  no room"
    file.write_text("x" * 100_000 + "\ntidegate: no such thing\nlater\n")
    assert last_words(file) == "no such thing"
