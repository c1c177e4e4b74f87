"""Measure a region predictor: overlap by kind of mask, faces missed, false alarms on bare faces.

    python examples/measure_region.py CROPS [--model region] [--count 500] [--json region.json]
    python examples/measure_region.py CROPS --worn real_masked.csv [--model region]

CROPS are unmasked crops that `mfrkit align` wrote. Every face is shown bare, in every kind of mask
at its ordinary height, and in everyday masks pulled down in steps, which is what the last table
decides by: from which share of the crop on a face should be called masked.

With --worn, CROPS are of people who really wear masks, or do not, as the table's column `masked`
says. Nobody has drawn the regions of those masks; what can be told is who is called masked, how
many pixels the predictor is unsure of, and how far its answers for a face agree with those for its
mirror image and for the face darkened.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from mfrkit.io.tables import read_covariates
from mfrkit.masks.kinds import BARE, COVERAGES, KINDS, OWN
from mfrkit.masks.options import MaskOptions
from mfrkit.metrics.pictures import intersection_over_union
from mfrkit.models.region import MASKED_AREA, covered_share, decided, is_masked, load_region
from mfrkit.pages.table import Table, to_markdown
from mfrkit.training.checks import RegionCheck
from mfrkit.training.crops import read_crop
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


def agreement(first, second):
    """Mean overlap of two answers for the same faces."""
    regions = ((answer[:, 0] > 0.5).numpy() for answer in (first, second))
    return intersection_over_union(*regions).mean()


def by_wearing(predictor, faces, table):
    """One row for masked faces, one for bare ones, and the area under the curve between them."""
    size = predictor.card.input_size or (112, 112)
    worn = {key: row["masked"] == "1" for key, row in read_covariates(table).rows.items()}
    faces = [face for face in faces if face.record.key in worn]
    masked = torch.tensor([worn[face.record.key] for face in faces])
    crops = np.stack([read_crop(face, size).pixels for face in faces])
    shown = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        seen = predictor(shown)
        mirrored = predictor(shown.flip(3)).flip(3)
        dark = predictor(0.6 * shown)
    share = covered_share(decided(seen))
    unsure = ((seen - 0.5).abs() < 0.4).flatten(1).float().mean(1)
    rows = [
        [
            title,
            str(int(chosen.sum())),
            percent(is_masked(decided(seen[chosen])).float().mean()),
            percent(unsure[chosen].mean()),
            *(percent(agreement(seen[chosen], other[chosen])) for other in (mirrored, dark)),
        ]
        for title, chosen in (("masked", masked), ("bare", ~masked))
    ]
    apart = share[masked][:, None] - share[~masked][None]
    auc = ((apart > 0).float() + 0.5 * (apart == 0).float()).mean()
    titles = ["faces", "", "called masked %", "unsure pixels %", "IoU mirrored %", "IoU darkened %"]
    return Table("", titles, rows, [f"area under the curve of the covered share: {auc:.4f}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("crops")
    parser.add_argument("--model", default="region")
    parser.add_argument("--count", type=int, default=500, help="faces, evenly spread")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worn", type=Path, help="table: who of the faces really wears a mask")
    arguments = parser.parse_args()
    faces = list(open_train_set([arguments.crops]).faces)
    predictor = load_region(arguments.model)
    if arguments.worn:
        print(to_markdown(by_wearing(predictor, faces, arguments.worn)))
        return
    faces = faces[:: max(1, len(faces) // arguments.count)][: arguments.count]
    masks = {name: MaskOptions.parse(types=name) for name in KINDS if name not in OWN}
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
