"""The methods of `mfrkit distill`.

A new method is its task in `methods/`, a file beside this one that says how it is put together,
and an entry here.
"""

from collections.abc import Mapping

from mfrkit.stages import method_deocclusion, method_eum, method_maskinv, method_meer
from mfrkit.stages.method import Method
from mfrkit.stages.presets import choose
from mfrkit.stages.template_method import TemplateMethod

METHODS: Mapping[str, Method | TemplateMethod] = {
    "maskinv": method_maskinv.METHOD,
    "deocclusion": method_deocclusion.METHOD,
    "meer": method_meer.METHOD,
    "eum": method_eum.METHOD,
}


def find_method(name: str) -> Method | TemplateMethod:
    """Return a method.

    Raises:
        InputError: no such method.

    Example:
        >>> find_method("maskinv").presets["paper-hg"]["method"]["template"]
        3000.0
    """
    return choose("method", name, METHODS)
