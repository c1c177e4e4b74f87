"""Time `align` from JPEG to crop: default, MTCNN with five points, and facenet-pytorch's MTCNN.

    python examples/bench_align.py PHOTOS [--count 512] [--rounds 5] [--threads 2]

The contenders take turns, so that whatever else the machine does slows all alike; the ratio is the
median over the rounds. Then where a photo's time goes, each part alone on one core. facenet-pytorch
is no dependency of mfrkit (pip install --no-deps facenet-pytorch) and is left out where it is not
installed; it takes photos of one size only.
"""

import argparse
import importlib
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import torch

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.faces.detect import select
from mfrkit.faces.geometry import similarity_from_points, template, warp
from mfrkit.io.images import encode_image, read_image, write_image
from mfrkit.models.registry import load_network
from mfrkit.stages.align import align
from mfrkit.stages.find_faces import fit_crop, load_detector, load_mesh_finder
from mfrkit.stages.options import AlignOptions

BATCH, TOGETHER = 32, 8


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def link_photos(folder, count, into):
    """Link evenly spaced photos of the folder's commonest size."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    paths = paths[:: max(1, len(paths) // count)][:count]
    shapes = [read_image(path).shape for path in paths]
    common, _ = Counter(shapes).most_common(1)[0]
    chosen = [path for path, shape in zip(paths, shapes, strict=True) if shape == common]
    for number, path in enumerate(chosen):
        (into / f"{number:06d}{path.suffix}").symlink_to(path.resolve())
    return len(chosen)


def ours(detector, landmarks, threads):
    """The command's own work, without its start."""

    def run(photos, output):
        options = AlignOptions(
            str(photos), output, detector, landmarks, run=RunOptions(workers=threads)
        )
        align(options, Console(-1, passes_records=False))

    return run


def facenet(threads):
    """The other package's detector and five points, with our warp; None where it is missing."""
    try:
        reference = importlib.import_module("facenet_pytorch").MTCNN
    except ImportError:
        return None
    detector = reference(keep_all=True, min_face_size=40, device="cpu")

    def run(photos, output):
        paths = sorted(photos.iterdir())
        output.mkdir()
        for start in range(0, len(paths), BATCH):
            batch = [read_image(path) for path in paths[start : start + BATCH]]
            boxes, _, points = detector.detect(np.stack(batch), landmarks=True)
            for path, photo, some, faces in zip(paths[start:], batch, boxes, points, strict=False):
                if some is not None:
                    largest = int(np.argmax((some[:, 2:] - some[:, :2]).prod(1)))
                    matrix = similarity_from_points(faces[largest], template())
                    write_image(output / f"{path.stem}.png", warp(photo, matrix, 112))

    return run


def take_turns(contenders, photos, rounds):
    """Seconds by the clock and of the processor, (rounds, contenders, 2), after a warm-up."""
    taken = []
    for _ in range(rounds + 1):
        for run in contenders:
            with tempfile.TemporaryDirectory() as folder:
                before = time.perf_counter(), time.process_time()
                run(photos, Path(folder) / "crops")
                taken.append((time.perf_counter() - before[0], time.process_time() - before[1]))
    return np.array(taken).reshape(rounds + 1, len(contenders), 2)[1:]


def time_parts(paths):
    """Processor milliseconds a photo of each part, alone on one core."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    detector = load_detector("yunet", torch.device("cpu"), BATCH, 40)
    finder, mean = load_mesh_finder(torch.device("cpu"))
    network = load_network("facemesh")[0]

    def timed(function):
        start = time.process_time()
        result = function()
        return result, 1000 * (time.process_time() - start) / len(paths)

    photos, decoding = timed(lambda: [read_image(path) for path in paths])
    detector(photos[:1])
    found, detecting = timed(lambda: detector(photos))
    pairs = [
        (photo, face)
        for photo, faces in zip(photos, found, strict=True)
        for face in select(faces, "center", photo.shape[:2])
    ]
    shown, faces = zip(*pairs, strict=True)
    finder(shown[:TOGETHER], faces[:TOGETHER])
    meshes, fitting = timed(lambda: finder(shown, faces))
    squares = torch.rand(TOGETHER, 3, 192, 192)
    with torch.inference_mode():
        looks = [None] * (len(paths) // TOGETHER)
        _, plain = timed(lambda: [network(squares) for _ in looks])
        _, looking = timed(lambda: [finder.network(squares) for _ in looks])
    trios = list(zip(shown, faces, meshes, strict=True))
    crops, warping = timed(lambda: [cut(*trio, mean) for trio in trios])
    _, encoding = timed(lambda: [encode_image(crop, ".png") for crop in crops])
    return {
        "decode": decoding,
        "detect": detecting,
        "mesh": fitting,
        "  one look, plain network": plain,
        "  one look, as it is run": looking,
        "fit and warp": warping,
        "encode": encoding,
    }


def cut(photo, face, mesh, mean):
    face = type(face)(face.box, face.score, face.points, mesh=mesh)
    return warp(photo, fit_crop(face, mean, 112, 0.0)[0], 112)


def main():
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    contenders = {
        "yunet, mesh": ours("yunet", "mesh", arguments.threads),
        "mtcnn, five points": ours("mtcnn", "five", arguments.threads),
        "facenet-pytorch": facenet(arguments.threads),
    }
    contenders = {name: run for name, run in contenders.items() if run is not None}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder)
        count = link_photos(arguments.photos, arguments.count, photos)
        taken = take_turns(list(contenders.values()), photos, arguments.rounds)
        print(f"{count} photos, {arguments.threads} threads, {arguments.rounds} rounds")
        for place, name in enumerate(contenders):
            clock, processor = np.median(count / taken[:, place], axis=0)
            ratio = np.median(taken[:, place, 0] / taken[:, 0, 0])
            print(
                f"{name:<28} {clock:7.1f} photos/s, {processor:7.1f} a processor second, "
                f"{ratio:.2f} times the first one's time"
            )
        for name, milliseconds in time_parts(sorted(photos.iterdir())).items():
            print(f"{name:<28} {milliseconds:7.2f} ms of one core a photo")


if __name__ == "__main__":
    main()
