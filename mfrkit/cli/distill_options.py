"""The options of `mfrkit distill` alone."""

from pathlib import Path
from typing import Annotated

import typer

Teachers = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher",
        "-t",
        help="Bundled name or file, also .onnx, .pth; repeatable.",
        show_default="arcface",
    ),
]
Method = Annotated[str, typer.Option("--method", help="maskinv, deocclusion, meer, g2d or eum.")]
Phase = Annotated[
    int, typer.Option("--phase", help="Of g2d: 1 encoder, 2 reformer, 3 classifier; 0 all.")
]
Preset = Annotated[str, typer.Option("--preset", help="small or paper; paper-hg, small-resnet22.")]
Student = Annotated[
    str | None,
    typer.Option(
        "--student", help="mobilefacenet, edgeface, iresnet18 to iresnet200; g2d: resnet22."
    ),
]
Init = Annotated[str | None, typer.Option("--init", help="teacher, scratch or a model.")]
Relation = Annotated[
    str | None, typer.Option("--relation", help="deocclusion: some of instance,pair,triplet.")
]
Target = Annotated[
    str | None, typer.Option("--target", help="deocclusion: hard or soft, of instance relations.")
]
TeacherCache = Annotated[
    Path | None, typer.Option("--teacher-cache", help="HDF5 file of the teacher's templates.")
]
Pairs = Annotated[
    Path | None, typer.Option("--pairs", help="Pair list to check on; keeps the best weights.")
]
PairCrops = Annotated[str | None, typer.Option("--pair-crops", help="Crops of the pair list.")]
Real = Annotated[
    list[str] | None,
    typer.Option(
        "--real", metavar="DATA", help="Crops of people who really wear masks; repeatable."
    ),
]
Unnamed = Annotated[
    list[str] | None,
    typer.Option(
        "--unnamed", metavar="DATA", help="Likewise, of people nobody has named; repeatable."
    ),
]
