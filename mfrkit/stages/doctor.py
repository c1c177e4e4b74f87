"""Look at the installation: versions, devices, weights, folders that must be writable."""

import importlib
import importlib.metadata
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.errors import WeightsError
from mfrkit.models.cards import BUNDLED
from mfrkit.models.registry import read_card, verify

REQUIRED = (
    "torch", "kornia", "face-alignment", "h5py", "safetensors", "numpy", "scipy",
    "opencv-python", "pillow", "matplotlib", "jinja2", "typer", "rich", "tqdm",
)  # fmt: skip
COMPILED = ("torch", "cv2", "h5py", "scipy", "matplotlib")
OPTIONAL = ("onnx", "onnxruntime", "ray")


def doctor() -> dict[str, Any]:
    """Return what the installation is like, in JSON types; only reads."""
    problems: list[str] = []
    packages = {name: _version(name) for name in (*REQUIRED, *OPTIONAL)}
    problems += [f"{name} is not installed" for name in REQUIRED if packages[name] is None]
    problems += _unloadable()
    weights = {name: _weights(name, problems) for name in BUNDLED}
    folders = {
        str(folder): _writable(folder, problems)
        for folder in (Path.cwd(), Path(tempfile.gettempdir()))
    }
    return {
        "schema": 1,
        "ok": not problems,
        "problems": problems,
        "mfrkit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "devices": _devices(),
        "weights": weights,
        "writable": folders,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _unloadable() -> list[str]:
    """Say which compiled libraries do not load: what is missing is often a system library."""
    problems = []
    for module in COMPILED:
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            problems.append(f"{module} cannot be loaded: {str(error).splitlines()[0]}")
    return problems


def _weights(name: str, problems: list[str]) -> str:
    try:
        _, header, path = read_card(name)
        intact = verify(name, header, path)
    except WeightsError as error:
        problems.append(str(error))
        return "damaged"
    if not intact:
        problems.append(f"{path}: not the {name} of this version; reinstall mfrkit")
    return "ok" if intact else "changed"


def _devices() -> dict[str, str]:
    if "torch" not in sys.modules:
        return {}
    import torch

    devices = {"cpu": f"{os.cpu_count()} processors, {torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        devices[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return devices


def _writable(folder: Path, problems: list[str]) -> bool:
    if os.access(folder, os.W_OK):
        return True
    problems.append(f"{folder} is not writable")
    return False


def show(report: dict[str, Any], console: Console) -> None:
    """Print a report as tables."""
    rows = [["mfrkit", report["mfrkit"]], ["python", report["python"]]]
    rows += [[name, version or "not installed"] for name, version in report["packages"].items()]
    rows += [[f"device {name}", text] for name, text in report["devices"].items()]
    rows += [[f"weights {name}", state] for name, state in report["weights"].items()]
    rows += [[f"writable {name}", "yes" if ok else "no"] for name, ok in report["writable"].items()]
    console.table("mfrkit doctor", ["what", "found"], rows)
