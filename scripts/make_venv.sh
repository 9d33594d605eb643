#!/bin/sh
# Makes the environment .venv with any Python >= 3.11, and installs the project into it.
# Usage: make_venv.sh FOLDER WHAT...     (WHAT: arguments for pip install)
set -eu

folder=$1
shift
log=$folder/install.log

say() { printf '%s\n' "$*" >&2; }

is_new_enough() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Prints all interpreters that are new enough, best first.  PYTHON overrides the search.
pythons() {
    for name in ${PYTHON:-python3.13 python3.12 python3.11 python3 python python3.14}; do
        if is_new_enough "$name"; then echo "$name"; fi
    done
}

can_make_environments() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

make_environment() {
    found=$(pythons)
    if [ -z "$found" ]; then
        say "Antiphon needs Python 3.11 or newer, and none was found (looked for: ${PYTHON:-python3.13, python3.12, python3.11, python3})."
        say "  Debian 12, Ubuntu 24.04:  sudo apt-get install python3 python3-venv"
        say "  Fedora:                   sudo dnf install python3"
        say "  macOS:                    brew install python"
        say "  elsewhere:                make PYTHON=/path/to/python3"
        exit 1
    fi
    for python in $found; do
        if can_make_environments "$python"; then
            "$python" -m venv --clear "$folder"
            return
        fi
    done
    # Debian has Python without the means to make environments; see what else can.
    python=$(echo "$found" | head -n 1)
    if command -v virtualenv >/dev/null 2>&1; then
        virtualenv --quiet --clear --python "$python" "$folder"
    elif "$python" -m virtualenv --version >/dev/null 2>&1; then
        "$python" -m virtualenv --quiet --clear "$folder"
    elif command -v uv >/dev/null 2>&1; then
        uv venv --quiet --clear --seed --python "$python" "$folder"
    elif [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
        say "installing python3-venv ..."
        { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends python3-venv; } >/dev/null
        /usr/bin/python3 -m venv --clear "$folder"
    else
        say "$python cannot make environments: its modules venv and ensurepip are missing."
        say "  Debian, Ubuntu:  sudo apt-get install python3-venv"
        say "  elsewhere:       $python -m pip install --user virtualenv"
        exit 1
    fi
}

# Runs a command with its output in the log; shows that time passes.
quietly() {
    "$@" >"$log" 2>&1 &
    pid=$!
    trap 'kill $pid 2>/dev/null' INT TERM
    seconds=0
    while kill -0 $pid 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        if [ $((seconds % 5)) = 0 ]; then say "installing the libraries ... $seconds s"; fi
    done
    if ! wait $pid; then
        tail -n 20 "$log" >&2
        say "The installation failed; all of its output is in $log."
        exit 1
    fi
}

if ! is_new_enough "$folder/bin/python" || ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    say "making the environment $folder ..."
    make_environment
fi
say "installing the libraries ..."
quietly "$folder/bin/python" -m pip install --disable-pip-version-check "$@"
