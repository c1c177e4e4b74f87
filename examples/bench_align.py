"""Compare the bundled detector with facenet-pytorch's MTCNN on a folder of photos.

    python examples/bench_align.py PHOTOS [--count 640] [--min-size 60] [--threads 2]

Both see the same decoded photos in the same batches, one after the other, so that whatever else the
machine does slows both alike; the ratio is the median over the batches. Photos of one size only:
facenet-pytorch takes no other batches. It is no dependency of mfrkit: pip install facenet-pytorch.
"""

import argparse
import importlib
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import mfrkit
from mfrkit.faces.detect import MTCNNDetector
from mfrkit.io.images import read_image
from mfrkit.models.mtcnn import MTCNN

WEIGHTS = Path(mfrkit.__file__).parent / "data" / "weights" / "mtcnn.safetensors"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=640)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--min-size", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def read_photos(folder, count):
    """Evenly spaced photos of the folder's commonest size."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not paths:
        sys.exit(f"bench_align: no photos in {folder}")
    photos = [read_image(path) for path in paths[:: max(1, len(paths) // count)][:count]]
    shape, _ = Counter(photo.shape for photo in photos).most_common(1)[0]
    return [photo for photo in photos if photo.shape == shape]


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def detect_all(reference, batch):
    return reference.detect(np.stack(batch), landmarks=True)


def largest(boxes):
    return int(np.argmax((boxes[:, 2:] - boxes[:, :2]).prod(1)))


def differences(ours, boxes, points):
    """Greatest coordinate difference of the largest face's box and points, pixels."""
    mine, theirs = largest(np.stack([face.box for face in ours])), largest(boxes)
    box = np.abs(ours[mine].box - boxes[theirs]).max()
    return box, np.abs(ours[mine].points - points[theirs]).max()


def main():
    arguments = parse_arguments()
    try:
        reference_class = importlib.import_module("facenet_pytorch").MTCNN
    except ImportError as error:
        sys.exit(f"bench_align: facenet-pytorch cannot be imported ({error})")
    torch.set_num_threads(arguments.threads)
    networks = MTCNN()
    networks.load_state_dict(load_file(WEIGHTS))
    detector = MTCNNDetector(networks, min_size=arguments.min_size)
    reference = reference_class(keep_all=True, min_face_size=arguments.min_size, device="cpu")

    photos = read_photos(arguments.photos, arguments.count)
    batches = [
        photos[i : i + arguments.batch_size] for i in range(0, len(photos), arguments.batch_size)
    ]
    detector(batches[0])
    reference.detect(np.stack(batches[0]), landmarks=True)
    seconds, same, with_face, deviations = [], 0, 0, []
    for batch in batches:
        ours, our_time = timed(detector, batch)
        (boxes, _, points), their_time = timed(detect_all, reference, batch)
        seconds.append((our_time, their_time))
        for i, faces in enumerate(ours):
            count = 0 if boxes[i] is None else len(boxes[i])
            same += count == len(faces)
            with_face += bool(faces)
            if faces and count:
                deviations.append(differences(faces, boxes[i], points[i]))
    report(len(photos), photos[0].shape, arguments, np.array(seconds), same, with_face, deviations)


def report(count, shape, arguments, seconds, same, with_face, deviations):
    ours, theirs = seconds.sum(0)
    box, points = np.array(deviations).T
    rows = [
        ("photos", f"{count} of {shape[1]}x{shape[0]}, faces from {arguments.min_size} pixels"),
        ("mfrkit", f"{count / ours:.1f} photos/s"),
        ("facenet-pytorch", f"{count / theirs:.1f} photos/s"),
        ("speed ratio", f"{np.median(seconds[:, 1] / seconds[:, 0]):.2f} (median of batches)"),
        ("with a face", f"{with_face / count:.2%}"),
        ("same number of faces", f"{same / count:.2%}"),
        ("largest face within 0.01 px", f"{np.mean(np.maximum(box, points) < 0.01):.2%}"),
        ("box difference", f"median {np.median(box):.1e}, max {box.max():.2f} px"),
        ("point difference", f"median {np.median(points):.1e}, max {points.max():.2f} px"),
    ]
    for name, value in rows:
        print(f"{name:<28} {value}")


if __name__ == "__main__":
    main()
