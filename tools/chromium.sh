#!/bin/sh
# Sees to a Chromium for the browser tests: takes the one that is there, else installs Debian's where that is allowed.
# Best is the headless shell, which draws pages and nothing around them: the tests take a fifth less time. Whoever is root
# (a container, a CI) gets it beside another browser too. Without any the browser tests are skipped: this never fails.
set -u

has_shell() {
    command -v "${TIDEGATE_TEST_CHROMIUM:-chromium-headless-shell}" >/dev/null 2>&1
}

has_chromium() {
    has_shell && return 0
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        command -v "$name" >/dev/null 2>&1 && return 0
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
        has_chromium && return 1
        sudo -n true 2>/dev/null || return 1
        as_root="sudo -n"
    fi
    patience="-o Acquire::Retries=0 -o Acquire::http::Timeout=20"
    # shellcheck disable=SC2086
    $as_root apt-get update -qq $patience >/dev/null 2>&1
    for package in chromium-headless-shell chromium; do
        has_chromium && [ "$package" = chromium ] && break
        echo "Installing a browser for the tests (apt-get install $package) ..."
        # shellcheck disable=SC2086
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $patience "$package" >/dev/null 2>&1 && break
    done
}

has_shell || install_chromium || true
has_chromium ||
    echo "No Chromium found, so the browser tests are skipped: install the package chromium (or Google Chrome)"
