"""The methods of `mfrkit distill`.

A new method is a file in `methods/` and an entry here.
"""

from collections.abc import Mapping

from mfrkit.errors import InputError
from mfrkit.methods import deocclusion, g2d, maskinv, meer
from mfrkit.methods.method import GeneratorPhase, Method, PhasedMethod, choose
from mfrkit.training import eum
from mfrkit.training.distill_settings import TemplateMethod

METHODS: Mapping[str, Method | TemplateMethod | PhasedMethod] = {
    "maskinv": maskinv.METHOD,
    "deocclusion": deocclusion.METHOD,
    "meer": meer.METHOD,
    "eum": eum.METHOD,
    "g2d": g2d.METHOD,
}


def find_method(name: str, phase: int = 0) -> Method | TemplateMethod:
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
    method = choose("method", name, METHODS)
    if not isinstance(method, PhasedMethod):
        if phase:
            raise InputError(f"--phase {phase}: {name} is trained in one run; leave it out")
        return method
    found = dict(enumerate(method.phases.values(), 1)).get(phase)
    if found is None or isinstance(found, GeneratorPhase):
        raise InputError(f"method {name}: phase {phase} is none that distils")
    return found
