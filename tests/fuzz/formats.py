"""The formats that are fuzzed: a sound file of each, changes within its structure, its reader."""

import functools
import hashlib
import io
import json
import pickle
import random
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import onnx
import torch
from PIL import ExifTags, Image
from safetensors.torch import save

from mfrkit.config import Shard
from mfrkit.errors import MfrError
from mfrkit.evaluation.benchmark import BenchmarkFolder
from mfrkit.evaluation.thresholds import ThresholdFile
from mfrkit.io.documents import parse_json
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import expand_braces
from mfrkit.io.images import read_image
from mfrkit.io.pairs import read_pairs
from mfrkit.io.rec import pack_entry, pack_record
from mfrkit.io.source import open_source
from mfrkit.io.tables import read_covariates, read_scores, read_templates
from mfrkit.io.verification_bin import read_bin
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.spec import sample_spec
from mfrkit.masks.template import ANCHORS, TemplateFile
from mfrkit.methods.views import ViewOptions
from mfrkit.models.cards import UNMASKED, ModelCard, Operating
from mfrkit.models.edgeface import SIZES
from mfrkit.models.foreign import identify, read_tensors, strip_wrappers
from mfrkit.models.onnx import load_onnx
from mfrkit.models.registry import build_network, count_parameters, load_network, read_card
from mfrkit.recognition.gallery import gallery_in
from mfrkit.recognition.gallery_index import read_stamps
from mfrkit.stages.sink import check_options, refuse_other_commands
from mfrkit.stages.synth_mask_worker import MaskBook
from mfrkit.training.options import TrainRequest
from mfrkit.training.settings import (
    CardOptions,
    FitOptions,
    MaskSettings,
    RunSettings,
    make,
    parse_set,
    resolve_settings,
)

Change = Callable[[object], object]


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        name: for the report.
        file: name of the file.
        make: returns a sound one.
        read: reads all of it.
        remake: returns one with a change in its structure, given the change of a value.
        beside: writes what has to lie beside it.
    """

    name: str
    file: str
    make: Callable[[], bytes]
    read: Callable[[Path], object]
    remake: Callable[[Change, random.Random], bytes] | None = None
    beside: Callable[[Path], object] | None = None


def text_of(value: object) -> bytes:
    """Serialise as others might: numbers that are none, halves of characters."""
    return json.dumps(value, default=str).encode()


def document(name: str, file: str, value: object, read: Callable[[Path], object], **more) -> Format:
    """Return a format that is one JSON value."""
    remake = lambda change, _: text_of(change(value))  # noqa: E731
    return Format(name, file, lambda: text_of(value), read, remake, **more)


def lines(name: str, file: str, text: str, read: Callable[[Path], object]) -> Format:
    """Return a format of plain text."""
    return Format(name, file, text.encode, read)


_TAGGED = ("jpeg", "webp", "tiff")


@functools.cache
def picture(suffix: str = "png") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, suffix, **({"exif": tags} if suffix in _TAGGED else {}))
    return out.getvalue()


# Embedding files

FIELDS = {
    "embeddings": np.eye(4, 3, dtype="f4"),
    "keys": ["a/1", "a/2", "b/1", "b/2"],
    "identities": ["a", "a", "b", "b"],
    "mask_type": ["", "cloth", "", "n95"],
    "norms": np.ones(4, "f4"),
    "masked": np.array([0, 1, 0, 1], "i1"),
    "positions": np.arange(4),
    "skipped/keys": ["c/1"],
    "skipped/reasons": ["no face found"],
    "skipped/positions": [4],
    "skipped/stamps": [7],
    "stamps": np.arange(4),
}
ATTRIBUTES = {"model": "arcface", "flip": True, "complete": True, "shard": "1/1", "mfrkit": "1"}
ODD_DATA = (
    np.zeros((4, 3)), np.zeros(4), np.float32(1), [[1, 2]], ["x"], "text", b"raw\xff", np.arange(9),
    np.zeros((0, 5), "f2"), np.array([b"a", b"b"], "S1000"), h5py.Empty("f4"),
    np.zeros(3, [("a", "i4"), ("b", "f4")]), [True] * 4, np.zeros(4, "c8"), np.array([], "S1"),
    h5py.SoftLink("/nowhere"), h5py.ExternalLink("x.h5", "/keys"), None,
)  # fmt: skip


def embedding_file(fields: dict[str, object], attributes: dict[str, object]) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, value in fields.items():
            with suppress(TypeError, ValueError, OSError):
                if value is None:
                    file.create_group(name)
                else:
                    file[name] = value
        for name, value in attributes.items():
            with suppress(TypeError, ValueError, OSError):
                file.attrs[name] = value
    return out.getvalue()


def odd_embeddings(change: Change, chance: random.Random) -> bytes:
    fields, attributes = dict(FIELDS), dict(ATTRIBUTES)
    if chance.random() < 0.3:
        attributes[chance.choice(list(attributes))] = chance.choice([change(1), *ODD_DATA[:12]])
    else:
        for name in chance.sample(list(fields), chance.choice((1, 1, 2))):
            fields[name] = chance.choice(ODD_DATA)
    return embedding_file(fields, attributes)


def read_embeddings(path: Path) -> None:
    with EmbeddingReader(path) as reader:
        list(reader.blocks())
        _ = reader.index, reader.skipped, reader.identities, reader.masked, reader.norms
        reader.rows(np.arange(0, reader.count, 2))
        Shard.parse(str(reader.attributes.get("shard", "1/1")))
        read_stamps(reader)
    gallery_in(path)


# Model files

CARD = ModelCard(
    name="a", task="unmasking", architecture="eum", arguments={"dim": 4, "width": 4, "layers": 2},
    embedding_dim=4, base={"model": "arcface"},
    thresholds={
        UNMASKED: (Operating(fmr=0.1, threshold=0.3, fnmr=0.1, genuine=9, impostors=9),)
    },
).to_json()  # fmt: skip


@functools.cache
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build_network("eum", CARD["arguments"]).state_dict()


def model_file(change: Change = lambda value: value, place: str = "") -> bytes:
    content = save(tensors())
    length = int.from_bytes(content[:8], "little")
    data = content[8 + length :]
    card = {**CARD, "sha256": hashlib.sha256(data).hexdigest()}
    if place == "card":
        card = change(card)
    table = {**json.loads(content[8 : 8 + length]), "__metadata__": {"card": json.dumps(card)}}
    head = text_of(change(table) if place == "table" else table)
    return len(head).to_bytes(8, "little") + head + data


def read_model(path: Path) -> None:
    card, header, _ = read_card(str(path))
    count_parameters(card, header)
    load_network(str(path))


@functools.cache
def foreign_contents() -> tuple[dict[str, object], ...]:
    """Return what is read of an iResNet, an AdaFace network and an EdgeFace as saved."""
    names = [f"layer{stage}.{unit}.conv1.weight" for stage in range(1, 5) for unit in range(2)]
    iresnet = {name: torch.zeros(2, 2, 3, 3) for name in names} | {"fc.weight": torch.zeros(4, 8)}
    adaface = {f"body.{n}.res_layer.1.weight": torch.zeros(1 + n // 2, 1, 3, 3) for n in range(8)}
    adaface |= {"output_layer.3.weight": torch.zeros(4, 8)}
    edgeface = {
        f"stages.{stage}.blocks.0.conv_dw.weight": torch.zeros(width, 1, 3, 3)
        for stage, width in enumerate(SIZES["xx-small"].widths)
    }
    narrow = "stages.0.blocks.0.mlp.fc1"
    edgeface |= {
        f"{narrow}.linear1.weight": torch.zeros(4, 24),
        f"{narrow}.linear2.weight": torch.zeros(96, 4),
        "head.fc._packed_params._packed_params": (torch.zeros(4, 168), torch.zeros(4)),
    }
    return (
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in iresnet.items()}, "extra": [1]},
        {"state_dict": {f"model.{k}": v for k, v in adaface.items()}, "hyper_parameters": {}},
        edgeface,
    )


def pickled(content: object, **options) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, **options)
    return out.getvalue()


def odd_foreign(change: Change, chance: random.Random) -> bytes:
    content = change(chance.choice(foreign_contents()))
    return pickled(content, _use_new_zipfile_serialization=chance.random() < 0.5)


def read_foreign(path: Path) -> None:
    identify(strip_wrappers(read_tensors(path), str(path))[0], str(path))


def onnx_file() -> bytes:
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.eye(3, 16, dtype=np.float32), "weight")
    nodes = [
        make.make_node("GlobalAveragePool", ["x"], ["means"]),
        make.make_node("Flatten", ["means"], ["flat"]),
        make.make_node("MatMul", ["flat", "weight"], ["y"]),
    ]
    graph = make.make_graph(
        nodes, "g", [make.make_tensor_value_info("x", kind, ["N", 3, 16, 16])],
        [make.make_tensor_value_info("y", kind, ["N", 16])], [weight],
    )  # fmt: skip
    opsets = [make.make_opsetid("", 13)]
    return make.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


# Pictures

KINDS = ("jpeg", "png", "webp", "tiff", "gif", "bmp", "ppm", "jpeg2000", "avif")


def of_kind(kind: str) -> Callable[[], bytes]:
    return lambda: picture(kind)


# Archives


FACTS = {"identity": "a", "points": [[1, 2]] * 5}


def tar_file(facts: object = (FACTS,)) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number, known in enumerate(facts):
            for suffix, content in ((".png", picture()), (".json", text_of(known)), (".cls", b"3")):
                entry = tarfile.TarInfo(f"a/{number}{suffix}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def rec_file(labels: object = 1.0) -> bytes:
    entries = [pack_entry([3, 4], 0), *(pack_entry(labels, n, picture()) for n in (1, 2))]
    return b"".join(map(pack_record, entries))


def index() -> bytes:
    step = len(pack_record(pack_entry(1.0, 1, picture())))
    first = len(pack_record(pack_entry([3, 4], 0)))
    places = [0, first, first + step]
    text = "".join(f"{n}\t{place}\n" for n, place in enumerate(places))
    return text.encode()


def write_index(path: Path) -> None:
    path.with_suffix(".idx").write_bytes(index())


def write_rec(path: Path) -> None:
    path.with_suffix(".rec").write_bytes(rec_file())


def read_rec(path: Path) -> None:
    read_items(path.with_suffix(".rec"))


def read_items(path: Path) -> None:
    for item in open_source(str(path)):
        if item.path is not None and not isinstance(item.path, Path):
            with suppress(MfrError):
                item.path.read_bytes()


def bin_content() -> object:
    return [[picture(), picture("jpeg")] * 2, [True, False]]


def odd_bin(change: Change, chance: random.Random) -> bytes:
    return pickle.dumps(change(bin_content()), protocol=chance.randrange(6))


# Small documents

RECORD = {
    "schema": 1, "key": "a/1", "path": "a/1.png", "source": "1.jpg", "status": "ok",
    "identity": "a", "align": {"points": [[1.5, 2]] * 5, "matrix": [[1, 0, 0], [0, 1, 0]]},
    "mask": {"type": "cloth", "region": "_regions/a/1.png"},
}  # fmt: skip
THRESHOLDS = {
    "schema": 1,
    "thresholds": [
        {
            "model": "arcface", "weights_sha256": "ab", "flip": True, "target_fmr": 0.1,
            "threshold": 0.3,
            "achieved": {"genuine": 9, "impostor": 9, "false_non_matches": 1, "false_matches": 1},
        }
    ],
}  # fmt: skip
SETTINGS = '[fit]\nlr = 1e-3\nsteps = 10\nbetas = [0.9, 0.99]\n[masks]\ntypes = "cloth"\n'
MASK = {"spec": sample_spec(7, "a/1", MaskOptions()).to_json()}
SAY = SimpleNamespace(warn=str, info=str)


def read_masks(path: Path) -> None:
    book = MaskBook(path)
    try:
        book.is_early("a/1")
        book.specs("a/1", 1)
    finally:
        book.close()


def read_manifest(path: Path) -> None:
    for item in open_source(str(path)):
        item.record.files()
        text_of(item.record.to_json())


def read_thresholds(path: Path) -> None:
    ThresholdFile(path).settings_for({"model": "arcface"}, Path("e.h5"), SAY)


def read_recipe(path: Path) -> None:
    refuse_other_commands(path.parent, "align")
    check_options(path.parent, {"size": 112})


@dataclass(frozen=True)
class FuzzedSettings(RunSettings):
    views: ViewOptions
    masks: MaskSettings
    fit: FitOptions
    card: CardOptions


def read_settings(path: Path) -> None:
    request = TrainRequest((), Path("m"), config=path)
    resolve_settings(request, FuzzedSettings, {"small": {}})


def read_words(path: Path) -> None:
    """Read what the command line takes as settings."""
    for line in path.read_text("utf-8", "replace").splitlines():
        table, name, value = parse_set(line)
        make(FitOptions, {name: value}, table)


def read_names(path: Path) -> None:
    """Read what the command line takes as names of archives and numbers of shards."""
    for line in path.read_text("utf-8", "replace").splitlines():
        for parse in (expand_braces, Shard.parse):
            with suppress(MfrError):
                parse(line)


def of(read: Callable[..., object], *arguments: object) -> Callable[[Change, random.Random], bytes]:
    """Return a remake that changes nothing but what `read` is given."""
    return lambda change, _: read(change, *arguments)


FORMATS = (
    Format(
        "embeddings", "e.h5", lambda: embedding_file(FIELDS, ATTRIBUTES), read_embeddings,
        odd_embeddings,
    ),
    Format("model card", "m.safetensors", model_file, read_model, of(model_file, "card")),
    Format("model table", "m.safetensors", model_file, read_model, of(model_file, "table")),
    *(Format(f"picture {kind}", f"p.{kind}", of_kind(kind), read_image) for kind in KINDS),
    Format("pytorch", "m.pth", lambda: pickled(foreign_contents()[0]), read_foreign, odd_foreign),
    Format("onnx", "m.onnx", onnx_file, load_onnx),
    Format("tar", "t.tar", tar_file, read_items, lambda c, _: tar_file([c(RECORD), c(FACTS)])),
    Format("rec", "r.rec", rec_file, read_items, beside=write_index),
    Format("rec index", "r.idx", index, read_rec, beside=write_rec),
    Format("verification", "v.bin", lambda: pickle.dumps(bin_content()), read_bin, odd_bin),
    document("manifest", "manifest.jsonl", RECORD, read_manifest),
    document("traits", "traits.jsonl", RECORD, read_covariates),
    document("thresholds", "t.json", THRESHOLDS, read_thresholds),
    document("recipe", "run.json", {"command": "align", "options": {"size": 112}}, read_recipe),
    document(
        "benchmark", "benchmark.json", {"options": {"seed": 7}, "models": ["arcface"]},
        lambda path: BenchmarkFolder(path.parent, anew=False).begin({"seed": 7}),
    ),
    document("masks", "m.jsonl", {**RECORD, "mask": MASK}, lambda path: read_masks(path)),
    document(
        "template", "m.json", {"points": {name: [1, 2.5] for name in ANCHORS}},
        lambda path: TemplateFile.read(path.with_suffix(".png")),
        beside=lambda path: path.with_suffix(".png").write_bytes(picture()),
    ),
    document("json", "a.json", {"a": [1, "b"]}, lambda path: parse_json(path.read_bytes(), "a")),
    lines("settings", "s.toml", SETTINGS, read_settings),
    lines("words", "w.txt", "fit.lr=1e-3\nfit.betas=[0.9, 0.99]\nfit.steps=1_000\n", read_words),
    lines("names", "n.txt", "a-{0..9}.tar\n{a,b}{c,d}.tar\n1/3\n", read_names),
    lines("pairs lfw", "p.txt", "1 2\na 1 2\na 1 b 2\nb 1 2\nb 1 a 2\n", read_pairs),
    lines("pairs csv", "p.csv", "path1,path2,same,fold\na/1.jpg,a/2,1,0\na/1,b,0,1\n", read_pairs),
    lines("scores", "s.tsv", "key_a\tkey_b\tsame\tscore\na/1\ta/2\t1\t0.5\n", read_scores),
    lines("traits csv", "t.csv", "key,sex\na/1.jpg,f\nb/1,m\n", read_covariates),
    lines("templates", "t.txt", "a/1.jpg 1 7\na/2.jpg 1 8\nb/1.jpg 2 9\n", read_templates),
)  # fmt: skip
