"""Turn the bundled portraits by warping them over the head model, and mask them.

    python examples/turned_faces.py turned.jpg

Each portrait is seen from several sides, without its hair; what lies behind the head is blurred.
"""

import dataclasses
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from mfrkit.masks.head import pixel_axes, pixels_to_sheet, pose_columns, sheet_to_pixels
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.pose import fit_pose
from mfrkit.masks.renderer import MaskRenderer, mask_pictures
from mfrkit.masks.spec import sample_spec
from mfrkit.pages.contact_sheet import Cell, write_contact_sheet
from mfrkit.stages.portraits import load_portraits

YAWS = (-0.5, -0.25, 0.25, 0.5)
KINDS = {"surgical": "blue", "kn95": "white", "cloth": "red,navy"}
FACE = np.array([[-0.46, 0.0], [0.46, 0.0], [0.0, 0.575], [-0.4, 1.01], [0.4, 1.01]])


def turn(picture, points, yaw):
    """The portrait turned by `yaw` radians, and where its five points went."""
    plain = fit_pose(points[None])
    turned = dataclasses.replace(plain, yaw=plain.yaw + yaw)
    side = picture.shape[0]
    place = {k: torch.tensor(v)[:, None, None] for k, v in pose_columns(turned).items()}
    rows, columns = pixel_axes(slice(0, side), slice(0, side), torch.device("cpu"))
    sheet = pixels_to_sheet(place, rows.double(), columns.double())
    angle = np.arcsin(np.clip(sheet.sine[0].numpy().ravel(), -1, 1))
    source = sheet_to_pixels(plain, sheet.y[0].numpy().ravel(), angle)[0]
    source = source.reshape(side, side, 2).astype(np.float32)
    warped = cv2.remap(picture, source[..., 0], source[..., 1], cv2.INTER_CUBIC,
                       borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    head = np.clip(sheet.limb[0].numpy() * 14, 0, 1) * (np.abs(sheet.sine[0].numpy()) < 1)
    head *= np.clip((sheet.y[0].numpy() + 0.75) * 4, 0, 1)  # the model has no crown
    head = cv2.GaussianBlur(head.astype(np.float32), (0, 0), 2.5)[..., None]
    behind = cv2.GaussianBlur(picture, (0, 0), 9)
    angles = np.arcsin(FACE[:, 0] / 1.13)
    moved = sheet_to_pixels(turned, FACE[:, 1], angles)[0]
    return (head * warped + (1 - head) * behind).astype(np.uint8), moved


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: turned_faces.py SHEET.jpg")
    renderer, cells = MaskRenderer(), []
    for (kind, color), (picture, points) in zip(KINDS.items(), load_portraits(), strict=True):
        for yaw in YAWS:
            face, moved = turn(picture, points, yaw)
            spec = sample_spec(3, f"{kind}{yaw}", MaskOptions.parse(kind, color, jitter=0.5))
            masked, _ = mask_pictures(renderer, face[None], moved[None].astype(np.float32), [spec])
            cells.append(Cell(masked[0], f"{kind}, {np.degrees(yaw):+.0f}°"))
    write_contact_sheet(Path(sys.argv[1]), cells, columns=len(YAWS), side=160)


if __name__ == "__main__":
    main()
