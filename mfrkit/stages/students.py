"""Build a student: its network, where its weights start from, and the card it will carry."""

from dataclasses import dataclass, replace

from mfrkit.errors import InputError
from mfrkit.models.cards import ModelCard
from mfrkit.models.completing import CompletingRecogniser
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.recognisers import load_recogniser
from mfrkit.models.registry import build_network

OTHER_STARTS = ("auto", "teacher", "scratch")  # all but the models an `init` can name


@dataclass(frozen=True)
class ModelOptions:
    """What is trained.

    Attributes:
        student: architecture.
        init: `teacher` starts from the first teacher's weights, `scratch` from fresh ones,
            anything else names a model, of which a recogniser of completed faces counts as the
            recogniser in it; `auto` is `teacher` if the architectures are the same.
        embedding: D of a fresh student; 0 takes the first teacher's.
    """

    student: str = "mobilefacenet"
    init: str = "auto"
    embedding: int = 0


def build_student(options: ModelOptions, teacher: Recogniser) -> Recogniser:
    """Build a student in training mode; fresh weights come from torch's default generator.

    A student that starts from a model is fed as that model is; a fresh one as the usual card says.

    Args:
        options: architecture and start.
        teacher: the first one.

    Raises:
        InputError: a start of another architecture.
    """
    origin = _origin(options, teacher)
    if origin is None:
        dim = options.embedding or teacher.card.embedding_dim or 0
        arguments = {"embedding_dim": dim}
        card = ModelCard(
            name="student",
            task="recognition",
            architecture=options.student,
            arguments=arguments,
            embedding_dim=dim,
        )
        return Recogniser(build_network(options.student, arguments), card).train()
    network = build_network(origin.card.architecture, origin.card.arguments)
    network.load_state_dict(origin.network.state_dict())
    return Recogniser(network, bare(origin.card)).train()


def bare(card: ModelCard) -> ModelCard:
    """Return a card without what it says of its own training."""
    return replace(card.as_part(), note="")


def _origin(options: ModelOptions, teacher: Recogniser) -> Recogniser | None:
    """Return the model whose weights the student starts from, None for fresh ones."""
    fits = teacher.card.architecture == options.student and options.embedding in (
        0,
        teacher.card.embedding_dim,
    )
    if options.init == "scratch" or (options.init == "auto" and not fits):
        return None
    origin = teacher if options.init in ("auto", "teacher") else load_recogniser(options.init)
    if isinstance(origin.network, CompletingRecogniser):
        origin = origin.network.recogniser
    if origin.card.architecture != options.student:
        raise InputError(
            f"--init {options.init}: is {origin.card.architecture}, the student "
            f"{options.student}; choose the same --student, or --init scratch"
        )
    if options.embedding not in (0, origin.card.embedding_dim):
        raise InputError(
            f"--init {options.init}: gives {origin.card.embedding_dim} values, "
            f"model.embedding asks for {options.embedding}"
        )
    return origin
