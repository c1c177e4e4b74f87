"""The methods of `mfrkit distill`.

A new method is a file in `methods/` that ends in its `METHOD`, and a line here.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from mfrkit.errors import InputError, instead

if TYPE_CHECKING:
    from mfrkit.methods.method import Method, PhasedMethod
    from mfrkit.training.distill_settings import TemplateMethod

METHODS: Mapping[str, str] = {
    "maskinv": "mfrkit.methods.maskinv",
    "deocclusion": "mfrkit.methods.deocclusion",
    "meer": "mfrkit.methods.meer",
    "eum": "mfrkit.training.eum",
    "g2d": "mfrkit.methods.g2d",
}


def load_method(name: str) -> "Method | TemplateMethod | PhasedMethod":
    """Return a method, which loads torch.

    Raises:
        InputError: no such method.
    """
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}{instead(name, [*METHODS])}")
    found: Method | TemplateMethod | PhasedMethod = import_module(METHODS[name]).METHOD
    return found


def find_method(name: str, phase: int = 0) -> "Method | TemplateMethod":
    """Return a method, or one phase of it.

    Args:
        name: of the method.
        phase: number from 1, 0 for a method without phases.

    Raises:
        InputError: no such method, or no such phase of it that distils.

    Example:
        >>> find_method("maskinv").presets["paper-hg"]["method"]["template"]
        3000.0
        >>> find_method("g2d", 2).presets["paper"]["model"]["student"]
        'resnet22'
    """
    from mfrkit.methods.method import GeneratorPhase, PhasedMethod

    method = load_method(name)
    if not isinstance(method, PhasedMethod):
        if phase:
            raise InputError(f"--phase {phase}: {name} is trained in one run; leave it out")
        return method
    found = dict(enumerate(method.phases.values(), 1)).get(phase)
    if found is None or isinstance(found, GeneratorPhase):
        raise InputError(f"method {name}: phase {phase} is none that distils")
    return found
