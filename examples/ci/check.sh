#!/bin/sh
# The example end to end, in a copy: it passes, fails on planted regressions, passes once reviewed.
#   ./check.sh [PYTHON]   (the interpreter that has segship; its folder goes first on PATH)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=$("${1:-python}" -c 'import sys; print(sys.executable)')
PATH=$(dirname "$python"):$PATH
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/after" "$copy/before"
for tree in after before; do
  cp -R "$here/../demo" "$copy/$tree/demo"
  mkdir "$copy/$tree/ci"
  cp "$here"/*.yaml "$here"/baseline.json "$here"/gate.sh "$copy/$tree/ci"
done
cd "$copy/after/ci"

expect() {  # expect CODE WORDS COMMAND...
  wanted=$1 words=$2
  shift 2
  ended=0
  "$@" > "$copy/log" 2>&1 || ended=$?
  if [ "$ended" != "$wanted" ] || ! grep -q "$words" "$copy/log"; then
    cat "$copy/log"
    echo "check.sh: expected exit code $wanted and '$words', but got $ended."
    exit 1
  fi
  echo "ok: exit code $ended: $(grep -m 1 "$words" "$copy/log")"
}

expect 0 'model: within every budget of its baseline' ./gate.sh

echo '# a worse model: noise in its weights'
"$python" - ../demo/checkpoint/model.safetensors <<'PYTHON'
import sys
import numpy as np
from safetensors.numpy import load_file, save_file
tensors, rng = load_file(sys.argv[1]), np.random.default_rng(0)
for name, value in tensors.items():
    if value.ndim > 1:
        noise = 0.25 * value.std() * rng.standard_normal(value.shape)
        tensors[name] = (value + noise).astype(value.dtype)
save_file(tensors, sys.argv[1], {"format": "pt"})
PYTHON
expect 1 'mIoU: fail' ./gate.sh
expect 0 'review and commit it' segship gate runs/record.json --baseline baseline.json --policy gate.yaml \
  --update --reason 'reviewed: the noise is wanted'
expect 0 'within every budget' segship gate runs/record.json --baseline baseline.json \
  --policy gate.yaml

echo '# a slower graph: without the exact rewrites, beside the one before'
sed -i 's/{name: model}/{name: model, fold: false}/' recipe.yaml
expect 1 'latency median: fail' env BASE="$copy/before/ci" ./gate.sh
grep -q '<failure' runs/speed.xml && echo 'ok: the failure stands in runs/speed.xml'
