"""Words behind masks: as transformers says them, and as a small encoder learns to within seconds."""

import pytest
import torch
import transformers

from regard import load
from regard.model import LanguageHead, ModelConfig, StackConfig, Transformer
from regard.positions import Rotary
from regard.prediction import Filler
from regard.prediction.fill import filled
from regard.settings import RegardError
from regard.text import Tokenizer
from regard.training.recipes_encoders import SPECIAL

TEXT = "the cat sat on the mat. a dog ran in the garden, slowly"


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train([TEXT] * 3, kind="wordpiece", vocab_size=90, special=SPECIAL, lowercase=True)


def encoder(tokenizer, **changes):
    return Transformer(
        ModelConfig(
            vocab_size=tokenizer.vocab_size, d_model=16, n_heads=2, context_length=24, decoder=None,
            encoder=StackConfig(n_layers=1, position=Rotary()), **changes,
        )
    )  # fmt: skip


def test_several_masks_have_probabilities_and_places(tokenizer):
    text = "the [MASK] sat on the [MASK]."
    blanks = Filler(encoder(tokenizer), tokenizer).fill(text, k=4)
    assert [text[blank.start : blank.end] for blank in blanks] == ["[MASK]", "[MASK]"]
    for blank in blanks:
        p = [one.probability for one in blank.candidates]
        assert len(p) == 4
        assert p == sorted(p, reverse=True)
    whole = Filler(encoder(tokenizer), tokenizer).fill(text, k=1000)
    assert sum(one.probability for one in whole[0].candidates) == pytest.approx(1, abs=1e-5)
    assert filled(text, blanks).startswith("the " + blanks[0].candidates[0].text.removeprefix("##"))


def test_a_text_does_not_depend_on_the_others(tokenizer):
    filler = Filler(encoder(tokenizer).double(), tokenizer)
    texts = ["a [MASK] ran", "the cat sat on the [MASK]. a dog ran in the garden"]
    together = filler.predict(texts)
    for text, blanks in zip(texts, together, strict=True):
        alone = filler.fill(text)
        for one, other in zip(alone[0].candidates, blanks[0].candidates, strict=True):
            assert one.id == other.id
            assert one.probability == pytest.approx(other.probability, abs=1e-6)


def test_what_cannot_be_filled_is_one_sentence(tokenizer):
    with pytest.raises(RegardError, match="no mask"):
        Filler(encoder(tokenizer), tokenizer).fill("the cat")
    with pytest.raises(RegardError, match="reads 22 at once"):
        Filler(encoder(tokenizer), tokenizer).fill("[MASK] " * 40)
    plain = Tokenizer.train([TEXT], kind="characters", special=("class",))
    with pytest.raises(RegardError, match="no mask token"):
        Filler(encoder(plain), plain)
    decoder = ModelConfig(vocab_size=90, d_model=16, n_heads=2, head=LanguageHead())
    with pytest.raises(RegardError, match="no head for hidden words"):
        Filler(Transformer(decoder), tokenizer)


def test_the_vocabulary_and_the_answers_are_those_of_transformers(tokenizer, tmp_path):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=40, max_position_embeddings=24, pad_token_id=tokenizer.pad,
    )  # fmt: skip
    theirs = transformers.BertForMaskedLM(config).eval()
    with torch.no_grad():
        for tensor in theirs.parameters():
            tensor.normal_(0, 0.3)
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    read = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), mask_token="[MASK]")
    ids = [tokenizer.class_, *read.encode("the [MASK] sat on it", add_special_tokens=False), tokenizer.separator]
    assert ids.count(tokenizer.mask) == 1
    with torch.no_grad():
        logits = theirs(torch.tensor([ids])).logits[0, ids.index(tokenizer.mask)]
    likely = logits.softmax(-1).topk(6)
    ours = load(tmp_path).fill("The [MASK] sat on it", 6)[0]
    assert [one.id for one in ours.candidates] == likely.indices.tolist()
    assert [one.probability for one in ours.candidates] == pytest.approx(likely.values.tolist(), abs=1e-5)
