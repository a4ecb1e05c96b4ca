"""`regard reproduce`: run what a paper claimed, and say whether it holds."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def reproduce(
    name: Annotated[str | None, Parameter(help="A paper's name, or all; nothing lists them.")] = None,
    /,
    *,
    out: Annotated[Path, Parameter(help="Where pictures, results and a page of them go.")] = Path("reproductions"),
    seed: Annotated[int, Parameter(help="What all random draws depend on.")] = 0,
) -> int:
    """Check what papers claimed, in minutes on a CPU.

    Prints each claim beside what is measured, and a verdict. Without a name: the papers there are.
    """
    from regard.papers import PAPERS

    if name is None:
        print("Papers (regard reproduce NAME, or all):\n")
        print("\n".join(f"  {paper:<{max(map(len, PAPERS))}}  {title}" for paper, title in PAPERS.items()))
        return 0
    if name == "all" or name in PAPERS:
        from regard.training.checkpoint import prepare

        prepare(out)  # a folder that cannot be written to is said before minutes of work
    if name == "all":
        return _all(out, seed)
    _one(name, out, seed)
    return 0


def _one(name: str, out: Path, seed: int) -> str:
    """Run, print and save one paper; its verdict."""
    from regard.papers import PAPERS
    from regard.papers.run import reproduce, save

    if name in PAPERS and sys.stderr.isatty():
        print(f"running {name}, at most some minutes; Ctrl-C stops …", file=sys.stderr, flush=True)
    found = reproduce(name, seed)
    print(found)
    save(found, out)
    print(f"{out / name}.png, .json", flush=True)
    return found.verdict


def _all(out: Path, seed: int) -> int:
    """Every paper in turn; one that raises is reported and the others go on. 1 if any did."""
    import traceback

    from regard.papers import PAPERS
    from regard.papers.base import check_matplotlib
    from regard.settings import RegardError

    check_matplotlib()
    rows: list[tuple[str, str, float]] = []
    try:
        for name in PAPERS:
            begun = time.perf_counter()
            try:
                verdict = _one(name, out, seed)
            except RegardError as error:
                print(f"regard: {error}", file=sys.stderr)
                verdict = "failed"
            except Exception:
                traceback.print_exc()
                verdict = "failed"
            rows.append((name, verdict, time.perf_counter() - begun))
            print("\n" + "─" * 100 + "\n", flush=True)
    finally:  # Ctrl-C leaves what is done, and its table
        print("\n".join(f"{name:<20}{verdict:<22}{seconds:>6.1f} s" for name, verdict, seconds in rows), flush=True)
    return int(any(verdict == "failed" for _, verdict, _ in rows))
