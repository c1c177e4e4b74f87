"""The methods of `mfrkit distill`, by the module that ends in their `METHOD`.

A new method is a file in `methods/` and a line here.
"""

from collections.abc import Mapping

METHODS: Mapping[str, str] = {
    "maskinv": "mfrkit.methods.maskinv",
    "deocclusion": "mfrkit.methods.deocclusion",
    "meer": "mfrkit.methods.meer",
    "eum": "mfrkit.training.eum",
    "g2d": "mfrkit.methods.g2d",
}
