"""Measure a region predictor: overlap by kind of mask, faces missed, false alarms on bare faces.

    python examples/measure_region.py CROPS [--model region] [--count 500] [--json region.json]

CROPS are unmasked crops that `mfrkit align` wrote. Every face is shown bare, in every kind of mask
at its ordinary height, and in everyday masks pulled down in steps, which is what the last table
decides by: from which share of the crop on a face should be called masked.
"""

import argparse
import json
from pathlib import Path

import torch

from mfrkit.masks.kinds import BARE, COVERAGES, KINDS, TEMPLATE
from mfrkit.masks.options import MaskOptions
from mfrkit.models.region import MASKED_AREA, load_region
from mfrkit.pages.table import Table, to_markdown
from mfrkit.training.checks import RegionCheck
from mfrkit.training.data import open_train_set

PULLED = "surgical,n95,cloth"  # the masks people pull down
AREAS = (0.02, 0.04, 0.06, 0.08, 0.10, 0.12)


def percent(share):
    return f"{100 * share:.1f}"


def by_kind(looks, learnt):
    """One row per kind, those of the training first, and the mean of both sorts."""
    rows = []
    for title, chosen in (("trained on", True), ("never seen", False)):
        kinds = [name for name in looks if name in KINDS and (name in learnt) == chosen]
        figures = [
            (looks[name].iou.mean(), looks[name].missed(MASKED_AREA), looks[name].found.mean())
            for name in kinds
        ]
        for name, each in zip(kinds, figures, strict=True):
            rows.append([name, title, *map(percent, each)])
        means = [sum(column) / len(column) for column in zip(*figures, strict=True)]
        rows.append([f"all {len(kinds)}", title, *map(percent, means)])
    return Table("", ["mask", "", "IoU %", "missed %", "of the crop %"], rows, [])


def by_area(looks):
    """Share of faces called masked, for every area from which on they could be."""
    rows = [
        [name, *(percent(seen.called(area)) for area in AREAS)]
        for name, seen in looks.items()
        if name == BARE or name in COVERAGES
    ]
    return Table("", ["called masked %", *(f"from {area:.0%}" for area in AREAS)], rows, [])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("crops")
    parser.add_argument("--model", default="region")
    parser.add_argument("--count", type=int, default=500, help="faces, evenly spread")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    faces = list(open_train_set([arguments.crops]).faces)
    faces = faces[:: max(1, len(faces) // arguments.count)][: arguments.count]
    predictor = load_region(arguments.model)
    masks = {name: MaskOptions.parse(types=name) for name in KINDS if name != TEMPLATE}
    masks |= {name: MaskOptions.parse(types=PULLED, coverage=name) for name in COVERAGES}
    size = predictor.card.input_size or (112, 112)
    check = RegionCheck(faces, size=size, masks=masks, device=torch.device("cpu"))
    looks = check.look(predictor)
    learnt = MaskOptions.parse(types=predictor.card.config["masks"]["types"]).types
    bare = looks[BARE]
    print(to_markdown(by_kind(looks, learnt)), end="\n\n")
    print(to_markdown(by_area(looks)), end="\n\n")
    print(f"{len(bare.iou)} faces; {bare.found.mean():.2%} of a bare face is called covered")
    if arguments.json:
        figures = {
            name: {"iou": float(seen.iou.mean()), "missed": seen.missed(MASKED_AREA)}
            | {f"called_{area}": seen.called(area) for area in AREAS}
            for name, seen in looks.items()
        }
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
