#!/usr/bin/env bash
# The shortest whole run: photos in a folder, a pair list, and five commands with default names.
# Usage: examples/quickstart.sh [PHOTOS PAIRS]   (default: the portraits that come with mfrkit)
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ $# -eq 2 ]; then
  photos=$(realpath "$1") pairs=$(realpath "$2")
else
  mfrkit demo -o "$work/demo" --quiet > "$work/demo.txt"
  photos=$work/demo/photos pairs=$work/demo/pairs.csv
fi

cd "$work"
mfrkit align "$photos" > /dev/null         # -> crops/
mfrkit synth-mask --seed 7 > /dev/null     # crops/ -> masked/
mfrkit embed > /dev/null                   # crops/ -> embeddings.h5
mfrkit embed masked -o masked.h5 > /dev/null
mfrkit eval "$pairs"                                  # both unmasked
mfrkit eval "$pairs" embeddings.h5 --probes masked.h5 # second image of each pair masked
