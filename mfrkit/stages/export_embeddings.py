"""Embeddings for other programs: Parquet, NPZ, CSV, a FAISS index, SQL for pgvector.

Rows are read and written some thousands at a time, so memory does not grow with their number; only
a FAISS index is held whole, because that is how faiss writes one.
"""

import csv
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows
from mfrkit.io.files import refuse_existing, replacing

_ROWS = 4096
_MASKED = {-1: None, 0: False, 1: True}


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and where to; the form is told by the suffix.

    Attributes:
        source: embedding file.
        output: file to write: `.parquet`, `.npz`, `.csv`, `.faiss` or `.sql`.
        table: name of the SQL table.
        force: replace an earlier file.
    """

    source: Path
    output: Path
    table: str = "embeddings"
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be written before anything is read."""
        if self.output.suffix not in WRITERS:
            known = ", ".join(WRITERS)
            raise InputError(f"{self.output}: expected a name ending in {known}")
        if not self.table.isidentifier():
            raise InputError(f"--table {self.table!r}: expected letters, digits and _")
        for path in (self.output, *self.companions):
            refuse_existing(path, force=self.force)

    @property
    def companions(self) -> list[Path]:
        """Further files the form needs: a FAISS index holds numbers alone."""
        return [Path(f"{self.output}.csv")] if self.output.suffix == ".faiss" else []


def export_embeddings(options: ExportOptions, console: Console) -> int:
    """Write all rows in another form.

    Returns:
        The number of rows.

    Raises:
        InputError: not an embedding file, or a library the form needs is not installed.
        OSError: the file system refused.
    """
    with EmbeddingReader(options.source) as reader:
        for path, writer in (
            (options.output, WRITERS[options.output.suffix]),
            *((path, _write_names) for path in options.companions),
        ):
            with replacing(path) as temporary:
                writer(reader, temporary, options, console)
        if reader.skipped_count:
            console.info(f"{reader.skipped_count} inputs without an embedding are left out")
        console.info(f"{reader.count} embeddings of {reader.dim} values -> {options.output}")
        return reader.count


def _blocks(reader: EmbeddingReader, console: Console) -> Iterator[Rows]:
    with console.progress("export", reader.count) as bar:
        for start in range(0, reader.count, _ROWS):
            rows = reader.block(start, min(start + _ROWS, reader.count))
            yield rows
            bar.update(len(rows.keys))


def _write_parquet(
    reader: EmbeddingReader, path: Path, options: ExportOptions, console: Console
) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError(f"{options.output}: Parquet needs pyarrow: pip install pyarrow") from error
    vector = pa.list_(pa.float32(), reader.dim)
    schema = pa.schema(
        [
            ("key", pa.string()),
            ("identity", pa.string()),
            ("masked", pa.bool_()),
            ("mask_type", pa.string()),
            ("norm", pa.float32()),
            ("embedding", vector),
        ]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for rows in _blocks(reader, console):
            flat = pa.array(rows.embeddings.ravel())
            columns = [
                pa.array([_readable(key) for key in rows.keys]),
                pa.array([_readable(name) for name in rows.identities]),
                pa.array([_MASKED[worn] for worn in rows.masked.tolist()], pa.bool_()),
                pa.array(rows.mask_type, pa.string()),
                pa.array(rows.norms),
                pa.FixedSizeListArray.from_arrays(flat, reader.dim),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _write_npz(
    reader: EmbeddingReader, path: Path, options: ExportOptions, console: Console
) -> None:
    """Write each array block by block; `numpy.load` reads the file without pickle."""
    columns: list[tuple[str, Callable[[Rows], Any], Any, tuple[int, ...]]] = [
        ("embeddings", lambda rows: rows.embeddings, np.dtype(np.float32), (reader.dim,)),
        ("norms", lambda rows: rows.norms, np.dtype(np.float32), ()),
        ("masked", lambda rows: rows.masked, np.dtype(np.int8), ()),
    ]
    texts: dict[str, Callable[[Rows], list[str]]] = {
        "keys": lambda rows: rows.keys,
        "identities": lambda rows: rows.identities,
        "mask_type": lambda rows: rows.mask_type,
    }
    longest = dict.fromkeys(texts, 1)
    for rows in _blocks(reader, console):
        for name, read in texts.items():
            longest[name] = max(longest[name], *map(len, read(rows)))
    columns += [(name, read, np.dtype(f"<U{longest[name]}"), ()) for name, read in texts.items()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, read, kind, tail in columns:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = {"descr": kind.str, "fortran_order": False}
                np.lib.format.write_array_header_2_0(
                    file, {**header, "shape": (reader.count, *tail)}
                )
                for rows in _blocks(reader, console):
                    file.write(np.ascontiguousarray(read(rows), kind).tobytes())


def _write_csv(
    reader: EmbeddingReader, path: Path, options: ExportOptions, console: Console
) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        values = [f"e{n}" for n in range(reader.dim)]
        writer.writerow(["key", "identity", "masked", "mask_type", "norm", *values])
        for rows in _blocks(reader, console):
            for place, names in enumerate(_named(rows)):
                writer.writerow([*names, *map(_number, rows.embeddings[place].tolist())])


def _write_names(
    reader: EmbeddingReader, path: Path, options: ExportOptions, console: Console
) -> None:
    """Write what a FAISS index has no room for; line n + 2 belongs to its vector n."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", "identity", "masked", "mask_type", "norm"])
        for rows in _blocks(reader, console):
            writer.writerows(_named(rows))


def _write_faiss(
    reader: EmbeddingReader, path: Path, options: ExportOptions, console: Console
) -> None:
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            f"{options.output}: a FAISS index needs faiss: pip install 'mfrkit[index]'"
        ) from error
    index = faiss.IndexFlatIP(reader.dim)
    for rows in _blocks(reader, console):
        index.add(np.ascontiguousarray(rows.embeddings))
    faiss.write_index(index, str(path))


def _write_sql(
    reader: EmbeddingReader, path: Path, options: ExportOptions, console: Console
) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.write(
            "CREATE EXTENSION IF NOT EXISTS vector;\n"
            f"CREATE TABLE {options.table} (key text PRIMARY KEY, identity text, masked boolean,\n"
            f"  mask_type text, norm real, embedding vector({reader.dim}));\n"
            f"COPY {options.table} FROM stdin;\n"
        )
        for rows in _blocks(reader, console):
            for place, (key, *rest) in enumerate(_named(rows)):
                cells = [_copied(key), *(_copied(cell) or r"\N" for cell in rest)]
                cells.append(f"[{','.join(map(_number, rows.embeddings[place].tolist()))}]")
                file.write("\t".join(cells) + "\n")
        file.write("\\.\n")


def _named(rows: Rows) -> Iterator[list[str]]:
    """Yield key, identity, masked, kind of mask and norm of each row; empty where unknown."""
    for place, key in enumerate(rows.keys):
        masked, norm = int(rows.masked[place]), float(rows.norms[place])
        worn = "" if masked < 0 else str(bool(masked)).lower()
        length = _number(norm) if np.isfinite(norm) else ""
        yield [key, rows.identities[place], worn, rows.mask_type[place], length]


def _number(value: float) -> str:
    """Write a float32 so that it comes back as it was."""
    return f"{value:.9g}"


def _copied(text: str) -> str:
    """Escape a text as PostgreSQL's COPY reads it."""
    for letter, escape in (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r")):
        text = text.replace(letter, escape)
    return text


def _readable(text: str) -> str:
    """Replace what is no Unicode in the name of a file, which Parquet cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()


Writer = Callable[[EmbeddingReader, Path, ExportOptions, Console], None]
WRITERS: dict[str, Writer] = {
    ".parquet": _write_parquet,
    ".npz": _write_npz,
    ".csv": _write_csv,
    ".faiss": _write_faiss,
    ".sql": _write_sql,
}
