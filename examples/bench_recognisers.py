"""Time recognisers side by side, as `mfrkit embed` runs them on one thread.

    python examples/bench_recognisers.py CROPS [--model arcface] [--model maskinv] [--count 128]
        [--rounds 5] [--no-flip]

CROPS are crops of 112x112; whether they are masked matters to models that look for masks. Models
take turns, so that whatever else the machine does slows all alike; the first round warms up and is
not counted. Without --model, all that are bundled, and the generator before the teacher.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from mfrkit.io.images import decode_image
from mfrkit.io.source import open_source
from mfrkit.models.cards import BUNDLED
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.loading import load_recogniser
from mfrkit.models.registry import count_parameters, read_card


def read_crops(source, count):
    """Evenly spread crops, (B, H, W, 3)."""
    items = [item for item in open_source(source) if item.path is not None]
    chosen = items[:: max(1, len(items) // count)][:count]
    return np.stack([decode_image(item.path.read_bytes()) for item in chosen])


def measure(engines, crops, rounds):
    """Processor seconds a face of each model, the median over rounds."""
    spent = {name: [] for name in engines}
    for turn in range(rounds + 1):
        for name, engine in engines.items():
            start = time.process_time()
            engine(crops)
            if turn:
                spent[name].append((time.process_time() - start) / len(crops))
    return {name: statistics.median(times) for name, times in spent.items()}


def describe(model):
    """Parameters in millions, and megabytes of the file, of a model in one file."""
    if "+" in model:
        return "", ""
    card, header, path = read_card(model)
    return f"{count_parameters(card, header) / 1e6:.2f} M", f"{path.stat().st_size / 1e6:.1f} MB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("crops")
    parser.add_argument("--model", action="append")
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-flip", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundled = [name for name in BUNDLED if read_card(name)[0].task == "recognition"]
    models = arguments.model or [*bundled, "completion+arcface"]
    engines = {
        name: EmbedEngine(load_recogniser(name), flip=not arguments.no_flip, workers=1)
        for name in models
    }
    times = measure(engines, read_crops(arguments.crops, arguments.count), arguments.rounds)
    for name, seconds in times.items():
        parameters, size = describe(name)
        print(f"{name:<20}{parameters:>9}{size:>9}{1 / seconds:8.1f} faces per processor second")


if __name__ == "__main__":
    main()
