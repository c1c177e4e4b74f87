"""A recogniser for programs: photos in, faces, embeddings and decisions out.

Aligned crops are cut in memory here as `mfrkit align` does unless told otherwise.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfrkit.config import RECOGNISER, REGION, default_workers
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.faces.detect import Face, select
from mfrkit.faces.geometry import template, warp
from mfrkit.models.cards import Feeding, ModelCard
from mfrkit.recognition.decision import Decider, Threshold
from mfrkit.recognition.look import (
    Photo,
    PhotoFace,
    as_list,
    look,
    name_of,
    pixels_of,
    read_items,
    read_photos,
)
from mfrkit.recognition.options import DEFAULT_FMR
from mfrkit.stages.options import AlignOptions

if TYPE_CHECKING:  # what galleries need is loaded by those who have one: `verify` starts sooner
    from mfrkit.recognition.gallery import Answer, Gallery

_BATCH = 32  # photos looked at together


class _Crop(NamedTuple):
    """A face of a photo and its aligned pixels, (S, S, 3) uint8 RGB."""

    face: Face
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two faces compared.

    Attributes:
        first: the face of the first photo.
        second: the face of the second photo.
        similarity: cosine of their embeddings, in [-1, 1].
        threshold: what the similarity is held against; None if the model's card has none.
    """

    first: PhotoFace
    second: PhotoFace
    similarity: float
    threshold: Threshold | None

    @property
    def same(self) -> bool | None:
        """Whether both count as one person; None without a threshold."""
        return None if self.threshold is None else self.similarity >= self.threshold.value


class Recogniser:
    """Finds faces in photos, sees who wears a mask, embeds them and compares them.

    Loading takes the time of importing torch; a `Recogniser` is made once and kept.

    Convention:
        Photos are picture files or RGB arrays (H, W, 3) uint8; OpenCV's are BGR, turn them with
        `pixels[..., ::-1]`. Where one face of a photo is asked for, it is the large one near the
        middle.

    Args:
        model: bundled name, model file, file of another program (`.onnx`, `.pth`, `.ckpt`), or
            `GENERATOR+RECOGNISER`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        flip: average each face with its mirror image.
        region_model: predictor of what covers a face, bundled name or model file.
        feeding: what is known of how a file of another program is fed; None assumes it.

    Attributes:
        card: the model's card.

    Raises:
        InputError: no such model or device, or a model for another task.
        WeightsError: a model file is damaged.

    Example:
        >>> import mfrkit
        >>> recogniser = mfrkit.Recogniser("mfr")
        >>> recogniser.embed([np.zeros((80, 80, 3), np.uint8)], missing="nan").shape
        (1, 704)
    """

    def __init__(
        self,
        model: str = RECOGNISER,
        *,
        device: str = "auto",
        flip: bool = True,
        region_model: str = REGION,
        feeding: Feeding | None = None,
    ) -> None:
        # torch loads here, not on `import mfrkit`
        from mfrkit.models.device import resolve_device
        from mfrkit.models.engine import EmbedEngine
        from mfrkit.models.loading import load_recogniser
        from mfrkit.models.region import load_region
        from mfrkit.stages.find_faces import FaceFinder

        place = resolve_device(device)
        recogniser = load_recogniser(model, place, feeding)
        self.card: ModelCard = recogniser.card
        self.flip = flip
        self._size = recogniser.card.input_size or (112, 112)
        self._align = AlignOptions("", Path(), size=self._size[0])
        self._find = FaceFinder(
            self._align.detector,
            place,
            mesh=True,
            min_size=self._align.min_size,
            workers=default_workers(),
        )
        self._region = load_region(region_model, place)
        self._engine = EmbedEngine(recogniser, flip=flip)

    @property
    def dim(self) -> int:
        """D, the length of an embedding."""
        return self.card.embedding_dim or 0

    @property
    def origin(self) -> dict[str, Any]:
        """What embedding files say of how their vectors were made."""
        from mfrkit.stages.embed import origin

        return {
            **origin(self.card, flip=self.flip),
            "mask_model_sha256": self._region.card.sha256,
            "alignment": f"{self._align.detector}+mesh",
        }

    @property
    def decided_by(self) -> ModelCard:
        """The card whose thresholds count: without flip averaging, one that has none."""
        return self.card if self.flip else replace(self.card, thresholds={})

    def faces(self, photo: Photo) -> list[PhotoFace]:
        """Find all faces of a photo.

        Args:
            photo: picture file or RGB (H, W, 3) uint8.

        Returns:
            The faces, the large one near the middle first, then by size; none if none is found.

        Raises:
            InputError: not a readable picture.
            ShapeError: another kind of array.
        """
        return self.faces_of([pixels_of(photo)])[0]

    def faces_of(self, photos: Sequence[NDArray[np.uint8]]) -> list[list[PhotoFace]]:
        """Find all faces of several photos at once, (H, W, 3) uint8 RGB each; see `faces`."""
        found = self._find(photos, self._choose)
        cut = [self._cut(p, each.chosen) for p, each in zip(photos, found, strict=True)]
        complete = iter(self._completed([crop for crops in cut for crop in crops]))
        return [[next(complete) for _ in crops] for crops in cut]

    def aligned(self, crops: Sequence[NDArray[np.uint8]]) -> list[PhotoFace]:
        """Take crops that are aligned already, (S, S, 3) uint8 RGB each, for one face each.

        Raises:
            InputError: a crop is not of the model's input size.
        """
        for crop in crops:
            if crop.shape[:2] != self._size:
                raise InputError(f"not a {self._size} crop: {crop.shape[1]}x{crop.shape[0]}")
        side = self._size[0]
        box, points = np.array([0, 0, side, side], np.float32), template(side).astype(np.float32)
        return self._completed([_Crop(Face(box, 1.0, points), crop) for crop in crops])

    def embed(
        self, photos: Photo | Iterable[Photo], *, missing: Literal["raise", "nan"] = "raise"
    ) -> NDArray[np.float32]:
        """Embed the main face of each photo.

        Args:
            photos: picture files or RGB arrays (H, W, 3) uint8; one alone is one photo.
            missing: what to do about a photo without a face: `raise`, or a row of `nan`.

        Returns:
            (N, D) float32 of unit norm; `a @ b.T` are similarities.

        Raises:
            InputError: not a readable picture, or no face on one.
            ShapeError: another kind of array.
        """
        each = as_list(photos)
        vectors = np.full((len(each), self.dim), np.nan, np.float32)
        for start in range(0, len(each), _BATCH):
            some = each[start : start + _BATCH]
            for place, faces in enumerate(self.faces_of([pixels_of(p) for p in some]), start):
                if faces:
                    vectors[place] = faces[0].embedding
                elif missing == "raise":
                    raise InputError(f"{name_of(each[place], place)}: no face found")
        return vectors

    def compare(
        self,
        first: Photo | PhotoFace,
        second: Photo | PhotoFace,
        *,
        fmr: float = DEFAULT_FMR,
        threshold: float | None = None,
    ) -> Comparison:
        """Decide whether two photos show one person.

        Args:
            first: photo, of which the main face counts, or a face of `faces`.
            second: likewise.
            fmr: share of pairs of two people that may be taken for one, in (0, 1); the card has
                the threshold for it, for these masked states.
            threshold: least similarity of one person, instead of the card's.

        Raises:
            InputError: not a readable picture, no face on one, or a rate or threshold that
                cannot be.
            ShapeError: another kind of array.
        """
        decider = Decider(self.decided_by, fmr, threshold)
        one, other = (
            photo if isinstance(photo, PhotoFace) else self._main_face(photo, place)
            for place, photo in enumerate((first, second))
        )
        return compare_faces(one, other, decider)

    def enrol(
        self,
        gallery: "str | Path | Mapping[str, Photo | Sequence[Photo]]",
        *,
        index: str | Path | None = None,
    ) -> "Gallery":
        """Make a template of each person of a gallery.

        Args:
            gallery: a folder (one for each person in it, or a photo for each), a manifest, an
                embedding file, or a mapping of names to photos.
            index: where the embeddings of a folder or manifest are kept and looked up; None:
                beside it, `staff.index.h5` for `staff`.

        Raises:
            InputError: nothing there, nobody with a usable face, or embeddings of another model.
        """
        from mfrkit.recognition.gallery_index import enrol

        if isinstance(gallery, Mapping):
            return self._enrol_photos(gallery)
        place = None if index is None else Path(index)
        return enrol(str(gallery), self.card, self, Console(-1), index=place)

    def search(
        self,
        gallery: "Gallery | str | Path | Mapping[str, Photo | Sequence[Photo]]",
        shots: "str | Path | Iterable[Photo]",
        *,
        fpir: float | None = None,
        fmr: float | None = None,
        threshold: float | None = None,
    ) -> "list[Answer]":
        """Say who is on photos.

        Args:
            gallery: of `enrol`, or what it takes.
            shots: a picture, folder or manifest, or photos; each may show several faces.
            fpir: share of strangers that may be taken for somebody, 0.01 unless given.
            fmr: share of single comparisons with strangers that may match, instead.
            threshold: least similarity to a person, instead of the card's.

        Returns:
            An answer for each face, in order, and for each photo without one.

        Raises:
            InputError: as `enrol`, nothing to search, or a rate that cannot be.
            ShapeError: an array of another kind.
        """
        from mfrkit.io.source import open_source
        from mfrkit.recognition.gallery import Gallery, answer_all, probes_seen, search_decider

        known = gallery if isinstance(gallery, Gallery) else self.enrol(gallery)
        decider, _ = search_decider(
            self.decided_by, len(known), fpir=fpir, fmr=fmr, threshold=threshold
        )
        if isinstance(shots, str | Path):
            pictures = read_items(open_source(str(shots)), self)
        else:
            pictures = read_photos(shots)
        return list(answer_all(known, probes_seen(look(pictures, self)), decider))

    def _enrol_photos(self, people: "Mapping[str, Photo | Sequence[Photo]]") -> "Gallery":
        from mfrkit.recognition.gallery import pooled

        keys, names, faces, skipped = [], [], [], {}
        for name, photos in people.items():
            for seen in look(read_photos(as_list(photos)), self):
                key = f"{name}/{seen.key}"
                if not seen.faces:
                    skipped[key] = seen.reason or ""
                    continue
                keys.append(key)
                names.append(name)
                faces.append(seen.faces[0])
        vectors = np.array([face.embedding for face in faces], np.float32).reshape(-1, self.dim)
        masked = np.array([face.masked for face in faces], np.int8)
        return pooled(keys, names, vectors, masked, skipped)

    def _main_face(self, photo: Photo, place: int) -> PhotoFace:
        faces = self.faces(photo)
        if not faces:
            raise InputError(f"{name_of(photo, place)}: no face found")
        return faces[0]

    def _choose(self, faces: Sequence[Face], size: tuple[int, int]) -> list[Face]:
        least, side = self._align.least_score, self._align.min_size
        by_area = select(faces, "all", size, min_score=least, min_size=side)
        main = select(by_area, "center", size)
        return [*main, *(face for face in by_area if face is not main[0])]

    def _cut(self, photo: NDArray[np.uint8], faces: Sequence[Face]) -> list[_Crop]:
        from mfrkit.stages.find_faces import fit_crop

        crops = []
        for face in faces:
            try:
                matrix, _ = fit_crop(face, self._find.mean, self._align.size, 0.0)
            except InputError:  # points in one place: nothing that could be compared
                continue
            crops.append(_Crop(face, warp(photo, matrix, self._align.size)))
        return crops

    def _completed(self, found: Sequence[_Crop]) -> list[PhotoFace]:
        """Embed faces and look at what covers them."""
        import torch

        from mfrkit.models.region import is_masked

        done = []
        for start in range(0, len(found), _BATCH):
            some = found[start : start + _BATCH]
            crops = np.stack([each.pixels for each in some])
            tensor = torch.from_numpy(crops).to(self._region.mean.device)
            region = self._region.find(tensor.permute(0, 3, 1, 2).float() / 255)
            masked = is_masked(region).tolist()
            covers = (region[:, 0] * 255).round().byte().cpu().numpy()
            vectors, norms = self._engine(crops)
            done += [
                PhotoFace(
                    box=face.box,
                    score=face.score,
                    points=face.points,
                    crop=crop,
                    cover=cover,
                    masked=worn,
                    embedding=vector,
                    norm=float(norm),
                )
                for (face, crop), cover, worn, vector, norm in zip(
                    some, covers, masked, vectors, norms, strict=True
                )
            ]
        return done


def compare_faces(first: PhotoFace, second: PhotoFace, decider: Decider) -> Comparison:
    """Compare two faces and hold their similarity against the threshold for their masks."""
    similarity = float(first.embedding @ second.embedding)
    return Comparison(first, second, similarity, decider.threshold(first.masked, second.masked))
