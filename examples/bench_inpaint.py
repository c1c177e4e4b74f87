"""Time the parts of `mfrkit inpaint` on one thread: processor milliseconds a face.

    python examples/bench_inpaint.py MASKED [--model completion] [--region-model region]
        [--count 128]

MASKED are masked crops of 112x112. Parts take turns, batch by batch, so that whatever else the
machine does slows all alike; the first batch warms up and is not counted.
"""

import argparse
import time
from collections import Counter

import cv2
import numpy as np
import torch

from mfrkit.io.images import decode_image, encode_image
from mfrkit.io.source import open_source
from mfrkit.masks.renderer import to_uint8
from mfrkit.models.region import load_region
from mfrkit.models.registry import load_for_task
from mfrkit.stages.flow import batched

BATCH = 16


@torch.inference_mode()
def measure(files, finder, generator):
    """Processor seconds of each part, summed over the faces."""
    spent = Counter()
    for turn, part in enumerate(batched([files[0]] * BATCH + files, BATCH)):
        marks = [time.process_time()]
        pictures = np.stack([decode_image(file) for file in part])
        faces = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        marks.append(time.process_time())
        region = finder.find(faces, straps=True)
        marks.append(time.process_time())
        completed = to_uint8(generator(faces, region)).permute(0, 2, 3, 1).contiguous().numpy()
        marks.append(time.process_time())
        for picture in completed:
            encode_image(picture, ".png")
        marks.append(time.process_time())
        if turn:
            spent.update(
                dict(zip(("read", "region", "completion", "write"), np.diff(marks), strict=True))
            )
    return spent


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("masked")
    parser.add_argument("--model", default="completion")
    parser.add_argument("--region-model", default="region")
    parser.add_argument("--count", type=int, default=128)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    items = [item for item in open_source(arguments.masked) if item.path is not None]
    chosen = items[:: max(1, len(items) // arguments.count)][: arguments.count]
    generator, _ = load_for_task(arguments.model, "completion", torch.device("cpu"))
    generator.to(memory_format=torch.channels_last)
    files = [item.path.read_bytes() for item in chosen]
    spent = measure(files, load_region(arguments.region_model), generator)
    total = sum(spent.values())
    for name, seconds in spent.items():
        print(f"{name:<12}{1e3 * seconds / len(files):6.2f} ms a face  {seconds / total:4.0%}")
    print(f"{'whole':<12}{len(files) / total:6.1f} faces per processor second")


if __name__ == "__main__":
    main()
