"""Build the margin classifier of a method."""

from mfrkit.errors import InputError
from mfrkit.losses.head import MarginHead
from mfrkit.losses.margin import create_margin
from mfrkit.losses.partial import PartialHead
from mfrkit.stages.method import MethodParts


def build_head(
    parts: MethodParts, margin: str, scale: float, sample: float = 1.0
) -> MarginHead | PartialHead:
    """Build the classifier: whole in a single process, else each process its share of it.

    Args:
        parts: of the run; the student's embedding and the people of the data give its shape.
        margin: name of the margin.
        scale: its scale s.
        sample: share of the identities a step compares with, in (0, 1].

    Raises:
        InputError: the data have no labels, or no margin of this name.
    """
    dim, people = parts.student.card.embedding_dim or 0, parts.identities
    if people < 2:
        raise InputError(
            "method.identity needs labels: a folder for each person, or records with identity"
        )
    made = create_margin(margin)
    if parts.processes == 1 and sample == 1:
        return MarginHead(dim, people, made, scale)
    return PartialHead(
        dim, people, made, scale, sample=sample, rank=parts.rank, world=parts.processes
    )
