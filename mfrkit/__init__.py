"""mfrkit: masked face recognition, as a command-line toolkit and as a library.

`Recogniser`, `MaskRenderer` and `read_embeddings` are loaded when first used, so that importing the
package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "Embeddings",
    "MaskRenderer",
    "Masked",
    "PhotoFace",
    "Recogniser",
    "__version__",
    "read_embeddings",
]

if TYPE_CHECKING:
    from mfrkit.io.embeddings import Embeddings, read_embeddings
    from mfrkit.recognition.look import PhotoFace
    from mfrkit.recognition.mask_renderer import Masked, MaskRenderer
    from mfrkit.recognition.recogniser import Comparison, Recogniser

_HOMES = {
    "Comparison": "recognition.recogniser",
    "Embeddings": "io.embeddings",
    "MaskRenderer": "recognition.mask_renderer",
    "Masked": "recognition.mask_renderer",
    "PhotoFace": "recognition.look",
    "Recogniser": "recognition.recogniser",
    "read_embeddings": "io.embeddings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mfrkit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mfrkit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
