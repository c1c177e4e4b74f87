"""What a benchmark compares: the photos of a pair list aligned once, masked once, embedded.

Each step is an ordinary stage with its result in a folder of the benchmark. A step that is done is
not done again, so an interrupted run goes on where it was, and another model costs its embeddings
only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.models.recognisers import recogniser_card
from mfrkit.stages.align import align
from mfrkit.stages.align_options import AlignOptions
from mfrkit.stages.embed import EmbedOptions, embed
from mfrkit.stages.synth_mask import synth_mask
from mfrkit.stages.synth_mask_options import SynthMaskOptions
from mfrkit.stages.verification_bin import PAIRS, unpack_bin


@dataclass(frozen=True)
class BenchmarkSets:
    """Where the images of a benchmark come from, and how they are prepared.

    Attributes:
        pairs: the pair list.
        images: SRC of the photos, or of crops if `detector` is `none`.
        folder: of the benchmark.
        detector: as for `mfrkit align`.
        types, color, texture, coverage, jitter: what is worn in the masked set.
        masks: whether there is a masked set; off for photographs of real masks.
        seed: of the masks.
        flip: average each face with its mirror image.
        run: how the steps are sized; `force` begins them all anew.
    """

    pairs: Path
    images: str
    folder: Path
    detector: str = "mtcnn"
    types: str | None = None
    color: str | None = None
    texture: str | None = None
    coverage: str | None = None
    jitter: float = 1.0
    masks: bool = True
    seed: int = 0
    flip: bool = True
    run: RunOptions = field(default_factory=RunOptions)

    @property
    def crops(self) -> Path:
        """Folder of the aligned faces."""
        return self.folder / "crops"

    @property
    def masked(self) -> Path:
        """Folder of the masked faces."""
        return self.folder / "masked"

    def align_options(self) -> AlignOptions:
        """Return how the photos are aligned."""
        return AlignOptions(
            source=self.images,
            output=self.crops,
            detector=self.detector,
            only=self.pairs,
            run=self.run,
        )

    def mask_options(self) -> SynthMaskOptions:
        """Return how the crops are masked."""
        return SynthMaskOptions(
            source=str(self.crops),
            output=self.masked,
            types=self.types,
            color=self.color,
            texture=self.texture,
            coverage=self.coverage,
            jitter=self.jitter,
            seed=self.seed,
            region="none",
            run=self.run,
        )


def unpacked(sets: BenchmarkSets, console: Console) -> BenchmarkSets:
    """Unpack a verification file (`.bin`) beside the crops, once; folders stay as they are.

    Raises:
        InputError: not a verification file.
    """
    if Path(sets.images).suffix != ".bin":
        return sets
    folder = sets.folder / "unpacked"
    if sets.run.force or not (folder / PAIRS).exists():
        quiet = Console(console.verbosity, passes_records=False)
        unpack_bin(Path(sets.images), folder, quiet, force=True)
    return replace(sets, pairs=folder / PAIRS, images=str(folder))


@dataclass(frozen=True)
class ModelFiles:
    """One model's embeddings.

    Attributes:
        label: the model, in tables.
        clean: of the crops.
        masked: of the masked crops; None without a masked set.
    """

    label: str
    clean: Path
    masked: Path | None


def prepare(sets: BenchmarkSets, models: Sequence[str], console: Console) -> list[ModelFiles]:
    """Make what is missing of crops, masked crops and embeddings.

    Args:
        sets: what to prepare.
        models: bundled names or model files, no two with the same name.
        console: narration; records of the steps are not passed on.

    Raises:
        InputError: two models of one name, or whatever a step refuses: among it a folder that was
            begun with other options.
        PartialError: no photo gave a face.
    """
    labels = [Path(model).stem for model in models]
    if len(set(labels)) != len(labels):
        raise InputError(f"two models are called alike: {', '.join(sorted(labels))}")
    cards = [recogniser_card(model) for model in models]
    steps = replace(sets, run=replace(sets.run, resume=not sets.run.force))
    quiet = Console(console.verbosity, passes_records=False)
    align(steps.align_options(), quiet)
    if steps.masks:
        synth_mask(steps.mask_options(), quiet)
    prepared = []
    for model, label, card in zip(models, labels, cards, strict=True):
        paths = []
        for crops in (steps.crops, steps.masked) if steps.masks else (steps.crops,):
            path = steps.folder / "embeddings" / f"{label}-{crops.name}.h5"
            stale = path.exists() and not _made_by(path, card.sha256, steps.flip)
            run = replace(steps.run, resume=False, force=True) if stale else steps.run
            path.parent.mkdir(parents=True, exist_ok=True)
            embed(EmbedOptions(str(crops), path, model, steps.flip, run), quiet)
            paths.append(path)
        prepared.append(ModelFiles(label, paths[0], paths[1] if steps.masks else None))
    return prepared


def _made_by(path: Path, sha256: str | None, flip: bool) -> bool:
    """Whether embeddings come from these weights, used in this way."""
    with EmbeddingReader(path) as reader:
        found = reader.attributes
        return found.get("weights_sha256") == sha256 and bool(found.get("flip")) == flip
