"""Search probes among the people a recogniser was taught to name: by its feature classifier."""

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.metrics.blocks import Faces
from mfrkit.models.classifier import Classifier
from mfrkit.stages.enrolment import Enrolment
from mfrkit.stages.people import numbered, people_of


class ClassScores:
    """Compare faces with the classes of a classifier.

    Args:
        classifier: whose people are the columns.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.rows = len(classifier.people)

    def scores(self, probes: Faces) -> NDArray[np.float32]:
        """Return (B, K) float32: the logarithms of the shares of everybody."""
        return self._classifier.log_shares(probes.vectors)


def enrol_classes(classifier: Classifier, probes: EmbeddingReader) -> Enrolment:
    """Take a classifier's people for a gallery.

    Args:
        classifier: of the model that made the embeddings.
        probes: the probes' file; only names are read.

    Raises:
        InputError: embeddings of another model, or pictures of nobody.
    """
    made_by = str(probes.attributes.get("weights_sha256", classifier.sha256))
    width = classifier.weight.shape[1]
    if made_by != classifier.sha256 or probes.dim != width:
        raise InputError(
            f"{probes.path}: the embeddings are not those of the classifier's model; "
            "mfrkit embed --model makes them"
        )
    searched = people_of(probes)
    person, probe_person = numbered(classifier.people, searched.identities)
    known = probe_person < len(person)
    _, photo = numbered([], searched.photo_ids)
    return Enrolment(
        gallery=ClassScores(classifier),
        names=classifier.people,
        people=len(person),
        unusable=0,
        probes=searched,
        person=probe_person,
        photo=photo,
        column=np.where(known, probe_person, -1),
        mated=known,
        own_photo=np.zeros(len(known), bool),  # which photos it learned from, it does not say
    )
