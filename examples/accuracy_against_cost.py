"""Plot what models get wrong against what they cost, and whether drawn masks rank them as real do.

    python examples/accuracy_against_cost.py CROPS dev --real real-portrait --real real-masked

`dev` is a folder of `mfrkit benchmark` on masks drawn on photos, each --real one of pairs of really
masked people (`real_pairs.py`, `benchmark --no-masks`); the models that all of them have are
compared. Cost is faces a second of one processor core as `embed` runs, mirror images included, the
models taking turns on crops of CROPS. Writes cost.png and cost.csv, and prints Spearman's rank
correlation of each state of the drawn masks with each of the real ones, over the models; with few
models a wide range of correlations is chance, as its p-value says.
"""

import argparse
import csv
import json
from itertools import cycle
from pathlib import Path

import torch
from bench_recognisers import measure, read_crops
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from mfrkit.models.engine import EmbedEngine
from mfrkit.models.loading import load_recogniser

STATES = ("unmasked", "probe masked", "both masked")
FIGURES = {"eer": ("EER", "rate"), "fmr100": ("FMR100", "fnmr"), "fmr1000": ("FMR1000", "fnmr")}


def read_rates(folder, figure):
    """Return state -> model -> per cent of a benchmark's folder; without drawn masks, its name."""
    rates = {}
    for result in json.loads((folder / "results.json").read_bytes())["results"]:
        state = next((s for s in STATES if result["system"].endswith(f" {s}")), None)
        model = result["system"].removesuffix(f" {state}")
        name = folder.name if state is None else state
        rates.setdefault(name, {})[model] = 100 * result[figure][FIGURES[figure][1]]
    return rates


def plot(path, columns, speeds, word):
    """Draw one panel for each set of pairs, every model a point in it."""
    figure = Figure(figsize=(3.2 * len(columns), 3.6), layout="constrained")
    panels = figure.subplots(1, len(columns), squeeze=False)[0]
    for axes, (name, rates) in zip(panels, columns.items(), strict=True):
        for mark, (model, speed) in zip(cycle("osD^v<>P"), speeds.items(), strict=False):
            axes.plot(speed, rates[model], mark, label=model)
        axes.set(title=name, xlabel="faces / s, one core", ylabel=f"{word} %")
        axes.set_xlim(0, 1.12 * max(speeds.values()))
        axes.set_ylim(0, 1.12 * max(rates[model] for model in speeds))
        axes.grid(alpha=0.3)
    handles, models = panels[0].get_legend_handles_labels()
    figure.legend(handles, models, loc="outside lower center", ncols=len(models))
    figure.savefig(path, dpi=150)


def write_table(path, columns, speeds, word):
    """Write a row for each model."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "faces_per_s", *(f"{name} {word} %" for name in columns)])
        for model, speed in speeds.items():
            rates = [f"{rates[model]:.2f}" for rates in columns.values()]
            writer.writerow([model, f"{speed:.1f}", *rates])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("crops", help="to time the models on")
    parser.add_argument("drawn", type=Path, help="folder of a benchmark with drawn masks")
    parser.add_argument("--real", type=Path, action="append", default=[], help="repeatable")
    parser.add_argument("-o", "--output", default="cost", help="how the files' names begin")
    parser.add_argument("--figure", choices=FIGURES, default="eer")
    parser.add_argument("--count", type=int, default=64, help="crops")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    torch.set_num_threads(1)
    word = FIGURES[options.figure][0]
    drawn = read_rates(options.drawn, options.figure)
    real = {}
    for folder in options.real:
        real |= read_rates(folder, options.figure)
    columns = drawn | real
    models = [
        m for m in next(iter(drawn.values())) if all(m in rates for rates in columns.values())
    ]
    engines = {model: EmbedEngine(load_recogniser(model), workers=1) for model in models}
    seconds = measure(engines, read_crops(options.crops, options.count), options.rounds)
    speeds = {model: 1 / seconds[model] for model in models}
    plot(Path(f"{options.output}.png"), columns, speeds, word)
    write_table(Path(f"{options.output}.csv"), columns, speeds, word)
    print(Path(f"{options.output}.csv").read_text(), end="")
    for first, rates in drawn.items():
        for second, others in real.items():
            found = spearmanr([rates[m] for m in models], [others[m] for m in models])
            print(
                f"Spearman's correlation over {len(models)} models, {first} with {second}: "
                f"{found.statistic:.2f} (p {found.pvalue:.3f})"
            )


if __name__ == "__main__":
    main()
