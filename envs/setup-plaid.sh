#!/usr/bin/env bash
# Make or mend .venv-plaid: fast-plaid with the torch that it is compiled for. Run by `make plaid`, after .venv is made.
# The index's own torch brings CUDA's libraries (3 GB); TORCH_INDEX names another build, as for .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
TORCH=torch==2.11.0
stamp=.venv-plaid/.searchtune-setup
want=$(cat envs/requirements-plaid.txt envs/setup-plaid.sh envs/indexes.sh | cksum)" torch=${TORCH_INDEX:-}"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && .venv-plaid/bin/python -c '' 2>/dev/null; then exit 0; fi

. envs/indexes.sh
.venv-plaid/bin/python -c '' 2>/dev/null || .venv/bin/python -m venv --clear --without-pip .venv-plaid
install() { .venv/bin/uv pip install --quiet --python .venv-plaid/bin/python "$@"; }
torch_options=("${options[@]}")
[ -z "${TORCH_INDEX:-}" ] || torch_options+=(--index "$TORCH_INDEX")
install "${torch_options[@]}" "$TORCH"
install "${options[@]}" --no-deps -r envs/requirements-plaid.txt
.venv-plaid/bin/python -c 'import fast_plaid.search'
printf '%s\n' "$want" >"$stamp"
