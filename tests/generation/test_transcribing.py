"""The choice between what the decoder and CTC say, by hand, and rows alone beside rows in a batch."""

import numpy as np
import pytest
import torch

from regard.attention import Padding
from regard.features import LogMel
from regard.generation import Beam
from regard.generation.transcribing import Listening, Transcriber
from regard.inputs import Audio
from regard.model import CTC, ModelConfig, StackConfig, Transformer
from regard.settings import RegardError
from regard.text import Tokenizer

TOKENIZER = Tokenizer.train(["a b c d"], kind="characters", special=("begin", "end"))
FEATURES = LogMel(rate=1000, n_mels=6, window_ms=64, hop_ms=20, normalise="utterance")


def transcriber(ctc=0.5):
    stack = StackConfig(n_layers=1, residual="pre")
    config = ModelConfig(
        vocab_size=TOKENIZER.vocab_size,
        d_model=12,
        n_heads=2,
        source=Audio(features=FEATURES),
        encoder=stack,
        decoder=stack,
        ctc=CTC(weight=ctc) if ctc else None,
    )
    model = Transformer(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.4)
    return Transcriber(model, TOKENIZER)


def sounds(*lengths):
    random = np.random.default_rng(0)
    return [random.standard_normal(length).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("joint", [0.0, 0.3])
def test_a_batch_gives_what_each_gives_alone(joint):
    ear, several = transcriber(), sounds(900, 300, 620, 40)
    together = ear.transcribe(several, limit=6, joint=joint)
    for sound, one in zip(several, together, strict=True):
        [alone] = ear.transcribe([sound], limit=6, joint=joint)
        assert alone.ids == one.ids
        assert alone.log_probability == pytest.approx(one.log_probability, abs=1e-4)  # float32 features
        assert one.seconds == len(sound) / 1000


@torch.inference_mode()
def test_the_score_is_what_both_say():
    """Every candidate scored by hand: the decoder's ln p teacher-forced, CTC's by torch."""
    ear, [sound] = transcriber(), sounds(800)
    encoded = ear.encode([sound])
    log_p = ear.model.ctc(encoded.x)
    texts = {(0, 1): -1.0, (2,): -3.0, (3, 3, 3): -0.5, tuple(range(4)) * 20: -0.1}  # the last has no path

    def both(ids, own, joint):
        counts, length = torch.tensor([len(ids)]), torch.tensor([log_p.shape[1]])
        nats = torch.nn.functional.ctc_loss(
            log_p.transpose(0, 1), torch.tensor([ids]), length, counts, log_p.shape[-1] - 1, "sum"
        )
        return (1 - joint) * own - joint * nats.item()

    [path] = ear.spelt_ids(encoded)
    own = ear._log_p([tuple(path)], encoded)[0]
    inputs = torch.tensor([[ear.begin, *path]])
    rows = ear.model(inputs, encoded=encoded).log_softmax(-1)[0]
    assert own == pytest.approx(sum(rows[i, word].item() for i, word in enumerate([*path, ear.end])), abs=1e-9)
    every = {**texts, tuple(path): own}
    for joint in (0.01, 0.2, 0.5, 0.99):
        [chosen] = ear._chosen([dict(texts)], encoded, joint, 80)
        expected = max(every, key=lambda ids: both(ids, every[ids], joint))
        assert chosen == {expected: every[expected]}


def test_without_ctc_the_decoder_alone_decides():
    ear, several = transcriber(ctc=None), sounds(500, 300)
    assert [one.ids for one in ear.transcribe(several, limit=5)] == [
        one.ids for one in ear.transcribe(several, Beam(), limit=5, joint=0)
    ]
    with pytest.raises(RegardError, match="joint=0"):
        ear.transcribe(several, joint=0.5)
    with pytest.raises(RegardError, match="without CTC"):
        ear.spelt(several)


def test_times_by_hand():
    """Four vectors of half a second: all of the first, the last two alike, and a look spread over all."""
    weights = torch.tensor([[1, 0, 0, 0], [0, 0, 0.5, 0.5], [0.25, 0.25, 0.25, 0.25]])
    listening = Listening(("a", "b", "end"), weights, 0.5)
    assert listening.times == [(0.0, 0.5), (1.0, 2.0), (0.0, 2.0)]
    many = Listening(("a",), torch.full((1, 150), 1 / 150), 0.04)
    assert max(map(len, str(many).splitlines())) <= 2 + 2 * 50
    assert many.svg().count("<rect") == 50 + 6


def test_who_cannot_hear():
    open_ = Tokenizer.train(["a"], kind="characters", special=())
    with pytest.raises(RegardError, match="would never end"):
        Transcriber(transcriber().model, open_)
    words = Transformer(ModelConfig(vocab_size=9, d_model=8, n_heads=2, decoder=StackConfig(n_layers=1)))
    with pytest.raises(RegardError, match="reads text, not sound"):
        Transcriber(words, TOKENIZER)


def test_an_encoder_hears_padded_rows_as_alone():
    ear, several = transcriber(), sounds(700, 250)
    encoded = ear.encode(several)
    assert isinstance(encoded.mask, Padding)
    for row, sound in enumerate(several):
        alone = ear.encode([sound])
        assert torch.allclose(encoded.x[row, : alone.x.shape[1]], alone.x[0], atol=1e-6)
