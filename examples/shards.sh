#!/usr/bin/env bash
# A job array in miniature: each job takes one shard, `merge` joins the embeddings.
# Usage: examples/shards.sh CROPS OUT.h5 [N]
set -euo pipefail

crops=$1 out=$2 count=${3:-3}
parts=()
for index in $(seq "$count"); do
  part=${out%.h5}.$index-of-$count.h5
  mfrkit embed "$crops" -o "$part" --shard "$index/$count" > /dev/null &
  parts+=("$part")
done
wait
mfrkit merge "${parts[@]}" -o "$out"
rm -- "${parts[@]}"
