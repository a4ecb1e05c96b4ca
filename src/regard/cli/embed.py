"""`regard embed`: texts as vectors, and the texts that are nearest to another."""

from __future__ import annotations

import json as json_
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from regard.cli.lines import check_writable, one_line


def embed(
    model: Annotated[str, Parameter(help="The folder of a run or of a model, or a name of regard models.")],
    file: Annotated[str | None, Parameter(help="A text a line, or a table; - reads what is piped in.")] = None,
    /,
    *,
    text: Annotated[str | None, Parameter(help="This text, and no file.")] = None,
    column: Annotated[str | None, Parameter(help="The column of the texts: its name, or number from 1.")] = None,
    out: Annotated[str | None, Parameter(help="Write the vectors into this .npy file, a row a text.")] = None,
    search: Annotated[str | None, Parameter(help="Print the texts of the file that are nearest to this one.")] = None,
    top: Annotated[int, Parameter(help="How many are found.")] = 10,
    long: Annotated[
        Literal["begin", "windows", "refuse"] | None,
        Parameter(help="A text longer than the model reads: its beginning, all of it in windows, or refuse it."),
    ] = None,
    json: Annotated[bool, Parameter(help="One JSON object a text that was found; vectors are always so.")] = False,
    encoding: Annotated[
        str, Parameter(help="How the file writes letters, such as gb18030; auto: it is found out.")
    ] = "auto",
    device: Annotated[str | None, Parameter(help="cpu, cuda …; a GPU if there is one.")] = None,
) -> None:
    """Turn texts into vectors, or find those that are nearest in meaning to another.

    Vectors are printed as JSONL, in the order of the texts. A blank text has a vector of zeros, and is never found.
    """
    from regard.bundle import load
    from regard.prediction.embed import CHUNK, chunks
    from regard.settings import RegardError

    if out is not None:
        if search is not None:
            raise RegardError("--out writes vectors and --search prints texts: give one of them.")
        if Path(out).suffix != ".npy":
            raise RegardError(f"vectors are written as .npy, and {out!r} does not end so.")
        check_writable(out)
    bundle = load(model, device=device)
    reader = bundle.reader("embed", long=long)
    texts = _texts(file, text, column, encoding)
    if search is not None:
        for hit in reader.search(search, texts, top):
            record = {"score": hit.score, "number": hit.number + 1, "text": hit.text}
            print(json_.dumps(record, ensure_ascii=False) if json else one_line(str(hit)), flush=True)
        return
    parts = ((part, reader.predict(part)) for part in chunks(texts, CHUNK))
    if out is not None:
        rows = _save(Path(out), (vectors for _, vectors in parts), reader.size)
        print(f"regard: {rows:,} vectors of {reader.size} are in {out}.", file=sys.stderr)
        return
    for part, vectors in parts:
        for one, vector in zip(part, vectors, strict=True):
            shown = [float(f"{value:.9g}") for value in vector]  # 9 digits are a float32 exactly
            print(json_.dumps({"text": one, "vector": shown}, ensure_ascii=False))
        sys.stdout.flush()


def _texts(file: str | None, text: str | None, column: str | None, encoding: str) -> Iterator[str]:
    from regard.cli.predict import _say, _source
    from regard.data.inputs import read_inputs
    from regard.data.labelled import LabelledData
    from regard.settings import RegardError

    if text is not None:
        if file is not None:
            raise RegardError("give a file or --text, and not both.")
        if not text.strip():
            raise RegardError("the text is empty: give --text a few words.")
        yield text
        return
    data = LabelledData(text=column or "auto", second="none", encoding=encoding)
    for example in read_inputs(_source(file, "--text"), data, say=_say):
        yield example.text


def _save(path: Path, parts: Iterable[Any], size: int) -> int:
    """Writes vectors as they come, beside the file and then in its place; returns how many there are."""
    import numpy as np

    def header(file: Any, rows: int) -> None:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, size)}
        np.lib.format.write_array_header_1_0(file, shape)  # it keeps room for the rows to become more

    beside = path.with_name(f".{path.name}.{os.getpid()}")
    rows = 0
    try:
        with open(beside, "wb") as file:
            header(file, 0)
            for vectors in parts:
                file.write(np.ascontiguousarray(vectors, "<f4").tobytes())
                rows += len(vectors)
            file.seek(0)
            header(file, rows)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return rows
