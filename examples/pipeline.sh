#!/usr/bin/env bash
# Stages side by side: records flow through pipes, pictures through folders. `embed` passes its
# records on, so one pipeline embeds the clean crops and their masked copies.
# Usage: examples/pipeline.sh PHOTOS OUT
set -euo pipefail

photos=$1 out=$2
mkdir -p "$out"

mfrkit align "$photos" -o "$out/crops" |
  mfrkit embed - -o "$out/clean.h5" |
  mfrkit synth-mask - -o "$out/masked" --type surgical:3,n95:1,cloth:1 --seed 7 |
  mfrkit embed - -o "$out/masked.h5" |
  python3 -c '
import collections, json, sys
kinds = collections.Counter()
for line in sys.stdin:
    record = json.loads(line)
    if record["status"] == "end":  # closes the stream
        continue
    kinds[record["mask"]["type"] if record["status"] == "ok" else record["reason"]] += 1
for kind, count in kinds.most_common():
    print(count, kind, sep="\t")
'
