#!/usr/bin/env bash
# written by envs/make_envs.py from roots.yaml and pins.txt; edit those
set -euo pipefail
pip install --no-deps pyserini==1.6.0
