"""mfrkit align, synth-mask, cut-masks, inpaint, embed, pack, pack-bin and unpack: pictures in."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import takes
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.options import Force, Resume
from mfrkit.stages.options import (
    AlignOptions,
    EmbedOptions,
    InpaintOptions,
    PackOptions,
    SynthMaskOptions,
)
from mfrkit.training.options import CutOptions


@takes(AlignOptions)
def align(ctx: typer.Context, options: AlignOptions) -> None:
    """Find faces in photos and cut them out, eyes and mouth at the same place in every crop.

    A crop is fitted by the upper part of the face, which a mask leaves alone. The manifest.jsonl
    has box, score, pose, 68 landmarks and the 2x3 matrix from photo to crop of every face; a photo
    without one is recorded as skipped. Frames of video clips have keys such as hall/000123.

    Example: mfrkit align demo/photos -o crops
    """
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.align import align as run

    spread(run, options, ctx.obj)


@takes(SynthMaskOptions)
def synth_mask(
    ctx: typer.Context,
    options: SynthMaskOptions,
    *,
    check: Annotated[
        bool,
        typer.Option(
            "--check-template", help="Draw the template with its points, say what is wrong."
        ),
    ] = False,
    list_kinds: Annotated[
        bool, typer.Option("--list", help="Print the kinds of mask; --preview draws each.")
    ] = False,
) -> None:
    """Put a synthetic mask on every face and record exactly what was drawn.

    SRC is crops/ unless named. The same seed gives the same bytes, whatever the batch size, the
    shard or the number of workers (without a GPU, processes from 512 pictures on).

    Example: mfrkit synth-mask demo/crops -o masked --type surgical:3,cloth:1 --seed 7
    """
    if list_kinds or check:
        _show_sheet(options, list_kinds, ctx.obj)
        return
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.synth_mask import synth_mask as run

    spread(run, options, ctx.obj)


def _show_sheet(options: SynthMaskOptions, kinds: bool, console: Console) -> None:
    """Draw all kinds, or a template with its points, instead of masking anything."""
    from mfrkit.stages.portraits import check_template, list_kinds

    template, sheet, force = options.template, options.preview, options.run.force
    if kinds:
        list_kinds(sheet, seed=options.seed, force=force, console=console)
    elif template is None:
        raise InputError("--check-template: which one? name it with --template my.png")
    else:
        check_template(
            template, sheet or Path(f"{template.stem}-check.png"), force=force, console=console
        )


@takes(CutOptions)
def cut_masks(ctx: typer.Context, options: CutOptions) -> None:
    """Cut the masks out of photos of people who really wear them.

    Drawn masks can then be of the kind `worn`: synth-mask --worn-from, masks.worn_from in training.

    Example: mfrkit cut-masks demo/masked -o worn.safetensors --preview worn.png
    """
    from mfrkit.training.cut_masks import cut_masks as run

    run(options, ctx.obj)


@takes(InpaintOptions)
def inpaint(ctx: typer.Context, options: InpaintOptions) -> None:
    """Draw what a mask hides, and pass faces without mask through unchanged.

    SRC is masked/ unless named. Every record says how much of the face was covered and whether
    that makes it a masked one.

    Example: mfrkit inpaint demo/masked -o completed --preview completed.png
    """
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.inpaint import inpaint as run

    spread(run, options, ctx.obj)


@takes(EmbedOptions)
def embed(ctx: typer.Context, options: EmbedOptions) -> None:
    """Write one embedding per aligned face to HDF5, in input order.

    SRC is crops/ unless named. Records pass through to standard output, so that another command
    of a pipeline can read the same crops.

    Example: mfrkit embed demo/crops -o embeddings.h5
    """
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.embed import embed as run

    spread(run, options, ctx.obj)


@takes(PackOptions)
def pack(ctx: typer.Context, options: PackOptions) -> None:
    """Pack crops into one large file, or few, which disks read faster than many small ones.

    SRC is crops/ unless named. The name of the output chooses the form: .rec is RecordIO as
    InsightFace and MXNet read it, with .idx, .lst and property beside it; .tar is WebDataset,
    a pattern in braces deals the crops out to several shards. Picture files are copied as they
    are. Every command reads both forms again as its SRC.

    Example: mfrkit pack demo/crops -o train.rec
    """
    from mfrkit.stages.pack import pack as run

    run(options, ctx.obj)


def pack_bin(
    ctx: typer.Context,
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS", help="Pair list of any format.")],
    crops: Annotated[str, typer.Argument(metavar="CROPS", help="Crops: folder or manifest.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Verification file to write.")],
    force: Force = False,
) -> None:
    """Write the crops of a pair list as a verification file (.bin) for other programs.

    Pictures keep their bytes; pairs are written fold by fold.

    Example: mfrkit pack-bin demo/pairs.csv demo/masked -o masked.bin
    """
    from mfrkit.stages.pack import pack_bin as run

    run(pairs, crops, output, ctx.obj, force=force)


def unpack(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Verification file, for example lfw.bin.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Write the crops and the pair list of a verification file (.bin).

    The folder gets one picture for each side of each pair, a manifest and pairs.txt. Nothing in
    the file is executed.

    Example: mfrkit pack-bin demo/pairs.csv demo/crops -o a.bin
    && mfrkit unpack a.bin -o unpacked
    """
    from mfrkit.stages.pack import unpack_bin

    unpack_bin(file, output, ctx.obj, force=force, resume=resume)
