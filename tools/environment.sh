#!/bin/sh
# Finds a Python that is new enough and lets tools/environment.py do the rest. PYTHON=/path/to/python decides otherwise.
#
# A Python that was compiled without --enable-optimizations (pyenv's, unless asked) takes about a quarter more time for
# everything that Tidegate does. Where that is the first one, the system's own is taken: distributions optimise theirs,
# though Debian's does not say so.
set -u
SYSTEM_PYTHON=${SYSTEM_PYTHON:-/usr/bin/python3}
cd "$(dirname "$0")/.." || exit 2

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

is_optimised() {
    "$1" -c 'import sysconfig; exit("--enable-optimizations" not in (sysconfig.get_config_var("CONFIG_ARGS") or ""))' \
        >/dev/null 2>&1
}

can_install() {
    "$1" -c 'import ensurepip' >/dev/null 2>&1 || "$1" -m pip --version >/dev/null 2>&1
}

# The environment's own Python comes first: nothing to look for when it is there.
own=${PYTHON:-.venv/bin/python}
for candidate in "$own" python3 python3.14 python3.13 python3.12 python3.11 python; do
    if is_new_enough "$candidate"; then
        if [ "$candidate" != "$own" ] && ! is_optimised "$candidate" &&
            is_new_enough "$SYSTEM_PYTHON" && can_install "$SYSTEM_PYTHON"; then
            candidate=$SYSTEM_PYTHON
        fi
        exec "$candidate" -m tools.environment "$@"
    fi
    if [ -n "${PYTHON:-}" ]; then
        echo "PYTHON=$PYTHON is not a Python >= 3.11" >&2
        exit 2
    fi
done
echo "Tidegate needs Python >= 3.11, and none of python3, python3.11 to python3.14 is one: install it or set PYTHON" >&2
exit 2
