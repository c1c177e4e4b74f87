"""The notebook runs from top to bottom, and shows what it says it shows."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "examples" / "library.ipynb"


def test_the_notebook_runs():
    notebook = json.loads(NOTEBOOK.read_text())
    names: dict = {}
    printed = io.StringIO()
    with redirect_stdout(printed):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                assert cell["outputs"] == []
                exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)
    said = printed.getvalue()
    assert "barack_obama_0002.jpg" in said
    assert "same\n" in said
    assert "different\n" in said
    assert names["faces"][0].masked
    own = (names["worn"] @ names["clean"].T).argmax(axis=1)
    assert own[3:].tolist() == [3, 4]
    assert set(own[:3]) <= {0, 1, 2}
    assert f"{names['obama'][2]} -> Obama" in said
    assert f"{names['biden']} -> unknown" in said
