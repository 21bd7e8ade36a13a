#!/usr/bin/env bash
# Makes its own environment and runs the whole test suite; arguments go to pytest.
# Most of the time is Python's tracing, which another process doubles; a module's tests share their
# compiled programs.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install --editable ".[dev]"
exec "$environment/bin/python" -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
