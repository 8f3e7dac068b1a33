#!/bin/sh
# Every step of the gate; GitHub, GitLab and check.sh all run this file.
#   BASE=FOLDER  this folder as it was before the change: its model is timed beside this one.
# Exit code: 0 passed, 1 failed or could not be compared, 2 wrong input. Reports: runs/*.xml, *.md.
set -eu
cd "$(dirname "$0")"
ended=0
github=${GITHUB_ACTIONS:+--github}

segship run recipe.yaml
# shellcheck disable=SC2086  # $github is one option or nothing
segship gate runs/record.json --baseline baseline.json --policy gate.yaml \
  --junit runs/gate.xml --markdown runs/gate.md $github || ended=$?

if [ -n "${BASE:-}" ]; then
  segship export "$BASE/../demo/checkpoint" -o runs/before.onnx
  segship benchmark runs/before.onnx runs/model.onnx --runtime onnxruntime --precision fp32 \
    --threads 1 --latency-only --rounds "${ROUNDS:-60}" --json runs/speed.json
  segship gate runs/speed.json --policy speed.yaml \
    --junit runs/speed.xml --markdown runs/speed.md $github || ended=$?
fi
exit "$ended"
