"""The feature classifier inside a model file, for embeddings that are there already; no torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import load_arrays
from mfrkit.models.model_files import read_card, verify


@dataclass(frozen=True, eq=False)
class Classifier:
    """Who is known, and how embeddings are compared with them.

    Attributes:
        people: K names.
        weight: (K, D) float32.
        bias: (K,) float32.
        sha256: of the tensors of the model the embeddings must come from.
    """

    people: list[str]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    sha256: str

    def log_shares(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the natural logarithm of the softmax over everybody's scores.

        Args:
            vectors: (B, D) float32, unit norm.

        Returns:
            (B, K) float32, at most 0.

        Example:
            >>> eye = np.eye(2, dtype=np.float32)
            >>> two = Classifier(["a", "b"], eye, np.zeros(2, np.float32), "")
            >>> np.exp(two.log_shares(eye)).round(2).tolist()[0]
            [0.73..., 0.27...]
        """
        scores = vectors @ self.weight.T + self.bias
        scores -= scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def load_classifier(model: str) -> Classifier:
    """Read the classifier of a recogniser that names the people of its training data.

    Args:
        model: bundled name or model file.

    Raises:
        InputError: no such model, or one without classifier.
        WeightsError: the file is damaged.
    """
    card, header, path = read_card(model)
    people = list(card.arguments.get("people", []))
    if not people:
        raise InputError(
            f"{path}: holds no classifier; mfrkit distill --method g2d --phase 3 trains one"
        )
    if not verify(model, header, path):
        raise WeightsError(f"{path}: tensors do not match their SHA-256; get the file again")
    weight, bias = load_arrays(path, ("classifier.weight", "classifier.bias"))
    scale = float(card.arguments.get("scale", 0.0))
    if scale:  # trained with a margin: compares by cosines
        weight = scale * weight / np.linalg.norm(weight, axis=1, keepdims=True)
        bias = np.zeros_like(bias)
    return Classifier(people, weight, bias, card.sha256)
