"""Kill mfrkit again and again, resume, and compare with a run that was left alone.

Every round kills one command, or one command of a pipe of three, by SIGKILL: at a random moment, or
right before its N-th rename or unlink. Then the same line runs with `--resume`, and its results
must be those of the undisturbed run: every picture and manifest to the byte, every row of an
embedding file. The commands are forked from a process that has loaded torch already, which most of
their time would go into; so this runs where there is fork.

Example: python examples/kill_campaign.py --photos photos --kills 200 --seed 1
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import NoReturn

import numpy as np

from mfrkit import cli
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.stages import align_worker, embed_worker, inpaint_worker, synth_mask_worker  # noqa: F401  # what the commands load
from mfrkit.stages.demo import PHOTOS
from mfrkit.stages.flow import in_order

ALIGN = ["align", "{photos}", "-o", "crops", "-b", "2", "-j", "2"]
LINES = {
    "align": [ALIGN],
    "align --select all": [[*ALIGN, "--select", "all"]],
    "synth-mask": [
        [
            "synth-mask",
            "{base}/crops",
            "-o",
            "masked",
            "--variants",
            "3",
            "--seed",
            "7",
            "-b",
            "2",
            "--preview",
            "masked.png",
        ]
    ],
    "inpaint": [
        ["inpaint", "{base}/masked", "-o", "completed", "-b", "2", "--preview", "completed.png"]
    ],
    "embed": [["embed", "{base}/masked", "-o", "e.h5", "--model", "arcface", "-b", "2"]],
    "pack": [["pack", "{base}/masked", "-o", "t.rec"]],
    "pack tar": [["pack", "{base}/masked", "-o", "t-{0..2}.tar"]],
    "unpack": [["unpack", "{base}/faces.bin", "-o", "faces"]],
    "align | embed | synth-mask": [
        ALIGN,
        ["embed", "-", "-o", "e.h5", "--model", "arcface", "-b", "2"],
        ["synth-mask", "-", "-o", "masked", "--seed", "7", "-b", "2"],
    ],
    "align | synth-mask | embed": [
        ALIGN,
        ["synth-mask", "-", "-o", "masked", "--seed", "7", "-b", "2"],
        ["embed", "-", "-o", "e.h5", "--model", "arcface", "-b", "2"],
    ],
}


@dataclass(frozen=True)
class Kill:
    """Which command of a line dies, and when: after some seconds, or before its n-th call."""

    victim: int
    seconds: float = 0.0
    call: int = 0


def main() -> None:
    """Run the campaign; the exit code is 1 if anything was lost, doubled or different."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="folder of photos")
    parser.add_argument("--kills", type=int, default=60, help="kills in all")
    parser.add_argument("--seed", type=int, default=0, help="of what dies when")
    parser.add_argument("--jobs", type=int, default=1, help="rounds side by side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        places = {"photos": str(options.photos.resolve()), "base": f"{folder}/base"}
        sys.exit(Campaign(Path(folder), places, options.seed, options.jobs).run(options.kills))


class Campaign:
    """Rounds of kills.

    Args:
        folder: to work in.
        places: what stands for names in braces.
        seed: of what dies when.
        jobs: rounds side by side.
    """

    def __init__(self, folder: Path, places: dict[str, str], seed: int, jobs: int) -> None:
        self._folder, self._places, self._seed, self._jobs = folder, places, seed, jobs
        self._whole: dict[str, dict[str, object]] = {}
        self._seconds: dict[str, float] = {}

    def run(self, kills: int) -> int:
        """Kill until there have been enough; return 1 if any result was not the same."""
        make_inputs(self._folder / "base", self._places)
        for name in LINES:
            self._undisturbed(name)
        total = wrong = 0
        with ProcessPoolExecutor(self._jobs, get_context("fork")) as pool:
            rounds = in_order(partial(pool.submit, self._round), count(), ahead=self._jobs)
            for name, died, differing in rounds:
                total, wrong = total + died, wrong + bool(differing)
                print(f"{name}: {died} kills, {', '.join(differing[:3]) or 'the same'}", flush=True)
                if total >= kills:
                    break
        print(f"{total} kills, {wrong} results lost, doubled or different")
        return int(wrong > 0)

    def _undisturbed(self, name: str) -> None:
        started = time.perf_counter()
        run(LINES[name], self._folder / f"whole {name}", self._places)
        self._seconds[name] = time.perf_counter() - started
        self._whole[name] = contents(self._folder / f"whole {name}")

    def _round(self, number: int) -> tuple[str, int, list[str]]:
        """Kill one line; return its name, the kills, and what came out differently."""
        name = list(LINES)[number % len(LINES)]
        generator = random.Random(f"{self._seed}-{number}")
        folder = self._folder / f"round {number}"
        died, failed = kill_and_resume(
            LINES[name], folder, self._places, generator, self._seconds[name]
        )
        found, whole = contents(folder), self._whole[name]
        shutil.rmtree(folder)
        differing = sorted(k for k in whole.keys() | found if whole.get(k) != found.get(k))
        return name, died, differing + ["it cannot be resumed"] * failed


def make_inputs(base: Path, places: dict[str, str]) -> None:
    """Make what the later stages start from."""
    for line in ("align", "synth-mask"):
        run(LINES[line], base, places)
    crops = [path.relative_to(base / "crops") for path in sorted(base.glob("crops/*/*.png"))]
    lines = [f"{a}\t{b}\t{i % 2}\n" for i, (a, b) in enumerate(pairwise(crops))]
    (base / "pairs.txt").write_text("".join(lines))
    run([["pack-bin", "pairs.txt", "crops", "-o", "faces.bin"]], base, places)


def kill_and_resume(
    line: list[list[str]],
    folder: Path,
    places: dict[str, str],
    generator: random.Random,
    usual: float,
) -> tuple[int, bool]:
    """Kill a line once or twice, then resume it; return the kills, and whether it still fails."""
    died = 0
    for attempt in range(generator.choice((1, 1, 2))):
        victim = generator.randrange(len(line))
        if generator.random() < 0.5:
            kill = Kill(victim, seconds=generator.uniform(0.1, 1.1) * usual)
        else:
            kill = Kill(victim, call=generator.randint(1, generator.choice((12, 40))))
        died += run(line, folder, places, resume=attempt > 0, kill=kill)
    return died, run(line, folder, places, resume=True, strict=False) > 0


def run(
    line: list[list[str]],
    folder: Path,
    places: dict[str, str],
    *,
    resume: bool = False,
    kill: Kill | None = None,
    strict: bool = True,
) -> int:
    """Run a line; return how many of its commands were killed, or failed.

    Args:
        line: the commands, joined by pipes.
        folder: where.
        places: what stands for names in braces.
        resume: give every command that has it `--resume`; `pack` starts again instead.
        kill: which one is to die.
        strict: raise if an undisturbed command fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    processes, before = [], os.open(os.devnull, os.O_RDONLY)
    for number, command in enumerate(line):
        words = [w.format(**places) if w[:1] == "{" else w for w in command]
        words += [{"pack": "--force"}.get(words[0], "--resume")] * resume
        limit = kill.call if kill and kill.victim == number else 0
        last = number + 1 == len(line)
        after, out = (0, os.open(os.devnull, os.O_WRONLY)) if last else os.pipe()
        err = os.open(f"{folder}.{number}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        process = os.fork()
        if not process:
            become(words, folder, (before, out, err), limit)
        processes.append(process)
        for used in (before, out, err):
            os.close(used)
        before = after
    if kill and not kill.call:
        time.sleep(kill.seconds)
        os.kill(processes[kill.victim], signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    if kill:
        return int(codes[kill.victim] == -signal.SIGKILL)
    if strict and any(codes):
        raise SystemExit(f"{line}: exit codes {codes}")
    return sum(code != 0 for code in codes)


def become(words: list[str], folder: Path, streams: tuple[int, ...], limit: int) -> NoReturn:
    """Be mfrkit, until right before the N-th rename or unlink; 0 is never."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    # What Python knows of its streams is of others: that a file can be rewound, for example.
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    os.closerange(3, 256)
    os.chdir(folder)
    turn, first = count(1), os.getpid()

    def killing(call):
        def wrapped(*arguments, **options):
            if next(turn) == limit:
                os.kill(first, signal.SIGKILL)
            return call(*arguments, **options)

        return wrapped

    for name in ("replace", "rename", "unlink", "remove"):
        setattr(os, name, killing(getattr(os, name)))
    sys.argv = ["mfrkit", *words]
    code = 1
    try:
        cli.main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        os._exit(code)


def contents(folder: Path) -> dict[str, object]:
    """Return what a run made: bytes of files, and the rows of embedding files."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name == "run.json":
            continue
        name = str(path.relative_to(folder))
        if path.suffix != ".h5":
            found[name] = path.read_bytes()
            continue
        with EmbeddingReader(path) as reader:
            found[name] = list(reader.each_key()), reader.rows(np.arange(reader.count)).tobytes()
    return found


if __name__ == "__main__":
    main()
