"""Embeddings for other programs: Parquet, NPZ, CSV, a FAISS index, SQL for pgvector.

Rows are read and written some thousands at a time, so memory does not grow with their number; only
a FAISS index is held whole, because that is how faiss writes one.
"""

import csv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows
from mfrkit.io.files import refuse_existing, replacing
from mfrkit.stages.file_options import ExportOptions

_ROWS = 4096
_NAMES = ("key", "identity", "masked", "mask_type", "norm")
_MASKED = {-1: None, 0: False, 1: True}


def export_embeddings(options: ExportOptions, console: Console) -> int:
    """Write all rows in another form; return their number. A FAISS index gets a CSV of names too.

    Raises:
        InputError: an output of no known form or that exists, not an embedding file, or a library
            the form needs is not installed.
    """
    output, suffix = options.output, options.output.suffix
    if suffix not in _WRITERS:
        raise InputError(f"{output}: expected a name ending in {', '.join(_WRITERS)}")
    writers = {output: _WRITERS[suffix]}
    if suffix == ".faiss":
        writers[Path(f"{output}.csv")] = _write_names
    for path in writers:
        refuse_existing(path, force=options.force)
    with EmbeddingReader(options.source) as reader:

        def blocks() -> Iterator[Rows]:
            with console.progress("export", reader.count) as bar:
                for start in range(0, reader.count, _ROWS):
                    rows = reader.block(start, min(start + _ROWS, reader.count))
                    yield rows
                    bar.update(len(rows.keys))

        for path, write in writers.items():
            with replacing(path) as temporary:
                write(reader, blocks, temporary, options)
        if reader.skipped_count:
            console.info(f"{reader.skipped_count} inputs without an embedding are left out")
        console.info(f"{reader.count} embeddings of {reader.dim} values -> {output}")
        return reader.count


Blocks = Callable[[], Iterator[Rows]]


def _write_parquet(
    reader: EmbeddingReader, blocks: Blocks, path: Path, options: ExportOptions
) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError(f"{options.output}: Parquet needs pyarrow: pip install pyarrow") from error
    kinds = (pa.string(), pa.string(), pa.bool_(), pa.string(), pa.float32())
    vector = pa.list_(pa.float32(), reader.dim)
    schema = pa.schema([*zip(_NAMES, kinds, strict=True), ("embedding", vector)])
    with pq.ParquetWriter(path, schema) as writer:
        for rows in blocks():
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


def _write_npz(reader: EmbeddingReader, blocks: Blocks, path: Path, options: ExportOptions) -> None:
    """Write each array block by block; `numpy.load` reads the file without pickle."""
    longest = {"keys": 1, "identities": 1, "mask_type": 1}
    for rows in blocks():
        for name in longest:
            longest[name] = max(longest[name], *map(len, getattr(rows, name)))
    columns = {"embeddings": "<f4", "norms": "<f4", "masked": "|i1"}
    columns |= {name: f"<U{length}" for name, length in longest.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, kind in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                shape = (reader.count, reader.dim) if name == "embeddings" else (reader.count,)
                header = {"descr": kind, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(file, header)
                for rows in blocks():
                    file.write(np.ascontiguousarray(getattr(rows, name), kind).tobytes())


def _write_csv(reader: EmbeddingReader, blocks: Blocks, path: Path, options: ExportOptions) -> None:
    _write_table(path, blocks, [f"e{n}" for n in range(reader.dim)])


def _write_names(
    reader: EmbeddingReader, blocks: Blocks, path: Path, options: ExportOptions
) -> None:
    """Write the names alone; line n + 2 belongs to vector n of the index."""
    _write_table(path, blocks, [])


def _write_table(path: Path, blocks: Blocks, values: list[str]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_NAMES, *values])
        for rows in blocks():
            for names, vector in zip(_named(rows), rows.embeddings, strict=True):
                writer.writerow([*names, *map(_number, vector.tolist() if values else ())])


def _write_faiss(
    reader: EmbeddingReader, blocks: Blocks, path: Path, options: ExportOptions
) -> None:
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            f"{options.output}: a FAISS index needs faiss: pip install 'mfrkit[index]'"
        ) from error
    index = faiss.IndexFlatIP(reader.dim)
    for rows in blocks():
        index.add(np.ascontiguousarray(rows.embeddings))
    faiss.write_index(index, str(path))


def _write_sql(reader: EmbeddingReader, blocks: Blocks, path: Path, options: ExportOptions) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.write(
            "CREATE EXTENSION IF NOT EXISTS vector;\n"
            f"CREATE TABLE {options.table} (key text PRIMARY KEY, identity text, masked boolean,\n"
            f"  mask_type text, norm real, embedding vector({reader.dim}));\n"
            f"COPY {options.table} FROM stdin;\n"
        )
        for rows in blocks():
            for (key, *rest), vector in zip(_named(rows), rows.embeddings, strict=True):
                cells = [_copied(key), *(_copied(cell) or r"\N" for cell in rest)]
                cells.append(f"[{','.join(map(_number, vector.tolist()))}]")
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


_WRITERS: dict[str, Callable[[EmbeddingReader, Blocks, Path, ExportOptions], None]] = {
    ".parquet": _write_parquet,
    ".npz": _write_npz,
    ".csv": _write_csv,
    ".faiss": _write_faiss,
    ".sql": _write_sql,
}
