"""The work of `synth-mask` on one batch: decode, draw, encode.

On full photos each face is drawn in a window of its own and laid back. The masks that another run
drew are looked up by key: its manifest is enough to draw them again.
"""

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.images import write_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import MANIFEST, Record, next_line, parse_line
from mfrkit.masks.camera import BLOCK
from mfrkit.masks.kinds import TEMPLATE, WORN
from mfrkit.masks.renderer import MaskRenderer, mask_pictures, outline_polygon
from mfrkit.masks.spec import MaskSpec, sample_spec
from mfrkit.masks.template import TemplateFile
from mfrkit.masks.worn import WornFile, WornMasks, place_of
from mfrkit.stages.mask_faces import MaskFaces, Place, Subject, load_subjects
from mfrkit.stages.options import SynthMaskOptions
from mfrkit.stages.sink import source_name


class MaskBook:
    """Specs of a manifest of `synth-mask`; only their places in the file are kept in memory.

    Raises:
        InputError: no such manifest, or folder of one, or a line that is no record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / MANIFEST if path.is_dir() else path
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such manifest to take masks from")
        self._places: dict[str, int] = {}
        self._lock = threading.Lock()
        self._file = self.path.open("rb")
        start = 0
        for number in itertools.count(1):
            where = f"{self.path}, line {number}"
            line = next_line(self._file, where)
            if not line:
                break
            if line.strip():
                self._places[Record.from_json(parse_line(line, where), where).key] = start
            start += len(line)

    def specs(self, key: str, faces: int) -> list[MaskSpec] | None:
        """Return the masks of a picture that has so many faces now, one each.

        None if the manifest has no mask for it, or for another number of faces.

        Raises:
            InputError: the record holds no spec that this version can draw.
        """
        found = self._faces(key)
        if found is None or len(found) != faces:
            return None
        try:
            return [MaskSpec.from_json(each.get("spec") or {}) for each in found]
        except InputError as error:
            raise InputError(f"{self.path}, {key}: {error}") from error

    def is_early(self, key: str) -> bool:
        """Whether a picture was masked before manifests told what masks were fitted to."""
        return not any("fit" in face for face in self._faces(key) or [{"fit": None}])

    def _faces(self, key: str) -> list[dict[str, Any]] | None:
        """Return the mask blocks of a picture's faces; None if there is no record of it."""
        place = self._places.get(key)
        if place is None:
            return None
        with self._lock:
            self._file.seek(place)
            line = self._file.readline()
        block = parse_line(line, str(self.path)).get("mask")
        return _blocks(block) if isinstance(block, dict) else []

    def close(self) -> None:
        """Close the manifest."""
        self._file.close()


def _blocks(block: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a mask block's faces: its list, or itself."""
    faces = block.get("faces")
    if not isinstance(faces, list):
        return [block]
    return [each for each in faces if isinstance(each, dict)]


def _variant_key(item: Item, variant: int) -> str:
    """Return the key of the n-th masked version of an input; the first keeps the input's own."""
    return item.record.key if variant == 1 else f"{item.record.key}.mask{variant}"


_REACH = 3.4  # half side of a window in distances between eyes or from eyes to mouth


def _mask_photo(
    renderer: MaskRenderer,
    photo: NDArray[np.uint8],
    places: Sequence[Place],
    specs: Sequence[MaskSpec],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[NDArray[np.uint8]]]:
    """Mask every face of a photo, (H, W, 3) uint8 RGB, the smallest (farthest) first.

    Returns the masked photo; (H, W) uint8, how much of each pixel is covered; and each face's own
    region in that shape, in the order of `places`.
    """
    masked = photo.copy()
    regions = [np.zeros(photo.shape[:2], np.uint8) for _ in places]
    for at in sorted(range(len(places)), key=lambda i: _size(places[i])):
        box = _window(places[at], photo.shape)
        window = masked[box]
        if 0 in window.shape:
            continue
        origin = np.array([box[1].start, box[0].start], np.float32)
        place = places[at]
        points, landmarks = place.points - origin, place.landmarks - origin
        drawn, region = mask_pictures(
            renderer, window[None], points[None], [specs[at]], landmarks[None], place.turn[None]
        )
        masked[box], regions[at][box] = drawn[0], region[0]
    return masked, np.maximum.reduce(regions), regions


def _size(place: Place) -> float:
    """Return the face's size in pixels: a turn shortens one of two lengths, not both."""
    left, right, _, mouth_left, mouth_right = place.points.astype(np.float64)
    across = np.hypot(*(right - left))
    down = np.hypot(*((mouth_left + mouth_right - left - right) / 2))
    return float(max(across, down))


def _window(place: Place, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the part of a photo that a mask on the face, or the light on it, can touch."""
    center = place.points.mean(axis=0).astype(np.float64)
    reach = _REACH * _size(place)
    # On the photo's JPEG grid, which the renderer looks for from the window's corner.
    corner = np.floor((center - reach) / BLOCK) * BLOCK
    low = np.clip(corner, 0, [shape[1], shape[0]]).astype(int)
    high = np.clip(np.ceil(center + reach), 0, [shape[1], shape[0]]).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


REGION_FOLDER, EXACT_FOLDER = "_regions", "_regions_exact"


@dataclass
class _Job:
    """One picture to be written: one variant of one subject."""

    subject: Subject
    key: str
    specs: list[MaskSpec]
    picture: NDArray[np.uint8] | None = None
    region: NDArray[np.uint8] | None = None
    own_regions: Sequence[NDArray[np.uint8]] = ()


class MaskDrawer:
    """Turns a batch of inputs into masked files; several threads may share it.

    Raises:
        InputError: the template or the manifest to draw from cannot be used.
    """

    def __init__(self, options: SynthMaskOptions, device: torch.device) -> None:
        self._options = options
        self._wanted = options.wanted()
        self._device = device
        template = TemplateFile.read(options.template) if options.template else None
        self._template = template.describe() if template else {}
        self._worn = WornFile.read(options.worn_from) if options.worn_from else None
        self._worn_from = self._worn.describe() if self._worn else {}
        worn = WornMasks(self._worn.planes) if self._worn else None
        self._renderer = MaskRenderer(template, worn).to(device).eval()
        self._book = MaskBook(options.specs) if options.specs else None
        self._faces, self._early_faces = _load_finders(options, device)

    def __call__(self, items: list[Item]) -> list[list[Record]]:
        """Mask the faces of some inputs; return the records each gave."""
        subjects = self._subjects(items)
        jobs = [self._jobs(subject) for subject in subjects]
        ready = [job for group in jobs for job in group]
        for job in ready:
            if job.subject.is_photo:
                job.picture, job.region, job.own_regions = _mask_photo(
                    self._renderer, job.subject.picture, job.subject.places, job.specs
                )
        crops = [job for job in ready if not job.subject.is_photo]
        for shape in sorted({job.subject.picture.shape for job in crops}):
            self._draw([job for job in crops if job.subject.picture.shape == shape])
        return [
            [self._save(job) for job in group] or [_given_up(subject)]
            for subject, group in zip(subjects, jobs, strict=True)
        ]

    def close(self) -> None:
        """Close the manifest that masks are taken from."""
        if self._book is not None:
            self._book.close()

    def _subjects(self, items: list[Item]) -> list[Subject]:
        """Decode inputs and find their faces, as the run did whose masks are worn again."""
        book, detector = self._book, self._options.detector
        early = [book is not None and book.is_early(_variant_key(item, 1)) for item in items]
        subjects: dict[int, Subject] = {}
        for finder, which in ((self._faces, False), (self._early_faces, True)):
            chosen = [
                item for item, is_early in zip(items, early, strict=True) if is_early == which
            ]
            for subject in load_subjects(chosen, detector, finder, early=which):
                subjects[subject.item.position] = subject
        return [subjects[item.position] for item in items]

    def _jobs(self, subject: Subject) -> list[_Job]:
        """Decide the masks of every variant; none for a subject that is given up."""
        jobs: list[_Job] = []
        for variant in range(1, self._options.variants + 1):
            if subject.reason is not None:
                return []
            key, count = _variant_key(subject.item, variant), len(subject.places)
            if self._book is not None:
                specs = self._book.specs(key, count)
                if specs is None:
                    subject.reason = f"no mask for it in {self._book.path.name}"
                    return []
            else:
                names = [key, *(f"{key}.face{n}" for n in range(2, count + 1))]
                specs = [sample_spec(self._options.seed, n, self._wanted) for n in names]
            jobs.append(_Job(subject, key, specs))
        return jobs

    def _draw(self, jobs: list[_Job]) -> None:
        """Draw on crops of one shape together."""
        pictures = np.stack([job.subject.picture for job in jobs])
        points = np.stack([job.subject.places[0].points for job in jobs])
        landmarks = np.stack([job.subject.places[0].landmarks for job in jobs])
        turns = np.stack([job.subject.places[0].turn for job in jobs])
        specs = [job.specs[0] for job in jobs]
        masked, regions = mask_pictures(self._renderer, pictures, points, specs, landmarks, turns)
        for job, picture, region in zip(jobs, masked, regions, strict=True):
            job.picture, job.region, job.own_regions = picture, region, [region]

    def _save(self, job: _Job) -> Record:
        record, folder, options = job.subject.item.record, self._options.output, self._options
        if job.picture is None or job.region is None:
            return _given_up(job.subject)
        path = f"{job.key}.{options.image_format}"
        block = self._block(job)
        write_image(folder / path, job.picture)
        if options.region in ("soft", "both"):
            block["region"] = f"{REGION_FOLDER}/{job.key}.png"
            write_image(folder / block["region"], job.region)
        if options.region in ("exact", "both"):
            name = "region" if options.region == "exact" else "region_exact"
            base = REGION_FOLDER if options.region == "exact" else EXACT_FOLDER
            block[name] = f"{base}/{job.key}.png"
            write_image(folder / block[name], np.where(job.region > 127, 255, 0).astype(np.uint8))
        return replace(
            record,
            key=job.key,
            path=path,
            source=source_name(job.subject.item),
            blocks={**record.blocks, "mask": block},
        )

    def _block(self, job: _Job) -> dict[str, Any]:
        """Return the manifest's mask block; that of a photo lists its faces."""
        faces = [
            self._face_block(spec, region)
            for spec, region in zip(job.specs, job.own_regions, strict=True)
        ]
        for face, place in zip(faces, job.subject.places, strict=True):
            face["fit"] = place.fit
            if job.subject.is_photo or (place.meshed and job.subject.wants_mesh):
                face |= place.to_json()
        if not job.subject.is_photo:
            return faces[0]
        kinds = dict.fromkeys(spec.kind for spec in job.specs)
        return {"type": "+".join(kinds), "seed": self._options.seed, "faces": faces}

    def _face_block(self, spec: MaskSpec, region: NDArray[np.uint8]) -> dict[str, Any]:
        block: dict[str, Any] = {
            "type": spec.kind,
            "color": "#" + "".join(f"{round(255 * channel):02x}" for channel in spec.color),
            "texture": spec.texture,
            "coverage": spec.coverage,
            "seed": self._options.seed,
            "area": round(float((region > 127).mean()), 4),
            "polygon": outline_polygon(region, 127).tolist(),
            "spec": spec.to_json(),
        }
        if spec.kind == TEMPLATE:
            block["template"] = self._template
        if spec.kind == WORN and self._worn is not None:
            key = self._worn.keys[place_of(spec, len(self._worn.keys))]
            block["worn"] = self._worn_from | {"key": key}
        return block


def _load_finders(options: SynthMaskOptions, device: torch.device) -> tuple[MaskFaces, MaskFaces]:
    """Return what finds faces now, and what found those of manifests that name no fit."""
    name, workers = options.detector, options.run.threads
    with_mesh = name not in ("face-alignment", "none")
    now = MaskFaces("yunet" if name == "auto" else name, device, mesh=with_mesh, workers=workers)
    return now, MaskFaces("mtcnn" if name == "auto" else name, device, mesh=False)


def _given_up(subject: Subject) -> Record:
    record = subject.item.record.skipped(subject.reason or "nothing drawn")
    return replace(record, source=source_name(subject.item))
