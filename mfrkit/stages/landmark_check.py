"""Measure a mesh network while it trains: how far its vertices are from those of the bare face."""

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from mfrkit.faces.mesh import eye_distance, upper_part
from mfrkit.masks.catalog import BARE
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.methods.landmarks import Teacher, look
from mfrkit.methods.looks import WIDE, Jitter, regions_of
from mfrkit.models.facemesh import FaceMesh
from mfrkit.stages.flow import batched
from mfrkit.stages.held_faces import read_faces, stack_crops, wear_masks
from mfrkit.stages.train_faces import Faces
from mfrkit.stages.wide_crops import read_wide

_BATCH = 32
_SEED = 7  # of the regions: the same in every check of every run


class LandmarkCheck:
    """Measure networks on the same faces, under the same masks, at the same places.

    Args:
        faces: held out of the training; unreadable ones are left out.
        teacher: what it says of the bare faces is taken for true.
        masks: sorts of mask by name.
        jitter: of the detector's regions.
        device: everything computes on.
        renderer: draws the masks; None for one without masks of the user's own.

    Raises:
        InputError: not one face can be read.
    """

    def __init__(
        self,
        faces: Faces,
        *,
        teacher: Teacher,
        masks: Mapping[str, MaskOptions],
        jitter: Jitter,
        device: torch.device,
        renderer: MaskRenderer | None = None,
    ) -> None:
        self._faces = read_faces(faces, (WIDE, WIDE), read_wide)
        self._teacher, self._masks, self._jitter = teacher, masks, jitter
        self._device = device
        self._renderer = (renderer or MaskRenderer()).to(device)

    def __call__(self, student: FaceMesh, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure a copy of a network; the network itself is not touched.

        Args:
            student: the network.
            weights: what to measure it with, as its `state_dict`.

        Returns:
            Mean distances between vertices, as shares of the distance between the eyes, each with
            `check_` before it: `upper` and `hidden` vertices after one look, `upper_twice` and
            `hidden_twice` after two, after the name of every sort of mask, bare faces as `none`;
            `error`, the mean of all `upper`.
        """
        network = copy.deepcopy(student).requires_grad_(False).eval()
        network.load_state_dict(dict(weights))
        figures: dict[str, list[Tensor]] = {}
        for name, errors in self._errors(network):
            figures.setdefault(f"check_{name}", []).append(errors)
        means = {name: float(torch.cat(parts).mean()) for name, parts in figures.items()}
        once = [value for name, value in means.items() if name.endswith("_upper")]
        return {**means, "check_error": sum(once) / len(once)}

    @torch.inference_mode()
    def _errors(self, network: FaceMesh) -> Iterator[tuple[str, Tensor]]:
        """Yield names of figures and (B,) errors."""
        generator = torch.Generator().manual_seed(_SEED)
        for faces in batched(self._faces, _BATCH):
            wide = stack_crops(faces, self._device)
            true = self._teacher.targets(wide).meshes
            unit = torch.from_numpy(eye_distance(true.cpu().numpy())).to(true)
            around = self._jitter.draw(regions_of(true, self._teacher.usual), generator)
            shown = {BARE: wide} | {
                name: wear_masks(self._renderer, faces, wide, masks).masked
                for name, masks in self._masks.items()
            }
            upper = torch.from_numpy(upper_part(network.mean.cpu().numpy()))
            for name, pictures in shown.items():
                regions = around
                for suffix in ("", "_twice"):
                    meshes, _ = look(network, pictures, regions)
                    apart = torch.linalg.vector_norm((meshes - true)[..., :2], dim=2)
                    apart = apart / unit[:, None]
                    yield f"{name}_upper{suffix}", apart[:, upper].mean(1)
                    yield f"{name}_hidden{suffix}", apart[:, ~upper].mean(1)
                    regions = regions_of(meshes, self._teacher.usual)
