"""Feed damaged and made-up files to every reader; nothing but an `MfrError` may come of it.

    python tests/fuzz/campaign.py --seconds 600 --seed 3

Every input follows from the seed and its number alone, so that a finding is found again:
`--only NUMBER` makes that one. Each has 20 seconds, and the process 1 GB.
"""

import argparse
import faulthandler
import itertools
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import formats

from mfrkit.errors import MfrError

LIMIT_SECONDS, LIMIT_MB = 20, 1000
ODD_TEXTS = (
    b"1e999", b"-1", b"NaN", b"null", b"9" * 30, b"9" * 400, b"9" * 5000,
    b"[" * 20_000, b'{"a":' * 20_000,
    b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"../", b"\x1b[31m", b"\n", b"\t", b'"',
    b"0.5",
)  # fmt: skip
ODD_VALUES = (
    None, True, -1, 0, 10**30, 10**400, 1e308, float("inf"), float("nan"),
    "", "x", "../x", "a\0b", "\ud800",
    [], {}, [None], {"a": 1}, [[[]]], [1e999], "9" * 5000,
)  # fmt: skip


def damage(content: bytes, chance: random.Random) -> bytes:
    """Return bytes that differ from those of a sound file in one to four places."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        start = chance.randrange(len(content) + 1)
        end = min(len(content), start + chance.choice((1, 1, 2, 4, 8, 64, 1000)))
        middle = content[start:end]
        match chance.randrange(6):
            case 0:
                return content[:start]
            case 1:
                middle = bytes(byte ^ 1 << chance.randrange(8) for byte in middle)
            case 2:
                middle = chance.randbytes(len(middle))
            case 3:
                middle = chance.choice(ODD_TEXTS)
            case 4:
                middle = b""
            case 5:
                middle *= chance.choice((2, 3, 50))
        content = content[:start] + middle + content[end:]
    return content


def change(value: object, chance: random.Random) -> object:
    """Return a value of which one part, at any depth, is an odd one."""
    if isinstance(value, dict | list) and value and chance.random() < 0.85:
        places = list(value) if isinstance(value, dict) else range(len(value))
        place = chance.choice(places)
        changed = value.copy()
        if chance.random() < 0.1:
            del changed[place]
        else:
            changed[place] = change(value[place], chance)
        return changed
    return chance.choice(ODD_VALUES)


class Campaign:
    """Inputs, one after the other, and what came of them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder = seed, folder
        self.sound = {each.name: each.make() for each in formats.FORMATS}
        self.outcomes: Counter[str] = Counter()
        self.findings: list[str] = []
        self.slowest = 0.0

    def check_sound(self) -> None:
        """Read what is not damaged: a reader that refuses everything finds nothing."""
        for each in formats.FORMATS:
            each.read(self._write(each, self.sound[each.name]))

    def run(self, number: int) -> None:
        """Make one input and read it."""
        chance = random.Random(f"{self.seed}/{number}")
        each = formats.FORMATS[number % len(formats.FORMATS)]
        content = self.sound[each.name]
        if each.remake is not None and chance.random() < 0.6:
            content = each.remake(lambda value: change(value, chance), chance)
        else:
            content = damage(content, chance)
        path = self._write(each, content)
        started = time.perf_counter()
        signal.alarm(LIMIT_SECONDS)
        try:
            each.read(path)
            outcome = "read"
        except MfrError as error:
            outcome = "refused"
            if not str(error).strip():
                self._found(number, each, "an error without words")
        except BaseException as error:  # that is what is looked for
            outcome = "FOUND"
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error}"[:200]
            self._found(number, each, f"{text!r} at {where.filename}:{where.lineno}")
            if isinstance(error, KeyboardInterrupt):
                raise
        finally:
            signal.alarm(0)
        self.slowest = max(self.slowest, time.perf_counter() - started)
        self.outcomes[f"{each.name} {outcome}"] += 1

    def _found(self, number: int, each: formats.Format, what: str) -> None:
        self.findings.append(f"input {number} of seed {self.seed} ({each.name}): {what}")

    def _write(self, each: formats.Format, content: bytes) -> Path:
        folder = self.folder / each.name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        path = folder / each.file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        if each.beside is not None:
            each.beside(path)
        return path


def too_slow(*_: object) -> None:
    raise TimeoutError(f"no end within {LIMIT_SECONDS} s")


def peak_mb() -> int:
    """Return the most memory this program took, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # the kernel's other figure begins with that of the program that started us
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--inputs", type=int, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="make one input, leave it in --folder")
    parser.add_argument("--folder", type=Path, help="where inputs lie")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, too_slow)
    warnings.simplefilter("ignore")
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as temporary:
        campaign = Campaign(options.seed, options.folder or Path(temporary))
        campaign.check_sound()
        end = time.monotonic() + options.seconds
        numbers = itertools.count() if options.only is None else [options.only]
        for number in numbers:
            faulthandler.dump_traceback_later(3 * LIMIT_SECONDS, exit=True)  # a hang outside Python
            campaign.run(number)
            if time.monotonic() > end or number + 1 == options.inputs:
                break
        faulthandler.cancel_dump_traceback_later()
    peak = peak_mb()
    if peak > LIMIT_MB:
        campaign.findings.append(f"took {peak} MB, more than {LIMIT_MB}")
    count = sum(campaign.outcomes.values())
    report = {
        "inputs": count,
        "findings": len(campaign.findings),
        "peak_mb": peak,
        "slowest_s": round(campaign.slowest, 2),
        "outcomes": dict(sorted(campaign.outcomes.items())),
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    sys.stderr.writelines(f"{finding}\n" for finding in campaign.findings)
    sys.exit(bool(campaign.findings))


if __name__ == "__main__":
    main()
