#!/usr/bin/env bash
# Make the virtual environment $1 with uv in it, from a bare Python 3.11 or newer.
set -euo pipefail
venv=$1
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "Stoker needs Python 3.11 or newer as '$python'; name another one with PYTHON=…" >&2
  exit 2
fi
# Debian's python3 comes without venv.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "Python's venv module is missing: apt-get install python3-venv" >&2
    exit 2
  fi
  apt-get update -qq && apt-get install -qq -y --no-install-recommends python3-venv
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv==0.13.9
