#!/usr/bin/env bash
# Makes its own environment and runs the whole test suite; arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install --editable ".[dev]"
# Compiling keeps one core busy; whole files go to a process, so that each fixture is made once.
exec "$environment/bin/python" -m pytest -n logical --maxprocesses 4 --dist loadfile "$@"
