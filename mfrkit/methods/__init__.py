"""Training methods, one paper per file: each turns a batch of two views into named losses."""

from collections.abc import Mapping

# The methods of `mfrkit distill`, by the module that ends in their `METHOD`: a new one is a file
# here and a line in this table.
METHODS: Mapping[str, str] = {
    "maskinv": "mfrkit.methods.maskinv",
    "deocclusion": "mfrkit.methods.deocclusion",
    "meer": "mfrkit.methods.meer",
    "eum": "mfrkit.training.eum",
    "g2d": "mfrkit.methods.g2d",
}
