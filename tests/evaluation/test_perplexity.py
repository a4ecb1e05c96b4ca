"""Perplexity against a token-by-token sum by brute force, and against itself cut in other ways."""

import math

import numpy as np
import pytest
import torch

from regard.bundle import Model
from regard.data.batches import EvaluationBatches
from regard.data.store import Part, TextData, prepare
from regard.evaluation import batch_loss, evaluate, evaluate_part
from regard.evaluation.perplexity import batches
from regard.generation import windows
from regard.settings import RegardError
from regard.store import save_model
from regard.text import Tokenizer
from tests.generation.models import decoder

TEXT = "abcabdcabbcad" * 9
TOKENIZER = Tokenizer.train([TEXT], kind="characters")


def model(**changes) -> Model:
    return Model(decoder(vocab_size=TOKENIZER.vocab_size, context_length=10, **changes), TOKENIZER)


def part(texts: list[str], end: bool = True) -> Part:
    ids, starts = [TOKENIZER.end] if end else [], []
    for text in texts:
        starts.append(max(0, len(ids) - end))
        ids += TOKENIZER.encode(text) + [TOKENIZER.end] * end
    bytes_ = sum(len(text.encode()) for text in texts)
    return Part("validation", np.array(ids, np.uint16), np.array(starts), len(texts), bytes_, bytes_)


@torch.inference_mode()
def by_hand(model: Model, part: Part, context: int, stride: int, apart: bool) -> float:
    """Each token alone, from the tokens that its window and document let it see."""
    ids, nats = part.ids.astype(int).tolist(), 0.0
    for target in range(1, len(ids)):
        place = target - 1  # the token that predicts it
        window = 0 if place < context else (place - context) // stride * stride + stride
        start = max([window, *(s for s in part.starts.tolist() if apart and s <= place)])
        logits = model.transformer(torch.tensor([ids[start:target]]))[0, -1]
        nats -= logits.log_softmax(-1)[ids[target]].item()
    return nats


@pytest.mark.parametrize(("context", "stride"), [(10, 10), (10, 3), (7, 1), (4, 4)])
@pytest.mark.parametrize("position", ["learned", "rotary"])
def test_each_token_is_predicted_once_from_its_window(position, context, stride):
    lm, text = model(position=position), part([TEXT[:53]])
    found = evaluate_part(lm, text, stride, context)
    assert found.tokens == 54  # and the end token
    assert found.loss * 54 == pytest.approx(by_hand(lm, text, context, stride, True), abs=1e-9)


@pytest.mark.parametrize("apart", [True, False])
def test_documents_are_kept_apart_or_not(apart):
    lm, text = model(), part([TEXT[:5], TEXT[5:6], TEXT[6:30], TEXT[30:33]])
    found = evaluate_part(lm, text, 4, separate_documents=apart)
    assert found.loss * found.tokens == pytest.approx(by_hand(lm, text, 10, 4, apart), abs=1e-9)


@pytest.mark.parametrize("stride", [10, 4])
def test_the_size_of_batches_changes_nothing(stride):
    lm, text = model(), part([TEXT[:40], TEXT[40:]])
    losses = [evaluate_part(lm, text, stride, batch_size=size).loss for size in (1, 3, 64)]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-12)


def test_without_overlap_it_is_what_training_reports():
    lm, text = model(), part([TEXT[:40], TEXT[40:55], TEXT[55:98]])
    mine = batches(text, 10, 10, 4, True)
    for one, other in zip(mine, EvaluationBatches(text, 4, 10), strict=True):
        assert torch.equal(one.targets, other.targets)
        one, other = (batch_loss(lm.transformer, batch).nll for batch in (one, other))
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize(("pairs", "context", "stride"), [(1, 4, 4), (9, 4, 4), (9, 4, 1), (9, 4, 3), (4, 4, 2)])
def test_windows_count_each_pair_once(pairs, context, stride):
    found = list(windows(pairs, context, stride))
    assert [n for w in found for n in range(w.first, w.end)] == list(range(pairs))
    assert all(w.start <= w.first < w.end <= w.start + context for w in found)
    assert all(w.first - w.start >= context - stride for w in found[1:])


def test_a_uniform_model_has_the_numbers_of_a_die():
    lm = model()
    with torch.no_grad():
        lm.transformer.decoder.input.tokens.weight.zero_()  # the head is tied: all logits are 0
    v = TOKENIZER.vocab_size
    found = evaluate_part(lm, part([TEXT]))
    assert found.loss == pytest.approx(math.log(v))
    assert found.perplexity == pytest.approx(v)
    assert found.bits_per_byte == pytest.approx(math.log2(v) * (len(TEXT) + 1) / len(TEXT))


def test_a_file_and_the_validation_part_of_a_run(tmp_path):
    lm = model()
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    whole = evaluate(lm, file)
    assert whole.loss == pytest.approx(evaluate_part(lm, part([TEXT])).loss, abs=1e-12)
    assert whole.bytes == len(TEXT)
    run = tmp_path / "run"
    save_model(run, lm.transformer, TOKENIZER)
    with pytest.raises(RegardError, match=r"name one to evaluate on"):
        evaluate(run)
    prepare(TextData(source=str(file), validation_fraction=0.2), TOKENIZER, run / "data")
    kept = evaluate(run)
    assert kept.bytes < len(TEXT) / 4
    assert "windows of 10 tokens, 10 apart" in str(kept)


def test_refused_is_one_sentence(tmp_path):
    with pytest.raises(RegardError, match=r"sees 10 tokens"):
        evaluate_part(model(), part([TEXT]), context_length=11)
    with pytest.raises(RegardError, match=r"stride is 11"):
        evaluate_part(model(), part([TEXT]), stride=11)
    wrong = part([TEXT])
    with pytest.raises(RegardError, match=r"another tokenizer"):
        evaluate_part(model(), Part("train", wrong.ids + 90, wrong.starts, 1, 1, 1))
    with pytest.raises(RegardError, match=r"there is no file"):
        evaluate(model(), tmp_path / "absent.txt")
