"""Show that `mfrkit embed` needs the same memory for many crops as for few.

Generates crops, embeds them in processes of their own, and prints each one's peak memory.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

# A child's own report of its peak: `ru_maxrss` of all children would mix the runs.
RUNNER = """
import resource, sys
from mfrkit.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def make_crops(folder: Path, count: int) -> None:
    """Write `count` smooth random crops, a thousand to a folder."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (500, 6, 6, 3), dtype=np.uint8)
    pictures = [cv2.imencode(".jpg", cv2.resize(c, (112, 112)))[1].tobytes() for c in coarse]
    for number in range(count):
        parent = folder / f"{number // 1000:04d}"
        parent.mkdir(parents=True, exist_ok=True)
        (parent / f"{number:07d}.jpg").write_bytes(pictures[number % len(pictures)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[10_000, 100_000])
    counts = parser.parse_args().counts
    print("crops\tpeak MB\tseconds\tfaces/s")
    with tempfile.TemporaryDirectory() as scratch:
        for count in counts:
            crops = Path(scratch) / str(count)
            make_crops(crops, count)
            out = Path(scratch) / f"{count}.h5"
            command = [sys.executable, "-c", RUNNER, "embed", crops, "-o", out, "--no-flip", "-q"]
            started = time.perf_counter()
            run = subprocess.run(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True
            )
            seconds = time.perf_counter() - started
            peak = int(run.stderr.split()[-1]) / 1024  # kibibytes on Linux
            print(f"{count}\t{peak:.0f}\t{seconds:.0f}\t{count / seconds:.0f}", flush=True)


if __name__ == "__main__":
    main()
