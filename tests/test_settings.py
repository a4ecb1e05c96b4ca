"""Settings: round trips, one clear line for a wrong key, overrides from the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.attention import Dot
from regard.model import Gated, ModelConfig, PreNorm, StackConfig, TokenInput
from regard.positions import NoPosition, Rotary
from regard.seeds import derive_seed
from regard.settings import SettingsError, override

CONFIG = ModelConfig(
    vocab_size=100,
    encoder=StackConfig(n_layers=2, position=(Rotary(base=5e5), NoPosition()), feedforward=Gated(activation="gelu")),
    decoder=None,
    input=TokenInput(scale="sqrt_d_model"),
)


def test_json_and_toml_round_trip():
    assert ModelConfig.from_dict(CONFIG.to_dict()) == CONFIG
    assert ModelConfig.from_toml(CONFIG.to_toml()) == CONFIG
    assert CONFIG.to_dict()["encoder"]["position"][0] == {
        "kind": "rotary",
        "base": 5e5,
        "fraction": 1.0,
        "interleaved": False,
        "scaling": None,
    }


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        CONFIG.vocab_size = 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n_layer": 3}, "ModelConfig has no setting 'n_layer'"),
        ({"d_modle": 3}, "did you mean 'd_model'"),
        ({"d_model": "wide"}, "ModelConfig.d_model: .*integer.*'wide'"),
        ({"d_model": 0}, "ModelConfig.d_model: .*0"),
        ({"decoder": {"n_layer": 3}}, "ModelConfig.decoder: .*did you mean 'n_layers'"),
        ({"decoder": {"position": "rotery"}}, "ModelConfig.decoder.position: .*did you mean 'rotary'"),
        ({"decoder": {"position": {"kind": "rotary", "bass": 3}}}, "Rotary has no setting 'bass'; did you mean 'base'"),
        ({"decoder": {"position": ["none", {"kind": "rotary", "base": "x"}]}}, "position.base: .*number.*'x'"),
        ({"decoder": {"position": []}}, "at least one Position"),
        ({"decoder": {"position": 3}}, "expected the kind of a Position"),
        ({"encoder": None, "decoder": None}, "encoder, a decoder, or both"),
    ],
)
def test_a_mistake_is_one_line(change, sentence):
    for make in (
        lambda: ModelConfig.from_dict({"vocab_size": 9, **change}),
        lambda: ModelConfig(vocab_size=9, **change),
    ):
        with pytest.raises(SettingsError, match=sentence) as error:
            make()
        assert "\n" not in str(error.value)


def test_a_missing_setting_is_named():
    with pytest.raises(SettingsError, match="vocab_size: is needed"):
        ModelConfig.from_dict({})


def test_overrides():
    changed = override(
        CONFIG.to_dict(),
        [
            "encoder.n_layers=3",
            "encoder.position=rotary",
            "encoder.position.base=7",
            "decoder.n_layers=1",
            "dropout=0.5",
        ],
    )
    config = ModelConfig.from_dict(changed)
    assert config.encoder.n_layers == 3
    assert config.encoder.position == Rotary(base=7)
    assert config.decoder == StackConfig(n_layers=1)
    assert config.dropout == 0.5
    assert CONFIG.encoder.n_layers == 2  # the original is left alone


def test_a_new_kind_drops_the_keys_of_the_old_one():
    changed = override(StackConfig(position=Rotary(base=7.0)).to_dict(), ["position.kind=learned"])
    assert changed["position"] == {"kind": "learned"}
    kept = override(StackConfig(position=Rotary(base=7.0)).to_dict(), ["position.kind=rotary"])
    assert StackConfig.from_dict(kept).position == Rotary(base=7.0)


def test_none_is_written_as_text():
    values = override(CONFIG.to_dict(), ["encoder.attention.softcap=4"])
    assert ModelConfig.from_dict(values).encoder.attention == Dot(softcap=4)
    again = override(values, ["encoder.attention.softcap=none", "decoder.residual=pre", "encoder=none"])
    config = ModelConfig.from_dict(again)
    assert config.encoder is None
    assert config.decoder.residual == PreNorm()


@pytest.mark.parametrize("text", ["n_layers", "=3", " =3"])
def test_an_assignment_needs_both_sides(text):
    with pytest.raises(SettingsError, match="key=value"):
        override({}, [text])


@given(st.lists(st.one_of(st.integers(), st.text()), min_size=1, max_size=4))
def test_seeds_depend_on_every_part(parts):
    seed = derive_seed(*parts)
    assert 0 <= seed < 2**63
    assert seed == derive_seed(*parts)
    assert seed != derive_seed(*parts, 0)
    assert derive_seed(1, "2") != derive_seed("1", 2)


def test_a_setting_of_another_kind_names_that_kind():
    with pytest.raises(SettingsError, match=r"Full has no setting 'size'; a kind that has it is 'window'"):
        StackConfig.from_dict({"pattern": {"kind": "full", "size": 4}})
    with pytest.raises(SettingsError, match=r"Full has no setting 'colour', for it has none"):
        StackConfig.from_dict({"pattern": {"kind": "full", "colour": 4}})
    with pytest.raises(SettingsError, match=r"did you mean 'softcap'"):
        StackConfig.from_dict({"attention": {"kind": "dot", "softcp": 4}})
