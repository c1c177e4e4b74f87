"""Hold `search` to the FPIR asked of it, on people who really wear masks.

    python examples/real_pairs.py real_masked.csv -o real
    mfrkit benchmark real-portrait.csv real_masked --no-masks -m mfr -o real
    python examples/measure_search.py real_masked.csv real/embeddings/mfr-crops.h5

The table has the columns `key` (PERSON/PHOTO), `masked` and `portrait` (1 or 0); the embeddings are
those of people held out of training. A portrait of each makes the gallery, which each person leaves
once: the masked photos of who is in it are searched (FNIR), and those of who is not (FPIR). Once
with the card's thresholds, and once with one set on the others: the gallery's portraits against
the masked photos of the gallery's other people. Intervals are of people drawn with replacement.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from mfrkit import read_embeddings
from mfrkit.models.loading import recogniser_card
from mfrkit.recognition.decision import fmr_for
from mfrkit.recognition.gallery import Probe, answer_all, pooled, search_decider

RESAMPLES = 1000


def read_people(table, embeddings):
    """Return a portrait's vector and the masked photos' by person."""
    stored = read_embeddings(embeddings)
    vectors = stored.vectors / np.linalg.norm(stored.vectors, axis=1, keepdims=True)
    by_key = dict(zip(stored.keys, vectors, strict=True))
    portraits, shots = {}, defaultdict(list)
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name, vector = row["key"].partition("/")[0], by_key.get(row["key"])
            if vector is not None and row["portrait"] == "1":
                portraits.setdefault(name, vector)
            if vector is not None and row["masked"] == "1":
                shots[name].append(vector)
    return portraits, shots


def ask(staff, portraits, shots, card, fpir, threshold):
    """Search masked shots among staff; return the answers."""
    vectors = np.stack([portraits[name] for name in staff])
    gallery = pooled(staff, staff, vectors, np.zeros(len(staff), np.int8), {})
    decider, _ = search_decider(card, len(staff), fpir=fpir, threshold=threshold)
    return list(answer_all(gallery, [Probe("", 1, vector, True) for vector in shots], decider))


def set_threshold(staff, portraits, shots, fpir):
    """Return the similarity at which these people's own comparisons have the FMR needed."""
    scores = [
        np.stack([portraits[name] for name in staff if name != own]) @ np.stack(shots[own]).T
        for own in staff
        if shots[own]
    ]
    of_two = np.concatenate([each.ravel() for each in scores])
    return float(np.quantile(of_two, 1 - fmr_for(fpir, len(staff))))


def tell(what, errors):
    """Print a share of errors, given by person, with its interval."""
    wrong, count = (np.array([f(each) for each in errors]) for f in (sum, len))
    drawn = np.random.default_rng(0).integers(0, len(errors), (RESAMPLES, len(errors)))
    low, high = np.percentile(wrong[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
    share = wrong.sum() / count.sum()
    print(f"  {what}: {wrong.sum()} of {count.sum()}, {share:.1%} ({low:.1%} to {high:.1%})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path, help="CSV with the columns key, masked, portrait")
    parser.add_argument("embeddings", type=Path, help="embeddings of its photos")
    parser.add_argument("--model", default="mfr", help="whose thresholds are used")
    parser.add_argument("--fpir", type=float, default=0.01)
    options = parser.parse_args()

    portraits, shots = read_people(options.table, options.embeddings)
    card, staff = recogniser_card(options.model), sorted(portraits)
    for title, own in (("the card's thresholds", False), ("set on the other people", True)):
        errors = defaultdict(list)
        for place, name in enumerate(staff):
            others = staff[:place] + staff[place + 1 :]
            threshold = set_threshold(others, portraits, shots, options.fpir) if own else None
            if not shots[name]:
                continue
            strange = ask(others, portraits, shots[name], card, options.fpir, threshold)
            # as many people, this one among them in the place of another
            here = [name, *others[1:]]
            known = ask(here, portraits, shots[name], card, options.fpir, threshold)
            errors["FPIR"].append([answer.known for answer in strange])
            errors["FNIR"].append([answer.person != name for answer in known])
            errors["  named as somebody else"].append(
                [answer.known and answer.best != name for answer in known]
            )
            errors["  most similar to somebody else"].append(
                [answer.best != name for answer in known]
            )
        print(f"gallery of {len(staff) - 1} people, {title}:")
        for what, each in errors.items():
            tell(what, each)


if __name__ == "__main__":
    main()
