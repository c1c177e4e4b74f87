#!/usr/bin/env bash
# What alignment is worth: one benchmark with five points of MTCNN, one with the mesh, then both
# side by side with intervals of their differences.
#
#   examples/old_and_new_alignment.sh PAIRS PHOTOS FOLDER [OPTION OF mfrkit benchmark]...
#
# Interrupted, it goes on where it was; a further --model costs its embeddings only.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
pairs=$1 photos=$2 folder=$3
shift 3

mfrkit benchmark "$pairs" "$photos" -o "$folder/old" --detector mtcnn --landmarks five "$@" >&2
mfrkit benchmark "$pairs" "$photos" -o "$folder/new" "$@" >&2

side_by_side() { # MODEL FIRST SECOND: the folders of the first and the second images
    local name="$folder/MODEL/embeddings/$1"
    mfrkit eval "$pairs" "${name/MODEL/old}-$2.h5" "${name/MODEL/new}-$2.h5" \
        --probes "${name/MODEL/old}-$3.h5" --probes "${name/MODEL/new}-$3.h5" \
        --names "$1 $2 $3 old,$1 $2 $3 new" --missing reject --ci 95
}

for file in "$folder"/new/embeddings/*-crops.h5; do
    model=$(basename "$file" -crops.h5)
    side_by_side "$model" crops crops
    if [ -d "$folder/new/masked" ]; then
        side_by_side "$model" crops masked
        side_by_side "$model" masked masked
    fi
done
