"""What objectives make of a batch: nothing is lost, draws are fair, and a row's draw is its own."""

from collections import Counter

import numpy as np
import pytest
import torch

from regard.attention import Padding, Prefix
from regard.data.batches import IGNORE, Batch, rows_of
from regard.data.pair_batches import pair_batch
from regard.evaluation import batch_loss
from regard.heads.length import Length
from regard.model import ModelConfig, StackConfig, Transformer
from regard.positions import Position, Sinusoidal
from regard.settings import SettingsError
from regard.store import load_model
from regard.text import Tokenizer
from regard.training import TrainingConfig, fit
from regard.training.objectives import MaskPredict, NextWord, Objective, SpanCorruption
from regard.training.schedules import Constant

BEGIN, END, MASK, FIRST = 0, 1, 2, 3


def pairs(lengths, seed=0, words=20):
    random = np.random.default_rng(seed)
    rows = [random.integers(FIRST, words, n) for n in lengths]
    return pair_batch([np.append(row, END) for row in rows], [row[::-1] for row in rows], BEGIN, END)


def text(rows, length, lengths=None, words=20):
    ids = torch.from_numpy(np.random.default_rng(1).integers(FIRST, words, (rows, length + 1)))
    return Batch(ids[:, :-1], ids[:, 1:], rows * length, lengths=lengths)


def translator(**changes):
    stack = StackConfig(n_layers=2, position=Sinusoidal())
    sizes = {"vocab_size": 64, "d_model": 16, "n_heads": 2, "context_length": 40}
    return ModelConfig(**{**sizes, "encoder": stack, "decoder": stack, "length": Length(), **changes})


def tokenizer(special=("begin", "end", "mask")):
    return Tokenizer.train(["abcdefgh"], kind="characters", special=special)


def equal(one, other):
    return all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(vars(one).values(), vars(other).values(), strict=True)
    )


class TestMaskPredict:
    def test_a_row_is_the_words_alone_and_hidden_ones_are_its_targets(self):
        batch = pairs([5, 1, 9])
        made = MaskPredict(mask=MASK).batch(batch, seed=3, step=7)
        assert made.inputs.shape == (3, 9)
        assert made.lengths.tolist() == made.prefix.tolist() == [5, 1, 9]
        hidden = made.targets != IGNORE
        assert torch.equal(hidden, made.inputs == MASK)
        assert made.target_count == hidden.sum()
        assert (hidden.sum(1) >= 1).all()
        for row, n in enumerate([5, 1, 9]):
            whole = torch.where(hidden, made.targets, made.inputs)[row, :n]
            assert torch.equal(whole, batch.targets[row, :n])
            assert not hidden[row, n:].any()
        assert torch.equal(made.source, batch.source)
        assert torch.equal(made.source_lengths, batch.source_lengths)

    def test_each_number_of_words_is_hidden_as_often_and_each_place(self):
        objective, n, draws = MaskPredict(mask=MASK), 4, 2000
        row = pairs([n])
        hidden = torch.cat([objective.batch(row, 0, step).inputs == MASK for step in range(draws)])
        counts = Counter(hidden.sum(1).tolist())
        assert sum((counts[k] - draws / n) ** 2 for k in range(1, n + 1)) / (draws / n) < 16  # 3 degrees of freedom
        assert ((hidden.double().mean(0) - (n + 1) / (2 * n)).abs() < 0.04).all()

    def test_a_draw_depends_on_seed_step_and_the_row_alone(self):
        objective, batch = MaskPredict(mask=MASK), pairs([8, 3, 8, 6])
        made = objective.batch(batch, 0, 5)
        assert equal(made, objective.batch(batch, 0, 5))
        assert not torch.equal(made.inputs, objective.batch(batch, 0, 6).inputs)
        assert not torch.equal(made.inputs, objective.batch(batch, 1, 5).inputs)
        micro = Batch(batch.inputs[2:], batch.targets[2:], 0, lengths=batch.lengths[2:])  # as if cut in two
        assert torch.equal(objective.batch(micro, 0, 5).inputs, made.inputs[2:])

    def test_full_rows_are_not_padded(self):
        made = MaskPredict(mask=MASK).batch(pairs([6, 6]), 0, 0)
        assert made.lengths is None
        assert made.prefix.tolist() == [6, 6]
        moved = made.to("cpu")
        assert torch.equal(moved.prefix, made.prefix)

    def test_the_loss_is_that_of_the_hidden_words_with_all_others_in_sight(self):
        model = Transformer(translator(), seed=1).double().eval()
        made = MaskPredict(mask=MASK).batch(pairs([5, 9, 2]), 0, 0)
        together = batch_loss(model, made)
        for row, n in enumerate([5, 9, 2]):
            ids, source = made.inputs[row : row + 1, :n], made.source[row : row + 1, : made.source_lengths[row]]
            log_p = model(ids, source=source, mask=Prefix(torch.tensor([n])))[0].log_softmax(-1)
            for place in range(n):
                word = made.targets[row, place]
                expected = 0.0 if word == IGNORE else -log_p[place, word].item()
                assert together.nll[row, place].item() == pytest.approx(expected, abs=1e-10)
        assert together.objective.item() == pytest.approx(together.nll.sum().item(), abs=1e-9)

    @pytest.mark.parametrize("kind", Position.kinds())
    def test_positions_that_cannot_tell_masks_apart_are_refused(self, kind):
        config = translator(decoder=StackConfig(n_layers=2, position=Position.resolve(kind)))
        model = Transformer(config, seed=1).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, dtype=torch.float64) * 0.2)
        n = torch.tensor([6])
        x = model(torch.full((1, 6), MASK), source=torch.tensor([[4, 5, 6]]), mask=Prefix(n) & Padding(n))[0]
        apart = (x - x[:1]).abs().max() > 1e-6
        if apart:
            assert MaskPredict().ready(config, tokenizer()).mask == tokenizer().special["mask"]
        else:
            with pytest.raises(SettingsError, match="take learned or sinusoidal"):
                MaskPredict().ready(config, tokenizer())

    @pytest.mark.parametrize(
        ("config", "special", "why"),
        [
            (translator(length=None), ("end", "mask"), "model.length"),
            (translator(), ("begin", "end"), "no"),
            (translator(encoder=None, length=None), ("end", "mask"), "an encoder with a Transformer decoder"),
        ],
        ids=["no-length", "no-mask", "no-encoder"],
    )
    def test_what_does_not_go_with_it_is_refused(self, config, special, why):
        with pytest.raises(SettingsError, match=why):
            MaskPredict().ready(config, tokenizer(special))


class TestSpanCorruption:
    def objective(self, config=None):
        return SpanCorruption(density=0.3, mean_length=2.0).ready(config or translator(), tokenizer())

    def test_rows_of_text_become_pairs_and_nothing_is_lost(self):
        objective = self.objective()
        assert (objective.sentinel, objective.begin, objective.end) == (
            63,
            *map(tokenizer().special.get, ("begin", "end")),
        )
        batch = text(3, 40, torch.tensor([40, 25, 1]))
        made = objective.batch(batch, 0, 0)
        assert made.prefix is None
        for row, n in enumerate([40, 25, 1]):
            source = made.source[row, : made.source_lengths[row]].tolist()
            target = made.targets[row, : made.lengths[row]].tolist()
            assert made.inputs[row, : made.lengths[row]].tolist() == [objective.begin, *target[:-1]]
            assert source.pop() == target.pop() == objective.end
            answers = {}
            for word in target:
                if word > 40:
                    answers[word] = here = []
                else:
                    here.append(word)
            assert list(answers) == [63 - number for number in range(len(answers))]
            again = [word for place in source for word in answers.get(place, [place])]
            assert again == batch.inputs[row, :n].tolist()
        assert made.target_count == (made.targets != IGNORE).sum()

    def test_full_windows_give_rows_of_one_size(self):
        made = self.objective().batch(text(5, 40), 0, 0)
        assert made.lengths is None
        assert made.source_lengths is None
        assert made.source.shape == (5, 40 - 12 + 6 + 1)
        assert made.inputs.shape == (5, 12 + 6 + 1)

    def test_a_draw_depends_on_seed_step_and_the_row_alone(self):
        objective, batch = self.objective(), text(4, 40)
        made = objective.batch(batch, 0, 5)
        assert equal(made, objective.batch(batch, 0, 5))
        assert not torch.equal(made.source, objective.batch(batch, 0, 6).source)
        micro = Batch(batch.inputs[2:], batch.targets[2:], 0)
        assert torch.equal(objective.batch(micro, 0, 5).source, made.source[2:])
        assert not torch.equal(made.source == 63, made.source[:1] == 63)  # each row is cut elsewhere

    def test_ids_of_its_own_come_on_top_of_the_tokenizers(self):
        objective = SpanCorruption(density=0.3, mean_length=2.0)
        assert objective.extra(40) == 6
        assert SpanCorruption().extra(512) == 26
        enough = tokenizer().vocab_size + 6
        assert objective.ready(translator(vocab_size=enough), tokenizer()).sentinel == enough - 1
        with pytest.raises(SettingsError, match=f"set model.vocab_size={enough}"):
            objective.ready(translator(vocab_size=enough - 1), tokenizer())
        given = objective.replace(sentinel=9)  # the tokenizer has them itself
        assert given.extra(40) == 0
        assert given.ready(translator(vocab_size=tokenizer().vocab_size), tokenizer()).sentinel == 9

    @pytest.mark.parametrize(
        ("config", "changes", "why"),
        [
            (translator(encoder=None, length=None), {}, "an encoder and a decoder"),
            (translator(target_vocab_size=64), {}, "share their words"),
            (translator(), {"density": 0.5, "mean_length": 1.0}, "the encoder rows of 41 tokens"),
            (translator(target_context_length=10), {}, "the decoder rows of 19 tokens"),
        ],
        ids=["no-encoder", "two-vocabularies", "source-too-long", "target-too-long"],
    )
    def test_what_does_not_go_with_it_is_refused(self, config, changes, why):
        with pytest.raises(SettingsError, match=why):
            SpanCorruption(**{"density": 0.3, "mean_length": 2.0, **changes}).ready(config, tokenizer())


def test_next_word_leaves_a_batch_as_it_is():
    batch = text(2, 5)
    assert NextWord().batch(batch, 0, 0) is batch
    assert NextWord().ready(translator(), tokenizer()) == NextWord()


@pytest.mark.parametrize("kind", Objective.kinds())
def test_settings_round_trip(kind):
    made = Objective.resolve(kind)
    assert Objective.resolve(made.to_dict()) == made
    assert made.every_word == (kind == "next_word")
    assert made.extra(128) == (6 if kind == "span_corruption" else 0)


class Reversals:
    """Eight pairs a step, cut into micro-batches as asked."""

    def __init__(self, accumulate=1):
        self.accumulate = accumulate

    def at(self, step, micro=0, rank=0, world=1):
        rows = rows_of(8, self.accumulate, micro, rank, world)
        whole = pairs([3, 9, 5, 4, 8, 6, 7, 2], seed=step)
        part = slice(rows.start, rows.stop)
        every = [x[part] for x in (whole.inputs, whole.targets, whole.lengths, whole.source, whole.source_lengths)]
        inputs, targets, lengths, source, source_lengths = every
        return Batch(inputs, targets, int(lengths.sum()), None, lengths, source, source_lengths)


def trained(folder, steps, accumulate=1):
    training = TrainingConfig(
        steps=steps,
        schedule=Constant(learning_rate=1e-3),
        batch_size=8,
        accumulate=accumulate,
        objective=MaskPredict(mask=MASK),
        checkpoint_every=2,
        device="cpu",
        compile="off",
    )
    fit(Transformer(translator(), seed=1), Reversals(accumulate), training, folder)
    return load_model(folder).state_dict()


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    whole = trained(tmp_path / "whole", 4)
    trained(tmp_path / "cut", 2)
    again = trained(tmp_path / "cut", 4)
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_cutting_a_batch_changes_nothing(tmp_path):
    whole, cut = trained(tmp_path / "whole", 3), trained(tmp_path / "cut", 3, accumulate=4)
    start = Transformer(translator(), seed=1).state_dict()
    moved = sum((whole[name] - start[name]).abs().sum() for name in whole)
    apart = sum((whole[name] - cut[name]).abs().sum() for name in whole)
    assert apart < 1e-3 * moved


def test_an_encoder_is_not_asked_for_the_next_word_which_it_sees():
    sizes = {"vocab_size": 9, "d_model": 8, "n_heads": 2, "encoder": {"n_layers": 1}, "decoder": None}
    with pytest.raises(SettingsError, match="take the recipe bert"):
        NextWord().ready(ModelConfig.from_dict(sizes), Tokenizer.train(["a b"], "characters"))
