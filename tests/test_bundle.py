"""The friendly object: what it writes is what its stream shows, and its errors say what to do."""

import json
import math
import os
import re
import stat

import pytest
import torch

import regard
from regard.bundle import Model, load
from regard.generation import Generation, Sampling
from regard.model import ModelConfig, Transformer
from regard.settings import RegardError
from regard.store import save_model
from regard.text import Tokenizer
from tests.generation.models import byte_tokenizer, decoder


@pytest.fixture(scope="module")
def lm() -> Model:
    return Model(decoder(vocab_size=257, seed=3), byte_tokenizer(), "tales")


def test_generate_is_its_stream_and_the_engine(lm):
    text = lm.generate("天地", 20, seed=1)
    assert text == "".join(piece.text for piece in lm.stream("天地", 20, seed=1))
    steps = Generation(lm.transformer, [list("天地".encode())], Sampling(seed=1), 20)
    assert lm.tokenizer.encode("a") == [97]
    assert text == lm.tokenizer.decode([step.id for step in steps])


def test_one_prompt_gives_a_text_several_give_a_list(lm):
    several = lm.generate(["a", "bcd"], 9, seed=1)
    assert several == [lm.generate("a", 9, seed=1), lm.generate("bcd", 9, seed=1)]
    assert lm.generate("a", 9, seed=1, samples=2) == [lm.generate("a", 9, seed=s) for s in (1, 2)]
    assert lm.generate(["a", "bcd"], 9, seed=1, samples=1) == [[text] for text in several]


def test_an_empty_prompt_starts_a_document(lm):
    steps = Generation(lm.transformer, [[256]], Sampling(seed=4), 10, end=256)
    assert lm.generate("", 10, seed=4) == lm.tokenizer.decode([step.id for step in steps])
    bare = Model(decoder(vocab_size=256), byte_tokenizer(special=()))
    with pytest.raises(RegardError, match=r"the prompt is empty"):
        bare.generate("")
    with pytest.raises(RegardError, match=r"no begin or end|empty"):
        bare.stream(["a", ""])


def test_a_begin_token_opens_every_prompt():
    tokenizer = byte_tokenizer(("begin", "end"))
    lm = Model(decoder(vocab_size=258), tokenizer)
    steps = Generation(lm.transformer, [[tokenizer.begin, 97]], Sampling(seed=4), 10, end=tokenizer.end)
    assert lm.generate("a", 10, seed=4) == tokenizer.decode([step.id for step in steps])


def test_end_may_be_ignored(lm):
    with torch.no_grad():
        lm = Model(decoder(vocab_size=257, seed=3), byte_tokenizer())
        lm.transformer.decoder.input.tokens.weight[256] *= 5  # makes the end token likely
    lengths = [len(list(lm.stream("a", 60, seed=1, end=end))) for end in (True, False)]
    assert lengths[0] < lengths[1] == 60


def test_settings_are_checked_before_the_first_piece(lm):
    for wrong in ({"temperature": -1}, {"stop": ""}, {"overflow": "wrap"}):
        with pytest.raises(RegardError):
            lm.stream("a", **wrong)
    with pytest.raises(TypeError):
        lm.stream("a", topk=3)


@torch.inference_mode()
def test_score_is_a_forward_pass(lm):
    text = "天 abc"
    score = lm.score(text, candidates=3)
    ids = [256, *text.encode()]
    own = lm.transformer(torch.tensor([ids]))[0].log_softmax(-1)
    expected = [own[place, token].item() for place, token in enumerate(ids[1:])]
    assert [token.log_probability for token in score.tokens] == pytest.approx(expected, abs=1e-9)
    assert score.log_probability == pytest.approx(sum(expected), abs=1e-9)
    assert score.perplexity == pytest.approx(math.exp(-sum(expected) / 7), rel=1e-6)
    assert [c.id for c in score.tokens[2].candidates] == own[2].topk(3).indices.tolist()


def test_a_first_token_that_nothing_precedes_has_no_probability():
    lm = Model(decoder(vocab_size=256), byte_tokenizer(special=()))
    score = lm.score("ab", candidates=1)
    assert score.tokens[0].log_probability is None
    assert score.predicted == 1
    assert lm.score("").predicted == 0


def test_a_long_text_is_scored_in_windows(lm):
    text = "ab" * 30
    parts = [(0, 24, 0), (24, 48, 0), (48, 60, 0)]
    ids = torch.tensor([[256, *text.encode()]])
    with torch.inference_mode():
        expected = [
            value
            for start, end, first in parts
            for value in lm.transformer(ids[:, start:end])[0]
            .log_softmax(-1)
            .gather(-1, ids[0, start + 1 : end + 1, None])[first:, 0]
            .tolist()
        ]
    assert [t.log_probability for t in lm.score(text).tokens] == pytest.approx(expected, abs=1e-9)
    assert lm.score(text, stride=1).log_probability != pytest.approx(sum(expected), abs=1e-3)


def test_a_folder_becomes_the_same_model(tmp_path, lm):
    save_model(tmp_path / "kept", lm.transformer.float(), lm.tokenizer)
    again = load(tmp_path / "kept", device="cpu")
    assert again.generate("ab", 20, seed=2) == lm.generate("ab", 20, seed=2)
    assert repr(again) == "<kept: decoder, 21,240 parameters, vocabulary of 257 (bytes), context of 24>"
    lm.transformer.double()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_may_be_read_as_the_umask_says(tmp_path, lm, umask, mode):
    before = os.umask(umask)
    try:
        save_model(tmp_path, lm.transformer, lm.tokenizer)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("config.json", "model.safetensors", "tokenizer.json"), mode)


def test_what_cannot_be_loaded_is_told(tmp_path, lm):
    with pytest.raises(RegardError, match=r"there is no folder"):
        load(tmp_path / "absent")
    with pytest.raises(RegardError, match=r"no model's folder"):
        load(tmp_path)
    save_model(tmp_path / "bare", lm.transformer)
    with pytest.raises(RegardError, match=r"no tokenizer.json"):
        load(tmp_path / "bare")
    assert load(tmp_path / "bare", tokenizer=byte_tokenizer(), device="cpu").tokenizer.end == 256
    larger = Tokenizer.train(["ab"], kind="bytes", special=("end", "pad"))
    with pytest.raises(RegardError, match=r"has 258 tokens and the model knows 257"):
        load(tmp_path / "bare", tokenizer=larger)


@pytest.mark.parametrize(
    "key", ["vocab_size", "d_model", "n_heads", "context_length", "decoder.n_layers", "decoder.d_ff"]
)
@pytest.mark.parametrize("size", [10**9, 10**30, 0, -1, "many", None])
def test_absurd_sizes_are_refused_before_anything_is_built(tmp_path, lm, key, size):
    save_model(tmp_path, lm.transformer, lm.tokenizer)
    config = json.loads((tmp_path / "config.json").read_text())
    *outer, last = key.split(".")
    (config["model"][outer[0]] if outer else config["model"])[last] = size
    (tmp_path / "config.json").write_text(json.dumps(config))
    if size is None and last == "d_ff":
        assert load(tmp_path).parameters == lm.parameters
        return
    with pytest.raises(RegardError, match=re.escape(str(tmp_path))) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["tpu", "meta", "cpu:x", "cuda:99"])
def test_a_device_that_is_not_there(tmp_path, lm, device):
    save_model(tmp_path, lm.transformer, lm.tokenizer)
    with pytest.raises(RegardError, match=f"there is no device '{device}'"):
        load(tmp_path, device=device)


def test_an_encoder_does_not_continue_texts():
    config = ModelConfig(vocab_size=257, d_model=8, n_heads=1, encoder={"n_layers": 1}, decoder=None)
    with pytest.raises(RegardError, match=r"only a decoder continues a text: use fill"):
        Model(Transformer(config), byte_tokenizer()).generate("a")


def test_every_public_name_is_there():
    for name in regard.__all__:
        assert getattr(regard, name).__name__ == name
    with pytest.raises(AttributeError, match=r"no attribute 'trian'"):
        _ = regard.trian
