"""`regard transcribe`: write down what is said in recordings."""

from __future__ import annotations

import json as json_
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def transcribe(
    model: Annotated[str, Parameter(help="The folder of a run or of a model.")],
    /,
    *files: Annotated[str, Parameter(help="Recordings (wav, flac …); - or nothing reads one that is piped in.")],
    beams: Annotated[int, Parameter(help="Beginnings that the search keeps.")] = 4,
    tokens: Annotated[int, Parameter(help="At most so many tokens a recording.")] = 256,
    times: Annotated[bool, Parameter(help="A line for each token: when the model listened to what.")] = False,
    align: Annotated[str | None, Parameter(help="Draw what each token listened to, into this SVG file.")] = None,
    device: Annotated[str | None, Parameter(help="cpu, cuda …; a GPU if there is one.")] = None,
    json: Annotated[bool, Parameter(help="One JSON object a recording, for programs.")] = False,
) -> None:
    """Write down what is said in recordings.

    Each recording gives a line, in the order of their names on the command line.
    """
    from regard.bundle import load
    from regard.cli.lines import check_picture, one_line
    from regard.generation import Beam
    from regard.settings import RegardError

    if align is not None:
        if len(files) > 1:
            raise RegardError("one alignment is drawn at a time: give --align with one recording.")
        check_picture(align)
    ear = load(model, device=device)
    sources: list[str | bytes] = list(files) if files and files != ("-",) else [_piped()]
    for source in sources:
        heard = ear.transcribe(source, Beam(size=beams), tokens=tokens, listening=times or align is not None)
        listening = heard.listening
        if align is not None and listening is not None:
            Path(align).write_text(listening.svg(), encoding="utf-8")
        spans = list(zip(listening.tokens, listening.times, strict=True))[:-1] if times and listening else []
        if json:
            record = {
                "file": source if isinstance(source, str) else "-",
                "text": heard.text,
                "seconds": heard.seconds,
                "log_probability": heard.log_probability,
            }
            if times:
                record["tokens"] = [{"token": token, "from": start, "to": end} for token, (start, end) in spans]
            print(json_.dumps(record, ensure_ascii=False), flush=True)
            continue
        print(one_line(heard.text), flush=True)
        for token, (start, end) in spans:
            print(f"  {start:7.2f} – {end:6.2f} s  {one_line(token)}", flush=True)


def _piped() -> bytes:
    from regard.settings import RegardError

    data = b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read()
    if not data:
        raise RegardError("there is no recording: name a file, or pipe one in.")
    return data
