"""What tests share: the bundled portraits, and mfrkit as a user runs it."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

import mfrkit

settings.register_profile("mfrkit", deadline=None)  # a busy machine is no error
settings.load_profile("mfrkit")
PHOTOS = Path(mfrkit.__file__).parent / "data" / "photos"


@pytest.fixture
def photos() -> Path:
    """The folder of bundled public-domain portraits: 5 photos of 3 people."""
    return PHOTOS


@pytest.fixture
def portrait() -> Path:
    return PHOTOS / "eileen_collins" / "eileen_collins_0001.jpg"


class Shell:
    """Run `mfrkit` as a user does, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = str(Path(sys.executable).parent / "mfrkit")
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def __call__(self, *arguments, stdin=b"", check=None):
        """Run in this process, which has loaded torch already."""
        from mfrkit.cli import app, hoist_global_flags, spell_help

        words = [*map(str, arguments)]
        streams = {
            "stdin": io.TextIOWrapper(io.BytesIO(stdin)),
            "stdout": io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", newline=""),
            "stderr": io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", newline=""),
        }
        code = 0
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.multiple(sys, argv=[self.program, *words], **streams),
            warnings.catch_warnings(action="ignore"),
        ):
            try:
                app(hoist_global_flags(spell_help(words)), prog_name="mfrkit")
            except SystemExit as end:
                code = end.code or 0
            out, err = streams["stdout"], streams["stderr"]
            out.flush(), err.flush()
        run = subprocess.CompletedProcess(words, code, out.buffer.getvalue(), err.buffer.getvalue())
        return checked(run, check)

    def apart(self, *arguments, check=None, timeout=120):
        """Run in a process of its own."""
        run = subprocess.run(
            [self.program, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        return checked(run, check)

    def start(self, *arguments, **options):
        """Start without waiting."""
        return subprocess.Popen(
            [self.program, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            # A test run in the background inherits an ignored Ctrl-C; the program must not.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            | options,
        )

    def line(self, script, timeout=180):
        """Run a shell line, with `mfrkit` on the path."""
        path = f"{Path(self.program).parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env={**self.environment, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )


def checked(run, code):
    """Return a run that ended with this code, if one is wanted, and without a traceback."""
    if code is not None:
        assert run.returncode == code, run.stderr.decode()
        assert b"Traceback" not in run.stderr, run.stderr.decode()
    return run


@pytest.fixture(scope="session")
def worked(tmp_path_factory) -> Shell:
    """A working folder in which the short lines of the README have been run on the portraits."""
    mfr = Shell(tmp_path_factory.mktemp("worked"))
    mfr("align", PHOTOS, check=0)
    mfr("synth-mask", "--seed", "7", check=0)
    mfr("embed", check=0)
    mfr("embed", "masked", "-o", "masked.h5", check=0)
    return mfr


@pytest.fixture(scope="session")
def wide_crops(tmp_path_factory) -> Path:
    """A folder of the portraits, aligned with as much round each crop as training can use."""
    mfr = Shell(tmp_path_factory.mktemp("wide"))
    mfr("align", PHOTOS, "--size", "224", "--margin", "0.5", "-o", "wide", check=0)
    return mfr.folder / "wide"


@pytest.fixture
def mfr(tmp_path: Path) -> Shell:
    """The console script, run in a temporary working folder."""
    return Shell(tmp_path)


@pytest.fixture
def noise_crops(tmp_path: Path) -> Path:
    """A folder of 12 aligned crops of smooth noise, three people with four each."""
    return write_noise_crops(tmp_path / "crops")


@pytest.fixture(scope="session")
def shared_noise_crops(tmp_path_factory) -> Path:
    """The same crops, for tests that only read them."""
    return write_noise_crops(tmp_path_factory.mktemp("noise") / "crops")


def write_noise_crops(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    for index in range(12):
        coarse = generator.integers(20, 235, (7, 7, 3), dtype=np.uint8)
        path = folder / f"p{index // 4}" / f"p{index // 4}_{index % 4}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((112, 112), Image.Resampling.BICUBIC).save(path)
    return folder
