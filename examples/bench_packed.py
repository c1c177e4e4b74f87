"""Compare how long the same crops take to read from a folder, a .rec file and tar shards.

Each source must hold the same crops: `mfrkit pack crops -o crops.rec`, `mfrkit pack crops -o
crops.tar`. Rounds over random crops alternate between the sources in one process; the files are in
the system's cache after the first. The figures are processor time, which neighbours do not change.
"""

import argparse
from statistics import median
from time import process_time

import numpy as np

from mfrkit.training.crops import read_crop
from mfrkit.training.data import open_train_set

ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+", help="folder, .rec, .tar")
    parser.add_argument("--count", type=int, default=1000, help="crops in a round")
    options = parser.parse_args()
    sets = {source: open_train_set([source]).faces for source in options.sources}
    total = min(len(faces) for faces in sets.values())
    order = np.random.default_rng(0).permutation(total)
    times = {source: ([], []) for source in sets}
    for turn in range(ROUNDS + 1):
        places = np.roll(order, turn * options.count)[: options.count].tolist()
        for source, faces in sets.items():
            started = process_time()
            for place in places:
                faces[place].path.read_bytes()
            read = process_time()
            for place in places:
                read_crop(faces[place], (112, 112))
            if turn:  # the first round warms up
                times[source][0].append(read - started)
                times[source][1].append(process_time() - read)
    print("source\tread us\tread and decode us")
    for source, (reads, decodes) in times.items():
        figures = (f"{median(each) / options.count * 1e6:.0f}" for each in (reads, decodes))
        print(source, *figures, sep="\t")


if __name__ == "__main__":
    main()
