"""Every mechanism has its figure, drawn from its code, and its line in Chinese."""

import importlib
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from regard.pages import FAMILIES, pages

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = pages()


@pytest.fixture
def figures(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("figures")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)
def test_a_figure_is_drawn(figures, page):
    drawn = [axes for axes in figures.draw(page, quick=True).axes if axes.axison]
    assert any(axes.get_title() for axes in drawn)
    for axes in drawn:
        assert axes.has_data()
        assert axes.get_label() == "<colorbar>" or (axes.get_title() and axes.get_xlabel())


def test_a_new_kind_has_its_figure_by_itself(figures, monkeypatch):
    """One that tells neither weights nor values: who depends on whom is measured."""
    import torch

    from regard.attention import Attention, AttentionModule

    class Average(Attention):
        offers = frozenset({"self", "causal"})

        def build(self, sizes):
            return AverageModule(sizes)

    class AverageModule(AttentionModule):
        def forward(self, x, memory, view, position, entry):
            seen = view.seen()[:, 0].to(x.dtype)
            return torch.einsum("bts,bsd->btd", seen / seen.sum(-1, keepdim=True), x)

    family = importlib.import_module("figures.attention")
    monkeypatch.setattr(family, "make", lambda *_: Average())
    figure = figures.draw(next(page for page in PAGES if page.family == "attention")._replace(kinds=("average",)))
    weights = figure.axes[0].images[0].get_array()
    length = len(family.SENTENCE)
    shares = (weights / weights.sum(1, keepdims=True)).filled(0)
    assert shares == pytest.approx(torch.ones(length, length).tril().div(torch.arange(1, length + 1)[:, None]).numpy())


def test_a_figure_is_small(figures, tmp_path):
    page = next(page for page in PAGES if "learned" in page.kinds)
    figures.save(figures.draw(page), tmp_path / "learned.png")
    with Image.open(tmp_path / "learned.png") as image:
        assert image.width == 700
    for file in [tmp_path / "learned.png", *(DOCS / "mechanisms").glob("*.png")]:
        assert file.stat().st_size <= 40_000, file.name


def test_every_page_has_its_figure_and_no_figure_is_left_over():
    drawn = {file.stem for file in (DOCS / "mechanisms").glob("*.png")}
    assert drawn == {Path(page.file).stem for page in PAGES}, "run make docs"


def test_every_kind_has_a_line_in_chinese():
    words = tomllib.loads((DOCS / "mechanisms.zh.toml").read_text(encoding="utf-8"))
    assert set(words) == {"families", *FAMILIES}
    assert set(words.pop("families")) == set(FAMILIES)
    for family, lines in words.items():
        kinds = {kind for page in PAGES if page.family == family for kind in page.kinds}
        assert set(lines) == kinds, f"docs/mechanisms.zh.toml, [{family}]"
        assert all(line.endswith("。") for line in lines.values())
