"""What a benchmark compares: the photos of a pair list masked once, aligned, embedded.

Masks are drawn on the photos, so that a face has to be found and aligned under its mask, as in
life; drawn on the crops of the unmasked photos instead, they measure recognition alone.

Each step is an ordinary stage with its result in a folder of the benchmark, which remembers what
it was begun with (`benchmark.json`). A step that is done is not done again, so an interrupted
run goes on where it was, and another model costs its embeddings only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mfrkit import __version__
from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.documents import json_file, read_json_object
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import write_whole
from mfrkit.io.manifest import check_inside
from mfrkit.io.pairs import read_pairs
from mfrkit.models.cards import ASSUMED, Feeding
from mfrkit.models.loading import is_foreign, recogniser_card
from mfrkit.stages.align import align
from mfrkit.stages.embed import EmbedOptions, embed
from mfrkit.stages.options import AlignOptions, SynthMaskOptions
from mfrkit.stages.pack import PAIRS, unpack_bin
from mfrkit.stages.sink import Tally
from mfrkit.stages.synth_mask import synth_mask

Begun = Mapping[str, Any]
_FLAGS = MappingProxyType(
    {name: f"--{name}" for name in ("detector", "landmarks", "color", "texture", "coverage")}
    | {"types": "--type", "jitter": "--jitter", "seed": "--seed"}
)


class BenchmarkFolder:
    """A folder that holds the sets of one pair list, made in one way, for any number of models.

    Args:
        path: the folder; need not exist.
        anew: forget what it was begun with, and remove embeddings, since their crops will go.

    Raises:
        InputError: a damaged `benchmark.json`.
    """

    def __init__(self, path: Path, *, anew: bool) -> None:
        self._path, self._file = path, path / "benchmark.json"
        known = {} if anew else _read(self._file)
        self._options: dict[str, Any] = known.get("options", {})
        self.models: list[str] = known.get("models", [])
        self._anew = anew

    def begin(self, wanted: Begun) -> None:
        """Note what the sets are made with, if it agrees with what they were begun with.

        Args:
            wanted: JSON values by option; one that earlier runs did not need is new.

        Raises:
            InputError: an option has another value than it had.
        """
        for name, value in wanted.items():
            found = self._options.get(name, value)
            if found != value:
                raise InputError(
                    f"{self._path}: was begun with {_in_words(name, found, value)}; name another "
                    "folder with --output, or begin again with --force"
                )
        if self._anew:
            for path in (self._path / "embeddings").glob("*.h5"):
                path.unlink()
        self._options.update(wanted)
        self._write()

    def add(self, models: Sequence[str]) -> list[str]:
        """Note further models; returns the labels of all, in the order they came."""
        self.models = list(dict.fromkeys([*self.models, *models]))
        self._write()
        return self.models

    def _write(self) -> None:
        content = {"mfrkit": __version__, "options": self._options, "models": self.models}
        write_whole(self._file, json_file(content))


def _in_words(name: str, found: Any, wanted: Any) -> str:
    if name == "pairs":
        return f"another pair list (its {found}; here {wanted})"
    if name == "images":
        return f"the pictures in {found}, not those in {wanted}"
    flag = _FLAGS[name]
    if found is None:
        return f"no {flag}, not {flag} {wanted}"
    return f"{flag} {found}, not " + (f"without {flag}" if wanted is None else f"{wanted}")


def _read(path: Path) -> dict[str, Any]:
    """Read the file; empty if there is none."""
    if not path.exists():
        return {}
    remedy = "; begin again with --force, or name another --output"
    found = read_json_object(path, remedy)
    models = found.get("models")
    if not isinstance(found.get("options"), dict) or not isinstance(models, list):
        raise InputError(f"{path}: not what a benchmark was begun with{remedy}")
    for model in models:
        if not isinstance(model, str):
            raise InputError(f"{path}: {model!r} is no name of a model{remedy}")
        check_inside(model, str(path))
    return found


MASK_ON = ("photos", "crops")
Perform = Callable[[Callable[[Any, Console], Tally], Any, Console], Tally]
"""Runs a stage with its options, on this machine or on others."""


@dataclass(frozen=True)
class BenchmarkSets:
    """Where the images of a benchmark come from, and how they are prepared.

    Attributes:
        pairs: the pair list.
        images: SRC of the photos, or of crops if `detector` is `none`.
        folder: of the benchmark.
        detector, landmarks: as for `mfrkit align`.
        mask_on: `photos` or `crops`; None is photos where there are any.
        types, color, texture, coverage, jitter: what is worn in the masked set.
        masks: whether there is a masked set; off for photographs of real masks.
        seed: of the masks.
        flip: average each face with its mirror image.
        run: how the steps are sized; `force` begins them all anew.

    Raises:
        InputError: on construction, for a value no run can use.
    """

    pairs: Path
    images: str
    folder: Path
    detector: str = "yunet"
    landmarks: str | None = None
    mask_on: str | None = None
    types: str | None = None
    color: str | None = None
    texture: str | None = None
    coverage: str | None = None
    jitter: float = 1.0
    masks: bool = True
    seed: int = 0
    flip: bool = True
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        """Refuse values no run can use, before anything is prepared."""
        if self.mask_on not in (None, *MASK_ON):
            raise InputError(f"--mask-on {self.mask_on!r}: expected {', '.join(MASK_ON)}")
        if self.detector == "none" and self.mask_on == "photos":
            raise InputError("--mask-on photos: the pictures are crops already (--detector none)")
        self.align_options()
        self.mask_options().wanted()

    @property
    def is_verification_file(self) -> bool:
        """Whether pairs and crops are in one file, to be unpacked."""
        return Path(self.images).suffix == ".bin"

    @property
    def masks_photos(self) -> bool:
        """Whether masks are drawn on photos, before faces are looked for."""
        return self.masks and self.detector != "none" and self.mask_on != "crops"

    @property
    def crops(self) -> Path:
        """Folder of the aligned faces."""
        return self.folder / "crops"

    @property
    def masked_photos(self) -> Path:
        """Folder of the masked photos."""
        return self.folder / "masked_photos"

    @property
    def masked(self) -> Path:
        """Folder of the masked faces: cut from masked photos, or crops masked afterwards."""
        return self.folder / ("masked" if self.masks_photos else "masked_crops")

    @property
    def compared(self) -> tuple[Path, ...]:
        """Folders whose faces are compared."""
        return (self.crops, self.masked) if self.masks else (self.crops,)

    def embeddings(self, label: str) -> list[Path]:
        """Return a model's embedding files, one for each folder that is compared."""
        return [self.folder / "embeddings" / f"{label}-{each.name}.h5" for each in self.compared]

    def align_options(self, *, masked: bool = False) -> AlignOptions:
        """Return how the photos are aligned, those that were masked or those as they came."""
        return AlignOptions(
            source=str(self.masked_photos) if masked else self.images,
            output=self.masked if masked else self.crops,
            detector=self.detector,
            landmarks=self.landmarks,
            only=None if masked else self.pairs,
            run=self.run,
        )

    def mask_options(self) -> SynthMaskOptions:
        """Return how photos or crops are masked.

        Photos are written as PNG, since JPEG would wear away the masked pictures alone.
        """
        on_photos = self.masks_photos
        return SynthMaskOptions(
            source=self.images if on_photos else str(self.crops),
            output=self.masked_photos if on_photos else self.masked,
            only=self.pairs if on_photos else None,
            types=self.types,
            color=self.color,
            texture=self.texture,
            coverage=self.coverage,
            jitter=self.jitter,
            seed=self.seed,
            region="none",
            run=self.run,
        )

    def begun(self) -> Begun:
        """Return what a later run in the same folder must agree with, by option."""
        begun: dict[str, Any] = {
            "images": str(Path(self.images).resolve()),
            "detector": self.detector,
            "landmarks": self.align_options().fitted_by,
        }
        if not self.is_verification_file:
            begun["pairs"] = read_pairs(self.pairs).images()
        worn = ("types", "color", "texture", "coverage", "jitter", "seed")
        return begun | ({name: getattr(self, name) for name in worn} if self.masks else {})


def unpacked(sets: BenchmarkSets, console: Console) -> BenchmarkSets:
    """Unpack a verification file (`.bin`) beside the crops, once; folders stay as they are.

    Raises:
        InputError: not a verification file.
    """
    if not sets.is_verification_file:
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


def perform_here(stage: Callable[[Any, Console], Tally], options: Any, console: Console) -> Tally:
    """Run a stage on this machine."""
    return stage(options, console)


def prepare(
    sets: BenchmarkSets,
    models: Sequence[str],
    console: Console,
    perform: Perform = perform_here,
    *,
    fed: Feeding = ASSUMED,
) -> None:
    """Make what is missing of crops, masked crops and embeddings.

    Args:
        sets: what to prepare.
        models: bundled names or model files, no two with the same name.
        console: narration; records of the steps are not passed on.
        perform: runs the stages.
        fed: how those of other programs are fed.

    Raises:
        InputError: whatever a step refuses.
        PartialError: no photo gave a face.
    """
    feedings = [fed if is_foreign(model) else ASSUMED for model in models]
    cards = [recogniser_card(*each) for each in zip(models, feedings, strict=True)]
    steps = replace(sets, run=replace(sets.run, resume=not sets.run.force))

    def told(about: str) -> Console:
        return Console(console.verbosity, passes_records=False, about=about)

    perform(align, steps.align_options(), told("unmasked"))
    if steps.masks:
        perform(synth_mask, steps.mask_options(), told("photos" if steps.masks_photos else "crops"))
    if steps.masks_photos:
        perform(align, steps.align_options(masked=True), told("masked"))
    for model, card, said in zip(models, cards, feedings, strict=True):
        for crops, path in zip(steps.compared, steps.embeddings(label_of(model)), strict=True):
            stale = path.exists() and not _made_by(path, card.sha256, steps.flip)
            run = replace(steps.run, resume=False, force=True) if stale else steps.run
            path.parent.mkdir(parents=True, exist_ok=True)
            about = f"{label_of(model)}, {'unmasked' if crops == steps.crops else 'masked'}"
            options = EmbedOptions(str(crops), path, model, steps.flip, said, run=run)
            perform(embed, options, told(about))


def embedded_models(
    sets: BenchmarkSets, labels: Sequence[str], console: Console
) -> list[ModelFiles]:
    """Return those of the models whose faces are all embedded; says which are not."""
    found = []
    for label in labels:
        paths = sets.embeddings(label)
        if all(path.exists() for path in paths):
            found.append(ModelFiles(label, paths[0], paths[1] if sets.masks else None))
        else:
            console.info(f"{label}: left out, not embedded for this; name it with --model again")
    return found


def label_of(model: str) -> str:
    """Return what tables call a model.

    Example:
        >>> label_of("arcface"), label_of("runs/mine.safetensors")
        ('arcface', 'mine')
    """
    return Path(model).stem


def _made_by(path: Path, sha256: str | None, flip: bool) -> bool:
    """Whether embeddings come from these weights, used in this way."""
    with EmbeddingReader(path) as reader:
        found = reader.attributes
        return found.get("weights_sha256") == sha256 and bool(found.get("flip")) == flip
