"""What holds for every paper: a file and a line, a lesson of one shape, a verdict that follows from the checks."""

import ast
import json
import sys
import types
from pathlib import Path

import pytest

from regard.cli import main
from regard.papers import PAPERS, Check, Reproduction, run

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "src" / "regard" / "papers"
SHARED = {"__init__", "base", "lengths", "run", "tools"}
SECTIONS = ("Source", "Printed", "Here", "Proxy")


def lesson(name: str) -> str:
    return ast.get_docstring(ast.parse((FOLDER / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8"))) or ""


def test_a_paper_is_one_file_and_one_line():
    files = {file.stem for file in FOLDER.glob("*.py")} - SHARED
    assert files == {name.replace("-", "_") for name in PAPERS}
    lines = (FOLDER / "__init__.py").read_text(encoding="utf-8").splitlines()
    for name in PAPERS:
        assert sum(f'"{name}"' in line for line in lines) == 1


@pytest.mark.parametrize("name", PAPERS)
def test_a_lesson_has_its_parts(name):
    text = lesson(name)
    places = [text.find(f"\n{section:<9}") for section in SECTIONS]
    assert -1 not in places, dict(zip(SECTIONS, places, strict=True))
    assert places == sorted(places)
    assert text.split("\n\n")[0].rstrip().endswith(".")


def check(holds: bool) -> Check:
    return Check("two and two make four", "4 (§1)", "2 + 2", holds)


def paper(*holds: bool) -> Reproduction:
    from regard.papers.tools import panels

    picture, (axes,) = panels()
    axes.plot([1, 2])
    return Reproduction(tuple(check(each) for each in holds), picture, notes=("a proxy",))


@pytest.mark.parametrize(
    ("holds", "verdict"),
    [
        ([True, True], "reproduced"),
        ([True, False], "reproduced in part"),
        ([False, False], "not reproduced"),
    ],
)
def test_the_verdict_follows_from_the_checks(holds, verdict):
    assert paper(*holds).verdict == verdict
    assert f"{verdict}: {sum(holds)} of 2 checks hold" in str(paper(*holds))


def test_without_checks_there_is_no_verdict():
    with pytest.raises(ValueError, match="at least one check"):
        Reproduction((), None)


@pytest.fixture
def three(monkeypatch):
    """Papers of our own: one that holds, one that does not, one that breaks."""

    def add(name, reproduce):
        module = types.ModuleType(f"regard.papers.{name}", "The lesson.")
        module.reproduce = reproduce
        monkeypatch.setitem(sys.modules, module.__name__, module)

    def breaks(seed):
        raise RuntimeError("no such number")

    add("true", lambda seed: paper(True))
    add("false", lambda seed: paper(2 + 2 == 5))
    add("broken", breaks)
    mine = {"true": "T", "broken": "B", "false": "F"}
    monkeypatch.setattr(run, "PAPERS", mine)
    monkeypatch.setattr("regard.papers.PAPERS", mine)


def test_one_paper(three, tmp_path, capsys):
    assert main(["reproduce", "false", "--out", str(tmp_path), "--seed", "3"]) == 0
    text = capsys.readouterr().out
    assert "✗ two and two make four" in text
    assert "not reproduced" in text
    result = json.loads((tmp_path / "false.json").read_text(encoding="utf-8"))
    assert (result["verdict"], result["seed"], result["lesson"]) == ("not reproduced", 3, "The lesson.")
    assert (tmp_path / "false.png").read_bytes().startswith(b"\x89PNG")
    assert "not reproduced" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_all_go_on_past_one_that_breaks(three, tmp_path, capsys):
    assert main(["reproduce", "all", "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    rows = [line.split()[:2] for line in captured.out.splitlines()[-3:]]
    assert rows == [["true", "reproduced"], ["broken", "failed"], ["false", "not"]]
    assert "no such number" in captured.err
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "![true](true.png)" in page
    assert "broken" not in page


def test_ctrl_c_leaves_what_is_done(three, tmp_path, capsys, monkeypatch):
    def stop(seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["regard.papers.broken"], "reproduce", stop)
    assert main(["reproduce", "all", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["true", "reproduced"]


def test_without_matplotlib_it_is_one_line(three, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in ("true", "all"):
        assert main(["reproduce", name, "--out", str(tmp_path)]) == 2
        assert "pip install 'regard[pictures]'" in capsys.readouterr().err


def test_without_a_name_it_lists_them(capsys):
    assert main(["reproduce"]) == 0
    out = capsys.readouterr().out
    assert all(name in out and title in out for name, title in PAPERS.items())


def test_the_same_seed_gives_the_same_numbers(three, monkeypatch):
    import torch

    def draws(seed):
        return Reproduction((Check("c", "p", f"{torch.rand(()).item()}", True),), paper(True).picture)

    monkeypatch.setattr(sys.modules["regard.papers.true"], "reproduce", draws)
    before = torch.get_rng_state()
    first, again, other = (run.reproduce("true", seed).checks[0].measured for seed in (0, 0, 1))
    assert first == again != other
    assert torch.equal(before, torch.get_rng_state())


def test_the_page_in_the_docs_is_made_of_its_results():
    folder = ROOT / "docs" / "papers"
    if folder.exists():
        assert (folder / "README.md").read_text(encoding="utf-8") == run.page(folder), "run make papers"
        for file in folder.glob("*.png"):
            assert file.stat().st_size <= 60_000, f"{file.name} is too large"
            assert file.stem in PAPERS


@pytest.mark.parametrize("name", ["gpt-scaling", "all"])
def test_a_place_that_cannot_be_written_to_is_said_before_the_work(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "reproduce", lambda *_: pytest.fail("it ran"))
    (tmp_path / "file").write_text("kept")
    assert main(["reproduce", name, "--out", str(tmp_path / "file")]) == 2
    error = capsys.readouterr().err
    assert "nothing can be written to" in error
    assert "Traceback" not in error
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("text", ["{broken", "[]", '{"name": "alibi"}', "\\xff"], ids=["json", "list", "half", "text"])
def test_a_damaged_result_is_left_out_of_the_page(text, tmp_path):
    (tmp_path / "alibi.json").write_text(text, encoding="utf-8")
    run.save(run.dataclasses.replace(paper(True), name="gpt-scaling", title="a title"), tmp_path)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "## gpt-scaling" in page
    assert "alibi" not in page
