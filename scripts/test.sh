#!/usr/bin/env bash
# Makes its own environment and runs the whole test suite; arguments go to pytest.
# Most of the time is Python's tracing, which another process doubles. Each process takes tests of
# whole modules, which share their compiled programs, and one that is done helps another.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install --editable ".[dev]"
exec "$environment/bin/python" -m pytest -n auto --maxprocesses 4 --dist worksteal "$@"
