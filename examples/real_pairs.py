"""Write pair lists of really masked people: portrait against masked, masked against masked.

    python examples/real_pairs.py real_masked.csv -o real
    mfrkit benchmark real-portrait.csv real_masked --no-masks -o real-portrait
    mfrkit benchmark real-masked.csv real_masked --no-masks -o real-masked

The table has the columns `key` (PERSON/PHOTO), `masked` and `portrait` (1 or 0). Only the people
held out of training are on the lists, every fifth by sorted name, with as many pairs of two people
as of one. The same table and seed give the same lists.
"""

import argparse
import csv
import itertools
import random
import sys
from collections import defaultdict
from pathlib import Path


def read_people(path):
    """Return the portraits and the masked photos of each person, people sorted by name."""
    people = defaultdict(lambda: ([], []))
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            portraits, masked = people[row["key"].partition("/")[0]]
            if row["portrait"] == "1":
                portraits.append(row["key"])
            if row["masked"] == "1":
                masked.append(row["key"])
    return [people[name] for name in sorted(people)]


def draw_pairs(people, chance, most):
    """Draw pairs of one person, at most so many of each, and after each one of two people.

    People are given as (first, second) photos; a pair takes one of each, never the same photo.
    """
    genuine = []
    for first, second in people:
        pairs = {tuple(sorted((a, b))): (a, b) for a in first for b in second if a != b}
        genuine += chance.sample(list(pairs.values()), min(most, len(pairs)))
    chance.shuffle(genuine)
    couples = [(a, b) for (a, _), (_, b) in itertools.permutations(people, 2) if a and b]
    if 4 * len(genuine) > sum(len(a) * len(b) for a, b in couples):
        sys.exit(f"too few people for {len(genuine)} pairs of two people; lower --every or --most")
    strangers = {}  # in the order drawn
    while len(strangers) < len(genuine):
        a, b = map(chance.choice, chance.choice(couples))
        if (b, a) not in strangers:
            strangers[a, b] = None
    for same, different in zip(genuine, strangers, strict=True):
        yield (*same, 1)
        yield (*different, 0)


def write_list(path, pairs):
    """Write a pair list as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("a", "b", "same"), *pairs])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path, help="CSV with the columns key, masked, portrait")
    parser.add_argument("-o", "--output", default="real", help="how the lists' names begin")
    parser.add_argument("--every", type=int, default=5, help="take every N-th person; 1 takes all")
    parser.add_argument("--most", type=int, default=40, help="pairs of one person at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    people = read_people(options.table)[options.every - 1 :: options.every]
    kinds = {"portrait": people, "masked": [(masked, masked) for _, masked in people]}
    for kind, photos in kinds.items():
        pairs = list(draw_pairs(photos, random.Random(f"{options.seed} {kind}"), options.most))
        path = Path(f"{options.output}-{kind}.csv")
        write_list(path, pairs)
        print(f"{path}: {len(pairs) // 2} pairs of one person, as many of two")


if __name__ == "__main__":
    main()
