# Sourced by setup.sh and setup-beside.sh: fills `options` for uv.
# uv does not read pip's settings: hand over the indexes, the certificates and the folders of local wheels
setting() { .venv/bin/python -m pip config get "global.$1" 2>/dev/null || .venv/bin/python -m pip config get "install.$1" 2>/dev/null || true; }
# as pip does, take the best version of all indexes; every version is pinned
options=(--compile-bytecode --index-strategy unsafe-best-match)
index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$(setting index-url)}}
[ -z "$index" ] || options+=(--default-index "$index")
for extra in ${PIP_EXTRA_INDEX_URL:-$(setting extra-index-url)}; do options+=(--index "$extra"); done
for folder in ${PIP_FIND_LINKS:-$(setting find-links)}; do options+=(--find-links "$folder"); done
cert=${PIP_CERT:-$(setting cert)}
[ -z "$cert" ] || export SSL_CERT_FILE="$cert"
