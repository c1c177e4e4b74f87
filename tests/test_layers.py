"""The house rules of style that a linter does not know."""

import ast
import functools
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mfrkit

PACKAGE = Path(mfrkit.__file__).parent
MAY_IMPORT = {
    "cli": {"recognition", "training", "evaluation", "stages", "pages", "cluster"},
    "recognition": {"evaluation", "stages", "pages", "masks", "models", "faces", "metrics", "io"},
    "training": {
        "stages",
        "methods",
        "pages",
        "masks",
        "models",
        "faces",
        "losses",
        "metrics",
        "io",
    },
    "evaluation": {"stages", "pages", "masks", "models", "faces", "metrics", "io"},
    "stages": {"pages", "masks", "models", "faces", "metrics", "io"},
    "methods": {"masks", "models", "faces", "losses"},
    "pages": {"io"},
    "masks": {"faces", "io"},
    "models": {"io"},
    "faces": {"io"},
    "losses": set(),
    "metrics": set(),
    "io": set(),
    "cluster": {"stages", "io"},
}
LEAVES = {"errors", "config", "console", "options", "__version__"}
MODULES = sorted(PACKAGE.rglob("*.py"))


@functools.cache
def tree_of(path: Path) -> ast.AST:
    return ast.parse(path.read_text())


def imported_layers(tree: ast.AST) -> Iterator[str]:
    """Yield the second part of every absolute import of the package, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("mfrkit."))


def layer_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    layer = layer_of(path)
    if layer:
        allowed = MAY_IMPORT[layer] | LEAVES | {layer}
        extra = set(imported_layers(tree_of(path))) - allowed
        assert not extra, f"{path.name} ({layer}) must not import {sorted(extra)}"


def imported_modules(path: Path) -> set[Path]:
    """Return the package's files that a file imports anything from, inside functions too."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mfrkit"):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            files = (PACKAGE.parent / f"{name.replace('.', '/')}.py" for name in names)
            found |= {file for file in files if file in MODULES}
    return found


def test_imports_run_in_no_circle():
    graph = {path: imported_modules(path) for path in MODULES}
    assert any(graph.values())
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(str(path.relative_to(PACKAGE)) for path in error.args[1])
        pytest.fail(f"imports run in a circle: {circle}")


def test_imported_layers_sees_imports_inside_functions():
    code = "def f():\n    from mfrkit.stages.align import align\n    import mfrkit.io.files\n"
    assert set(imported_layers(ast.parse(code))) == {"stages", "io"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_and_functions_stay_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            # A command's signature is its table of options; what it does comes after.
            start = node.body[0].lineno if layer_of(path) == "cli" else node.lineno
            length = node.end_lineno - start + 1 - len(docstring.splitlines())
            assert length <= 60, f"{node.name} has {length} lines"


def test_rooms_stay_small():
    rooms = Counter(path.parent for path in MODULES)
    assert max(rooms.values()) <= 30, rooms.most_common(3)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_functions_are_fully_annotated(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [
                a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")
            ]
            assert node.returns is not None, f"{node.name}: no return annotation"
            assert not bare, f"{node.name}: {bare} have no annotation"


HEAVY = ("torch", "h5py", "cv2", "numpy", "matplotlib", "kornia", "rich")


@pytest.mark.parametrize("arguments", [["--help"], ["align", "--help"], ["--version"]])
def test_help_does_not_load_heavy_libraries(arguments):
    code = (
        "import sys; from mfrkit.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"sys.exit(','.join(m for m in {HEAVY!r} if m in sys.modules) or 0)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout
