"""Hold the decisions of `verify` to what a model's card promises, with masks and without.

    mfrkit benchmark lfw_pairs_dev.txt lfw --seed 7 -m mfr -o dev
    python examples/measure_verify.py lfw_pairs_dev.txt dev/embeddings/mfr-{crops,masked}.h5

As many pairs of one person as of two are drawn from the list and decided as they are, with a mask
on the second photo, and with masks on both. So few pairs of two people say little of a rare error:
each first photo is also compared with each second photo of somebody else. Intervals are
Clopper-Pearson's; those of all comparisons, of people drawn with replacement.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from mfrkit import read_embeddings
from mfrkit.io.manifest import identity_of
from mfrkit.io.pairs import read_pairs
from mfrkit.models.loading import recogniser_card
from mfrkit.recognition.decision import Decider

RESAMPLES = 1000


class Side(NamedTuple):
    """Embeddings by key, and whether the faces wear masks."""

    vectors: dict[str, np.ndarray]
    masked: bool


def read_side(path, masked):
    stored = read_embeddings(path)
    vectors = stored.vectors / np.linalg.norm(stored.vectors, axis=1, keepdims=True)
    return Side(dict(zip(stored.keys, vectors, strict=True)), masked)


def draw(path, count, seed):
    """Return (a, b, same) of so many pairs of each kind."""
    pairs = read_pairs(path)
    chance = np.random.default_rng(seed)
    of = [np.flatnonzero(pairs.same == kind) for kind in (True, False)]
    chosen = [chance.choice(each, min(count, len(each)), replace=False) for each in of]
    return [(pairs.a[n], pairs.b[n], bool(pairs.same[n])) for n in np.concatenate(chosen)]


def report(name, pairs, first, second, decider):
    """Print what the pairs of one condition came to."""
    threshold = decider.threshold(first.masked, second.masked)
    wrong = {True: [], False: []}
    for a, b, same in pairs:
        if a in first.vectors and b in second.vectors:
            score = first.vectors[a] @ second.vectors[b]
            wrong[same].append((score >= threshold.value) != same)
    print(f"{name}: {len(wrong[True]) + len(wrong[False])} pairs, threshold {threshold.value:.4f}")
    for what, errors, promised in (
        ("pairs of two people taken for one", wrong[False], threshold.fmr),
        ("pairs of one person refused", wrong[True], threshold.fnmr),
    ):
        ends = binomtest(int(sum(errors)), len(errors)).proportion_ci(0.95, "exact")
        print(
            f"  {what}: {sum(errors)}, {np.mean(errors):.2%} "
            f"({ends.low:.2%} to {ends.high:.2%}), promised {promised:.2%}"
        )
    strangers(pairs, first.vectors, second.vectors, threshold.value)


def strangers(pairs, first, second, threshold):
    """Compare everybody with everybody else."""
    one = [key for key in dict.fromkeys(a for a, _, _ in pairs) if key in first]
    other = [key for key in dict.fromkeys(b for _, b, _ in pairs) if key in second]
    names, numbers = np.unique([identity_of(key) for key in one + other], return_inverse=True)
    a, b = numbers[: len(one)], numbers[len(one) :]
    counts = (a[:, None] != b).astype(np.float64)
    scores = np.stack([first[key] for key in one]) @ np.stack([second[key] for key in other]).T
    hits = (scores >= threshold) * counts
    chance, rates = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        weights = np.bincount(chance.integers(0, len(names), len(names)), minlength=len(names))
        rates.append(weights[a] @ hits @ weights[b] / (weights[a] @ counts @ weights[b]))
    low, high = np.percentile(rates, [2.5, 97.5])
    print(
        f"  of all {counts.sum():.0f} comparisons of two people: {hits.sum() / counts.sum():.3%} "
        f"({low:.3%} to {high:.3%})"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pairs", type=Path, help="pair list")
    parser.add_argument("bare", type=Path, help="embeddings of its photos")
    parser.add_argument("masked", type=Path, help="embeddings of the same with masks")
    parser.add_argument("--model", default="mfr", help="whose card promises")
    parser.add_argument("--fmr", type=float, default=1e-3)
    parser.add_argument("--count", type=int, default=500, help="pairs of each kind")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()

    pairs = draw(options.pairs, options.count, options.seed)
    bare, masked = read_side(options.bare, False), read_side(options.masked, True)
    decider = Decider(recogniser_card(options.model), options.fmr)
    report("no masks", pairs, bare, bare, decider)
    report("second photo masked", pairs, bare, masked, decider)
    report("both masked", pairs, masked, masked, decider)


if __name__ == "__main__":
    main()
