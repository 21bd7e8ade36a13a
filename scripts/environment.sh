# Sourced by demo.sh and test.sh: makes .venv in the checkout and installs nst_jax into it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=""
for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "nst_jax needs Python 3.11 or newer, and none was found: install it, then try again." >&2
  exit 2
fi

environment=${NST_JAX_ENVIRONMENT:-.venv}
[ -x "$environment/bin/python" ] || "$python" -m venv "$environment"

install() {
  if ! "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; then
    echo "The packages could not be installed: is the package index reachable?" >&2
    exit 1
  fi
}
