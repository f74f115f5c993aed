#!/bin/sh
# Sees to a Chromium for the browser tests: takes the one that is there, else installs Debian's where that is allowed.
# Without one the browser tests are skipped, so this never fails.
set -u

has_chromium() {
    for name in "${TIDEGATE_TEST_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
        [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 && return 0
    done
    for app in "Google Chrome" Chromium; do
        [ -x "/Applications/$app.app/Contents/MacOS/$app" ] && return 0
    done
    return 1
}

install_chromium() {
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root=""
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root="sudo -n"
    fi
    echo "Installing Chromium for the browser tests (apt-get install chromium) ..."
    # shellcheck disable=SC2086
    $as_root apt-get update -qq >/dev/null 2>&1
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null 2>&1
}

has_chromium || { install_chromium && has_chromium; } ||
    echo "No Chromium found, so the browser tests are skipped: install the package chromium (or Google Chrome)"
