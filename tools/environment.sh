#!/bin/sh
# Finds a Python that is new enough and lets tools/environment.py do the rest. PYTHON=/path/to/python decides otherwise.
set -u
cd "$(dirname "$0")/.." || exit 2

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# The environment's own Python comes first: nothing to look for when it is there.
for candidate in "${PYTHON:-.venv/bin/python}" python3 python3.14 python3.13 python3.12 python3.11 python; do
    if is_new_enough "$candidate"; then
        exec "$candidate" -m tools.environment "$@"
    fi
    if [ -n "${PYTHON:-}" ]; then
        echo "PYTHON=$PYTHON is not a Python >= 3.11" >&2
        exit 2
    fi
done
echo "Tidegate needs Python >= 3.11, and none of python3, python3.11 to python3.14 is one: install it or set PYTHON" >&2
exit 2
