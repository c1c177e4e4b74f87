"""Write recognisers in the form other programs run."""

from pathlib import Path

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.files import refuse_existing, replacing


def export_model(model: str, output: Path, console: Console, *, force: bool = False) -> None:
    """Write a recogniser as an ONNX file, whole and tried.

    Args:
        model: what `load_recogniser` takes.
        output: file to write, its suffix `.onnx`.
        console: where to say what was written.
        force: replace a file there is.

    Raises:
        InputError: the output exists or has another suffix; no such model, one for another task, or
            an ONNX file already; the packages for ONNX are not installed.
        WeightsError: the model's file is damaged.
        MfrError: the file does not give what the model gives.
    """
    if output.suffix != ".onnx":
        raise InputError(f"{output}: name it .onnx")
    if Path(model).suffix == ".onnx":
        raise InputError(f"{model}: is an ONNX file already")
    refuse_existing(output, force=force)

    from mfrkit.models.onnx_export import export_onnx  # torch loads here
    from mfrkit.models.recognisers import load_recogniser

    recogniser = load_recogniser(model)
    with replacing(output) as temporary:
        difference = export_onnx(recogniser, temporary)
    size = output.stat().st_size / 1e6
    console.info(
        f"{model} -> {output}, {size:.1f} MB; embeddings in ONNX Runtime differ by "
        f"{difference:.0e} at most"
    )
