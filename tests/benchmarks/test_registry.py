"""`python -m benchmarks` knows its benchmarks by their files and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import known, listing, main


def test_a_file_with_run_is_a_benchmark(tmp_path: Path) -> None:
    (tmp_path / "holds.py").write_text('"""Holds on one hot product.\n\nMore."""\ndef run(options): ...\n')
    (tmp_path / "load.py").write_text('"""No benchmark."""\nraise SystemExit\n')
    (tmp_path / "__main__.py").write_text("def run(): ...\n")
    assert known(tmp_path) == {"holds": "Holds on one hot product."}
    assert listing(known(tmp_path)) == "  holds            Holds on one hot product."


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-benchmark", "--json"]) == 2
    assert capsys.readouterr().err.startswith("No benchmark is called no-such-benchmark.\n")


def test_no_name_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.strip() == listing(known()).strip()
