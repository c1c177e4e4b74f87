import errno
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from mfrkit.io.fallible import FallibleFile


def test_hdf5_written_through_it_is_an_ordinary_file(tmp_path):
    with FallibleFile(tmp_path / "a.h5") as target:
        with h5py.File(target, "w") as file:
            file["x"] = np.arange(100_000)
        target.check()
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["x"][:], np.arange(100_000))


@pytest.mark.parametrize("kilobytes", [1, 4, 64, 300])
def test_a_full_disk_is_an_error_and_not_a_crash(tmp_path, kilobytes):
    """In a process of its own, because the crash comes when the process ends."""
    code = f"""
        import resource, signal, h5py, numpy as np
        from mfrkit.io.fallible import FallibleFile
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes} * 1024,) * 2)
        with FallibleFile({str(tmp_path / "a.h5")!r}) as target:
            with h5py.File(target, "w") as file:
                for name in range(20):
                    file[f"x{{name}}"] = np.random.rand(10_000)
                    file[f"t{{name}}"] = ["text"] * 1000
            try:
                target.check()
            except OSError as error:
                raise SystemExit(error.errno)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert run.returncode == errno.EFBIG
