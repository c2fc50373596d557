#!/usr/bin/env bash
# Look up the known faults of every pinned package, of all environments; asks an advisory database over the network.
# Every file is looked at, whatever the others show. Ends with 1 if a package has a known fault, or can't be looked up.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
AUDIT=pip-audit==2.10.0
uv=${UV:-.venv/bin/uv}
. envs/indexes.sh
own=$(mktemp -d)
trap 'rm -rf "$own"' EXIT
# what the set-up scripts install by name: each environment's torch, and uv
for pin in $(grep -hoE '\<(torch|uv)==[0-9.]+' envs/setup.sh envs/setup-beside.sh | sort -u); do
  echo "$pin" >"$own/$pin.txt"
done
bad=()
for file in envs/requirements*.txt "$own"/*.txt; do
  name=$(basename "$file" .txt)
  echo "== $name"
  # a package that the database does not know, as behind a mirror that has none, is no finding for pip-audit
  if ! "$uv" tool run "${options[@]}" "$AUDIT" --no-deps --disable-pip --progress-spinner off -r "$file" | tee "$own/said" ||
    grep -q "could not be audited" "$own/said"; then
    bad+=("$name")
  fi
done
if [ "${#bad[@]}" -gt 0 ]; then
  echo "audit: known faults, or packages that could not be looked up, in: ${bad[*]} (see above)" >&2
  exit 1
fi
