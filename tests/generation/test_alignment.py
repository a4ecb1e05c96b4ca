"""Alignments: the weights that the plain formula gives, and pictures that a parser and a terminal can read."""

import xml.etree.ElementTree as ET

import pytest
import torch
from rich.cells import cell_len

from regard.attention import Padding
from regard.generation import Beam, align, beam_search, links, to_svg, to_text
from regard.layers import taps
from regard.model import ModelConfig, Normal, RecurrentConfig, StackConfig, Transformer
from regard.settings import RegardError

SVG = "{http://www.w3.org/2000/svg}"


def translator(layers=3, cross="dot"):
    stack = StackConfig(n_layers=layers, position="sinusoidal", residual="pre", cross=cross)
    config = ModelConfig(
        vocab_size=13, d_model=12, n_heads=3, context_length=16, encoder=stack, decoder=stack,
        initialisation=Normal(std=0.5),
    )  # fmt: skip
    return Transformer(config, 3).double().eval()


@torch.no_grad()
@pytest.mark.parametrize(("layer", "heard"), [(None, 1), (0, 0), (-1, 2)])
def test_rows_of_unequal_length_are_what_each_gives_alone(layer, heard):
    """From the queries and keys of that layer, by hand; the penultimate unless another is asked for."""
    model = translator()
    sources = torch.randint(13, (2, 7), generator=torch.Generator().manual_seed(1))
    prompts, texts, lengths = [[0], [0, 5]], [[3, 4, 7, 1], [2, 1]], torch.tensor([4, 7])
    found = align(model, model.encode(sources, Padding(lengths)), prompts, texts, layer)
    for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        known = {}
        with taps(lambda name, x, known=known: known.update({name: x})):
            model(torch.tensor([[*prompt, *text[:-1]]]), source=sources[row : row + 1, : lengths[row]])
        q, k = (known[f"decoder.{heard}.cross.{name}"][0] for name in "qk")
        weights = (q @ k.mT / 2.0).softmax(-1).mean(0)[len(prompt) - 1 :]
        assert found[row].shape == (len(text), lengths[row])
        torch.testing.assert_close(found[row], weights, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[row].sum(-1), torch.ones(len(text), dtype=torch.float64))


DECODERS = {order: RecurrentConfig(n_layers=2, order=order) for order in ("before", "after", "fed")}
DECODERS["transformer"] = StackConfig(n_layers=2, residual="pre")


@torch.no_grad()
@pytest.mark.parametrize("coverage", [0.0, 0.5])
@pytest.mark.parametrize("name", DECODERS)
def test_scores_of_a_search_are_those_of_its_texts_read_again(name, coverage):
    """log p and coverage of each text by teacher-forced passes; the words of a prefix cover too."""
    encoder = RecurrentConfig(n_layers=1, bidirectional=True) if name != "transformer" else StackConfig(n_layers=1)
    config = ModelConfig(
        vocab_size=13, d_model=12, n_heads=2, context_length=24, encoder=encoder, decoder=DECODERS[name],
        initialisation=Normal(std=0.5),
    )  # fmt: skip
    model = Transformer(config, 1).double().eval()
    sources, lengths = torch.randint(13, (2, 6), generator=torch.Generator().manual_seed(1)), torch.tensor([6, 3])
    prompts, beam = [[0], [0, 2]], Beam(size=3, coverage=coverage)
    encoded = model.encode(sources, Padding(lengths))
    for row, found in enumerate(beam_search(model, prompts, beam, 6, end=1, n_best=3, encoded=encoded)):
        source, prompt = sources[row : row + 1, : lengths[row]], prompts[row]
        assert len(found) == 3
        for one in found:
            text = [*one.ids, 1] if one.finished == "end" else one.ids
            log_p = model(torch.tensor([[*prompt, *text]]), source=source)[0, len(prompt) - 1 : -1].log_softmax(-1)
            own = log_p.gather(1, torch.tensor(text)[:, None]).sum().item()
            [looked] = align(model, model.encode(source), [prompt[:1]], [[*prompt[1:], *text]])
            covered = looked.sum(0).clamp_max(1.0).log().sum().item()
            assert one.log_probability == pytest.approx(own, abs=1e-9)
            assert one.score == pytest.approx(own / len(text) + coverage * covered, abs=1e-9)


def test_the_only_layer_is_the_one():
    model = translator(layers=1)
    with torch.no_grad():
        [weights] = align(model, model.encode(torch.tensor([[1, 2, 3]])), [[0]], [[4, 5]])
    assert weights.shape == (2, 3)


def test_what_cannot_be_aligned_is_refused():
    model = translator()
    with torch.no_grad():
        encoded = model.encode(torch.tensor([[1, 2, 3]]))
        with pytest.raises(RegardError, match="layer 3 does not look"):
            align(model, encoded, [[0]], [[4]], layer=3)
        with pytest.raises(RegardError, match="do not go together"):
            align(model, encoded, [[0]], [[4], [5]])
        with pytest.raises(RegardError, match="with an encoder and a decoder"):
            align(Transformer(ModelConfig(vocab_size=5, d_model=8, n_heads=2)), encoded, [[0]], [[4]])
        without = translator(cross="linear")
        with pytest.raises(RegardError, match="no weights"):
            beam_search(without, [[0]], Beam(coverage=0.2), 3, encoded=without.encode(torch.tensor([[1, 2, 3]])))


def test_links_are_the_strongest_looks():
    weights = torch.tensor([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    assert links(weights) == [(1, 0), (0, 1), (2, 2)]
    assert links(torch.zeros(0, 3)) == []


def test_a_picture_in_the_terminal():
    weights = torch.tensor([[0.05, 0.95], [0.6, 0.4], [0.3, 0.12]])
    assert to_text(weights, ["ab", "c"], ["I", "see", "no"]) == (
        "    a\n    b c\n  I   ██\nsee ▓▓▒▒\n no ▒▒░░\n    ░ ≥ 10%  ▒ ≥ 25%  ▓ ≥ 50%  █ ≥ 75%\n"
    )


def test_wide_characters_keep_the_columns_straight():
    weights = torch.eye(3)
    lines = to_text(weights, ["我们", "e\u0301", "x" * 40], ["猫", "dog", "\x1b[2J"]).splitlines()
    rows = [line for line in lines if "█" in line and "≥" not in line]
    assert [cell_len(line.split("█")[0]) for line in rows] == [5, 7, 9]  # cells are two wide, the widest label is four
    assert "\x1b" not in "".join(lines)
    assert any("e\u0301" in line for line in lines)
    assert max(map(cell_len, lines)) < 50


def labels(picture):
    return [text.text for text in picture.iter(f"{SVG}text")]


def test_a_picture_as_svg_is_wellformed_and_names_everything():
    source, target = ["<b>", "&", "猫", '"'], ["a\x00b", "don't", ""]
    weights = torch.tensor([[0.1, 0.2, 0.6, 0.1], [1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    picture = ET.fromstring(to_svg(weights, source, target, title="<x> & y"))
    assert labels(picture)[:8] == ["<x> & y", "<b>", "&", "猫", '"', "a�b", "don't", "∅"]
    cells = [rect for rect in picture.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    assert len(cells) == 12
    assert cells[2].find(f"{SVG}title").text == "a�b ← 猫: 60%"
    framed = [place for place, cell in enumerate(cells) if cell.get("stroke") == "#d55e00"]
    assert framed == [2, 4, 8]
    assert cells[4].get("fill") == "#08306b"
    assert cells[5].get("fill") == "#ffffff"


def test_thirty_by_thirty_words_fit_their_picture():
    words = [f"word{n}" for n in range(30)]
    picture = ET.fromstring(to_svg(torch.eye(30), words, ["很长的词语"] * 30))
    wide, high = float(picture.get("width")), float(picture.get("height"))
    for rect in picture.iter(f"{SVG}rect"):
        assert float(rect.get("x", 0)) + float(rect.get("width")) <= wide
        assert float(rect.get("y", 0)) + float(rect.get("height")) <= high
    assert wide < 800
    assert high < 800


def test_weights_of_another_shape_are_refused():
    for draw in (to_svg, to_text):
        with pytest.raises(RegardError, match=r"shape \[2, 3\] does not go with 2 target and 2"):
            draw(torch.zeros(2, 3), ["a", "b"], ["c", "d"])
