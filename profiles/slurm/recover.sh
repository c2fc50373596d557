#!/usr/bin/env bash
# After the Snakemake process of this project has died (login node rebooted, connection lost): its SLURM jobs live on.
#   bash profiles/slurm/recover.sh             waits for those that run, cancels those that queue, unlocks the folder
#   bash profiles/slurm/recover.sh --cancel    cancels all of them
# Then start the workflow as before. What the jobs finished meanwhile stays; what was cancelled goes on from its shards.
# Started at once instead, Snakemake would submit jobs that still run a second time.
set -euo pipefail
# SLURM tells the physical path, whatever links led here
cd -P "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v squeue >/dev/null || { echo "recover.sh: no squeue on PATH; start it where jobs are submitted" >&2; exit 1; }
all=""
if [ "${1:-}" = --cancel ]; then all=1; shift; fi

# no answer (a busy controller) is not the answer that there are no jobs: it is asked for again
queued() {
  local answer
  until answer=$(squeue --me --noheader --format='%A|%T|%Z|%k'); do
    echo "squeue failed; asking again" >&2
    sleep 10
  done
  printf '%s\n' "$answer"
}

# job id and state of what was submitted from this folder; the plugin's comment begins with rule_ or group_
left() {
  queued |
    awk -F'|' -v here="$PWD" -v state="${1:-}" '$3 == here && $4 ~ /^(rule|group)_/ && (state == "" || $2 == state) {print $1}' | sort -u
}

doomed=$(left PENDING)
[ -z "$all" ] || doomed=$(left)
[ -z "$doomed" ] || { echo "cancelling:" $doomed; scancel $doomed; }
while jobs=$(left); [ -n "$jobs" ]; do
  echo "waiting for:" $jobs
  sleep 10
done
snakemake=${SNAKEMAKE:-$(command -v snakemake || echo .venv/bin/snakemake)}
$snakemake --unlock "$@"
