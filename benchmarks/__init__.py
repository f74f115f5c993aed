"""Benchmarks, one file each: `python -m benchmarks NAME --json`.

A file `NAME.py` in this folder is a benchmark when it has `run(options: Sequence[str]) -> Mapping[str, object]`. The
first line of its docstring is what the list shows. Figures are ratios within one run; what a benchmark claims (sold,
lost, doubled) it counts again in the database.
"""
