#!/usr/bin/env bash
# Makes its own environment and runs the whole test suite; arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install --editable ".[dev]"
exec "$environment/bin/python" -m pytest "$@"
