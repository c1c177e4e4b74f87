"""How often do 95 % intervals hold the truth? People resampled against pairs resampled.

Draws many small pair lists from one population in which some people are hard to recognise and some
resemble others, so that the pairs of a person rise and fall together, and counts the lists whose
interval holds the figure of the population. Takes about half a minute.

    python examples/bench_intervals.py --lists 200
"""

import argparse

import numpy as np

from mfrkit.metrics.bootstrap import PairSubjects, bootstrap, figures_of, interval
from mfrkit.metrics.verification import verify

FIGURES = ("eer", "auc", "fmr100")
PAIRS_EACH = 5  # genuine and impostor pairs of every person


def draw_list(random, people):
    """Scores, labels, and who is on the two images."""
    hard, alike = random.normal(0, 0.1, people), random.normal(0, 0.07, people)
    first = np.repeat(np.arange(people), PAIRS_EACH)
    second = (first + random.integers(1, people, first.size)) % people
    genuine = 0.5 + hard[first] + random.normal(0, 0.1, first.size)
    impostor = 0.1 + alike[first] + alike[second] + random.normal(0, 0.08, first.size)
    scores = np.clip(np.append(genuine, impostor), -1, 1)
    same = np.arange(scores.size) < first.size
    return scores, same, np.append(first, first), np.append(first, second)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lists", type=int, default=200)
    parser.add_argument("--people", type=int, default=100)
    chosen = parser.parse_args()
    random = np.random.default_rng(0)
    scores, same, *_ = draw_list(random, 200_000)
    truth = figures_of(verify(scores, same, np.zeros(scores.size, int)))
    held = {"people": dict.fromkeys(FIGURES, 0), "pairs": dict.fromkeys(FIGURES, 0)}
    for seed in range(chosen.lists):
        scores, same, first, second = draw_list(random, chosen.people)
        alone = np.arange(scores.size)
        for unit, subjects in (
            ("people", PairSubjects(first, second, chosen.people)),
            ("pairs", PairSubjects(alone, alone, scores.size)),
        ):
            fold = np.zeros(scores.size, int)
            samples = bootstrap(scores, same, fold, subjects, resamples=400, seed=seed)
            for name in FIGURES:
                ends = interval(samples[name], 0.95)
                held[unit][name] += ends.low <= truth[name] <= ends.high
    for unit, counts in held.items():
        shares = ", ".join(f"{name} {100 * n / chosen.lists:.1f} %" for name, n in counts.items())
        print(f"{unit} resampled: the interval holds the truth in {shares}")


if __name__ == "__main__":
    main()
