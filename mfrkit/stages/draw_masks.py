"""The work of `synth-mask` on one batch: decode, draw, encode."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mfrkit.io.images import write_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.masks.catalog import TEMPLATE, WORN
from mfrkit.masks.pictures import mask_pictures
from mfrkit.masks.region import outline_polygon
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.masks.sampling import sample_spec
from mfrkit.masks.spec import MaskSpec
from mfrkit.masks.template import TemplateFile
from mfrkit.masks.worn import WornFile, WornMasks, place_of
from mfrkit.stages.contact_sheet import Cell
from mfrkit.stages.mask_book import MaskBook, variant_key
from mfrkit.stages.mask_faces import MaskFaces
from mfrkit.stages.mask_inputs import Subject, load_subjects
from mfrkit.stages.mask_photos import mask_photo
from mfrkit.stages.sink import source_name
from mfrkit.stages.synth_mask_options import SynthMaskOptions

REGION_FOLDER, EXACT_FOLDER = "_regions", "_regions_exact"
PREVIEW_FACES = 24


@dataclass
class _Job:
    """One picture to be written: one variant of one subject."""

    subject: Subject
    key: str
    specs: list[MaskSpec]
    picture: NDArray[np.uint8] | None = None
    region: NDArray[np.uint8] | None = None
    own_regions: Sequence[NDArray[np.uint8]] = ()


@dataclass
class Drawn:
    """What a batch gave.

    Attributes:
        records: of each input, in input order.
        preview: some of the run's first faces before and after, by the input's position.
    """

    records: list[list[Record]] = field(default_factory=list)
    preview: dict[int, tuple[Cell, Cell]] = field(default_factory=dict)


class MaskDrawer:
    """Turns a batch of inputs into masked files; several threads may share it.

    Args:
        options: of the run.
        device: where to draw.

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

    def __call__(self, items: list[Item]) -> Drawn:
        """Mask the faces of some inputs."""
        subjects = self._subjects(items)
        jobs = [self._jobs(subject) for subject in subjects]
        ready = [job for group in jobs for job in group]
        for job in ready:
            if job.subject.is_photo:
                job.picture, job.region, job.own_regions = mask_photo(
                    self._renderer, job.subject.picture, job.subject.places, job.specs
                )
        crops = [job for job in ready if not job.subject.is_photo]
        for shape in sorted({job.subject.picture.shape for job in crops}):
            self._draw([job for job in crops if job.subject.picture.shape == shape])
        drawn = Drawn()
        for subject, group in zip(subjects, jobs, strict=True):
            records = [self._save(job, drawn.preview) for job in group]
            drawn.records.append(records or [_given_up(subject)])
        return drawn

    def close(self) -> None:
        """Close the manifest that masks are taken from."""
        if self._book is not None:
            self._book.close()

    def _subjects(self, items: list[Item]) -> list[Subject]:
        """Decode inputs and find their faces, as the run did whose masks are worn again."""
        book, detector = self._book, self._options.detector
        early = [book is not None and book.is_early(variant_key(item, 1)) for item in items]
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
            key, count = variant_key(subject.item, variant), len(subject.places)
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

    def _save(self, job: _Job, preview: dict[int, tuple[Cell, Cell]]) -> Record:
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
        place = job.subject.item.position
        if place < PREVIEW_FACES and job.key == record.key:
            preview[place] = (
                Cell(job.subject.picture, record.key),
                Cell(job.picture, f"{block['type']} {job.specs[0].texture}"),
            )
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
    name, workers = options.detector, options.run.workers
    with_mesh = name not in ("face-alignment", "none")
    now = MaskFaces("yunet" if name == "auto" else name, device, mesh=with_mesh, workers=workers)
    return now, MaskFaces("mtcnn" if name == "auto" else name, device, mesh=False)


def _given_up(subject: Subject) -> Record:
    record = subject.item.record.skipped(subject.reason or "nothing drawn")
    return replace(record, source=source_name(subject.item))
