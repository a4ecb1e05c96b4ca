"""Recurrent stacks against torch's own cells, and their attention against the papers' formulas, step by step."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from regard.attention import Documents, Padding, Prefix
from regard.layers import taps
from regard.model import GRU, LSTM, ModelConfig, RecurrentConfig, StackConfig, Transformer
from regard.settings import RegardError, SettingsError, override

VOCAB, WIDTH = 11, 6


def built(encoder: dict | None, decoder: dict | None, seed: int = 0) -> Transformer:
    """A model in float64 whose weights are so large that nothing hides near zero."""
    sizes = {"vocab_size": VOCAB, "d_model": WIDTH, "n_heads": 2, "encoder": encoder, "decoder": decoder}
    model = Transformer(ModelConfig.from_dict(sizes)).double().eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6, generator=random)
    return model


def ids(rows: int, length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def theirs(cell) -> nn.RNNBase:
    """torch's layer with the weights of a cell of ours."""
    d_in, width = cell.input.matrix().shape[1], cell.width
    gru = cell.bias.shape[0] == 3 * width
    layer = (nn.GRU if gru else nn.LSTM)(d_in, width, batch_first=True).double()
    with torch.no_grad():
        layer.weight_ih_l0.copy_(cell.input.matrix())
        layer.weight_hh_l0.copy_(cell.recurrent.matrix())
        layer.bias_ih_l0.copy_(cell.bias)
        layer.bias_hh_l0.zero_()
        if gru:
            layer.bias_hh_l0[2 * width :] = cell.reset_bias
    return layer


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("formula", [False, True])
def test_a_cell_equals_torchs(cell, formula):
    model = built(None, {"kind": "recurrent", "cell": cell})
    layer = model.decoder.layers[0]
    x = torch.randn(3, 5, WIDTH, dtype=torch.float64)
    states = tuple(torch.randn(3, WIDTH, dtype=torch.float64) for _ in range(layer.n_states))
    real = torch.ones(3, 5, dtype=torch.bool) if formula else None
    out, last = layer.cell(x, states, real=real)
    known = tuple(state[None] for state in states)
    expected, ends = theirs(layer.cell)(x, known if len(known) > 1 else known[0])
    assert torch.allclose(out, expected, atol=1e-12)
    for one, other in zip(last, ends if len(known) > 1 else (ends,), strict=True):
        assert torch.allclose(one, other[0], atol=1e-12)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_bidirectional_encoder_equals_torchs_on_packed_rows(cell):
    model = built({"kind": "recurrent", "cell": cell, "bidirectional": True}, {"kind": "recurrent"})
    source, lengths = ids(3, 7), torch.tensor([4, 7, 1])
    encoded = model.encode(source, Padding(lengths))
    layer = model.encoder.layers[0]
    both = (nn.GRU if cell == "gru" else nn.LSTM)(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True).double()
    for suffix, one in (("", theirs(layer.cell)), ("_reverse", theirs(layer.backwards))):
        for name, parameter in one.named_parameters():
            both.get_parameter(name + suffix).data.copy_(parameter)
    embedded = model.encoder.input.tokens(source)
    packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
    out, ends = both(packed)
    expected, _ = pad_packed_sequence(out, batch_first=True)
    for row, n in enumerate(lengths.tolist()):
        assert torch.allclose(encoded.x[row, :n], expected[row, :n], atol=1e-12)
    last = ends[0] if cell == "lstm" else ends
    assert torch.allclose(encoded.last, torch.cat([last[0], last[1]], -1), atol=1e-12)


def test_a_pyramid_reads_pairs():
    """Seven frames become four vectors and then two; the odd last one is paired with zeros."""
    model = built({"kind": "recurrent", "n_layers": 3, "pyramid": 2}, {"kind": "recurrent"})
    source, lengths = ids(2, 7), torch.tensor([7, 3])
    encoded = model.encode(source, Padding(lengths))
    assert encoded.x.shape == (2, 2, WIDTH)
    assert encoded.mask.lengths.tolist() == [2, 1]
    for row, n in enumerate(lengths.tolist()):
        x = model.encoder.input.tokens(source[row : row + 1, :n])
        for layer in model.encoder.layers:
            if layer.pair:
                x = torch.cat([x, torch.zeros(1, x.shape[1] % 2, WIDTH, dtype=x.dtype)], 1)
                x = torch.cat([x[:, 0::2], x[:, 1::2]], -1)
            x = theirs(layer.cell)(x)[0]
        assert torch.allclose(encoded.x[row, : x.shape[1]], x[0], atol=1e-12)


def additive(cross, h, m):
    """Bahdanau's context: softmax over s of vᵀ tanh(W h + U m_s), times W_v m_s, through W_o."""
    q, k, v, o = (lambda x, map_=map_: x @ map_.matrix().T + map_.bias for map_ in (cross.q, cross.k, cross.v, cross.o))
    scores = torch.stack([cross.look[0] @ torch.tanh(q(h) + k(m_s)) for m_s in m])
    return o(sum(weight * v(m_s) for weight, m_s in zip(scores.softmax(0), m, strict=True)))


@pytest.mark.parametrize("order", ["before", "after", "fed"])
def test_a_decoder_does_what_its_formulas_say(order):
    cell = "gru" if order == "before" else "lstm"
    decoder = {"kind": "recurrent", "cell": cell, "order": order, "n_layers": 2}
    model = built({"kind": "recurrent", "bidirectional": True}, decoder)
    source, target = ids(1, 5), ids(1, 4, seed=2)
    encoded = model.encode(source)
    m, stack, cross = encoded.x[0], model.decoder, model.decoder.cross
    first = torch.tanh(stack.start(encoded.last))[0]
    n = len(first) // (2 * WIDTH)
    states = [[first[(layer * n + i) * WIDTH :][:WIDTH] for i in range(n)] for layer in range(2)]
    y = torch.zeros(WIDTH, dtype=torch.float64)
    expected = []
    for word in target[0]:
        x = stack.input.tokens(word)
        for number, layer in enumerate(stack.layers):
            given = x[None, None]
            context = additive(cross.attention, states[0][0], m) if order == "before" and number == 0 else None
            torchs = theirs(layer.cell)
            if number == 0 and order != "after":
                # [x; c] through one matrix [W C] is W x + C c.
                wide = type(torchs)(2 * WIDTH, WIDTH, batch_first=True).double()
                for name, parameter in torchs.named_parameters():
                    wide.get_parameter(name).data = parameter.data
                wide.weight_ih_l0.data = torch.cat([torchs.weight_ih_l0.data, cross.feed.matrix().data], 1)
                torchs, given = wide, torch.cat([x, context if order == "before" else y])[None, None]
                seen = context
            known = tuple(state[None, None] for state in states[number])
            _, ends = torchs(given, known if n > 1 else known[0])
            states[number] = [end[0, 0] for end in (ends if n > 1 else (ends,))]
            x = states[number][0]
        if order != "before":
            seen = additive(cross.attention, x, m)
        y = torch.tanh(cross.readout.matrix() @ torch.cat([x, seen]) + cross.readout.bias)
        expected.append(y)
    assert torch.allclose(stack(target, encoded=encoded)[0], torch.stack(expected), atol=1e-12)


def test_without_attention_the_decoder_gets_the_last_states_alone():
    model = built({"kind": "recurrent"}, {"kind": "recurrent", "cross": "none"})
    encoded, target = model.encode(ids(2, 5)), ids(2, 4, seed=2)
    other = encoded._replace(x=torch.randn_like(encoded.x))
    assert torch.equal(model(target, encoded=other), model(target, encoded=encoded))
    other = encoded._replace(last=torch.randn_like(encoded.last))
    assert not torch.allclose(model(target, encoded=other), model(target, encoded=encoded))


def test_beside_a_transformer_a_decoder_starts_from_the_mean():
    model = built({"n_layers": 1}, {"kind": "recurrent", "cross": "none"})
    source, target = ids(2, 5), ids(2, 4, seed=2)
    encoded = model.encode(source, Padding(torch.tensor([5, 3])))
    assert encoded.last is None
    for row, n in enumerate((5, 3)):
        mean = encoded._replace(last=encoded.x[row : row + 1, :n].mean(1))
        alone = model(target[row : row + 1], encoded=mean._replace(x=mean.x[row : row + 1]))
        assert torch.allclose(model(target, encoded=encoded)[row], alone[0], atol=1e-12)


@pytest.mark.parametrize("order", ["before", "after", "fed"])
def test_weights_are_seen_as_of_any_attention_and_a_step_can_be_changed(order):
    model = built({"kind": "recurrent"}, {"kind": "recurrent", "order": order, "n_layers": 2})
    source, target, heard = ids(2, 5), ids(2, 4, seed=2), {}
    mask = Padding(torch.tensor([5, 2]))
    with taps(heard.__setitem__):
        plain = model(target, source=source, source_mask=mask)
    place = "decoder.0.cross.weights" if order == "before" else "decoder.1.cross.weights"
    assert heard[place].shape == (2, 1, 4, 5)
    assert torch.allclose(heard[place].sum(-1), torch.ones(2, 1, 4, dtype=torch.float64))
    assert (heard[place][1, :, :, 2:] == 0).all()
    assert {"decoder.0.hidden", "decoder.1.hidden", "encoder.0.hidden"} <= set(heard)
    if order != "after":
        spot = place.replace("weights", "2.weights")
        assert torch.equal(heard[spot], heard[place][:, :, 2:3])
        with taps(lambda where, x: x.flip(-1) if where == spot else None):
            changed = model(target, source=source, source_mask=mask)
        assert torch.equal(changed[:, :2], plain[:, :2])
        assert not torch.allclose(changed[:, 2], plain[:, 2])
    assert torch.allclose(model(target, source=source, source_mask=mask), plain, atol=1e-12)


def test_first_values():
    """Recurrent matrices are orthogonal, gate by gate; an LSTM begins by remembering."""
    for cell, gates in ((GRU(), 3), (LSTM(), 4)):
        model = Transformer(ModelConfig(vocab_size=9, d_model=8, decoder=RecurrentConfig(cell=cell)))
        layer = model.decoder.layers[0].cell
        squares = layer.recurrent.matrix().view(gates, 8, 8)
        assert torch.allclose(squares @ squares.mT, torch.eye(8).expand(gates, 8, 8), atol=1e-5)
        assert not torch.allclose(squares[0], squares[1], atol=0.1)
        forgets = [0.0] * 8 + [1.0] * 8 + [0.0] * 16
        assert layer.bias.tolist() == (forgets if gates == 4 else [0.0] * 24)


SIZES = {"vocab_size": 9, "d_model": 8, "n_heads": 2}


def test_a_stack_is_known_by_its_kind_and_a_typo_gives_one_error():
    config = ModelConfig.from_dict(SIZES | {"decoder": {"n_layers": 2}})
    assert isinstance(config.decoder, StackConfig)
    changed = ModelConfig.from_dict(override(config.to_dict(), ["decoder.kind=recurrent", "decoder.cell=lstm"]))
    assert changed.decoder == RecurrentConfig(cell=LSTM())
    assert ModelConfig.from_toml(changed.to_toml()) == changed
    for stack, message in (
        ({"cell": "gru"}, "a kind that has it is 'recurrent'"),
        ({"kind": "recurrent", "bidirectoinal": True}, "did you mean 'bidirectional'"),
        ({"kind": "recurrant"}, "did you mean 'recurrent'"),
        ({"kind": "recurrent", "cell": "lsmt"}, "did you mean 'lstm'"),
    ):
        with pytest.raises(SettingsError, match=message) as caught:
            ModelConfig.from_dict(SIZES | {"decoder": stack})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stacks", "message"),
    [
        ({"decoder": RecurrentConfig(bidirectional=True)}, "bidirectional is for encoders"),
        ({"decoder": RecurrentConfig(pyramid=1)}, "pyramid is for encoders"),
        ({"encoder": RecurrentConfig(pyramid=2)}, "counts 2 of the layers"),
        ({"encoder": RecurrentConfig(pyramid=1), "decoder": None}, "an encoder that a decoder reads"),
        ({"encoder": RecurrentConfig(bidirectional=True), "d_model": 9, "n_heads": 3}, "make it even"),
        ({"decoder": RecurrentConfig(n_heads=3)}, "cannot be split into 3 heads"),
    ],
)
def test_what_cannot_be_is_refused(stacks, message):
    with pytest.raises(SettingsError, match=message):
        ModelConfig(**SIZES | stacks)


def test_masks_that_a_recurrence_does_not_know_are_refused():
    model, target = built({"kind": "recurrent"}, {"kind": "recurrent"}), ids(2, 4)
    documents = Documents(torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]]))
    with pytest.raises(RegardError, match="cannot take a prefix"):
        model(target, source=target, mask=Prefix(torch.tensor([1, 2])))
    with pytest.raises(RegardError, match="one text for each source"):
        model(target, source=target, mask=documents)
    with pytest.raises(RegardError, match="one text a row"):
        model(target, source=target, source_mask=documents)
    with pytest.raises(RegardError, match="padding and documents only"):
        model(target, source=target, mask=documents | Padding(torch.tensor([1, 2])))
