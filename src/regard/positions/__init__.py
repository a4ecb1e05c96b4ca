"""Where a token stands: one encoding a file, all behind the same doors (`base.py`)."""

from regard.positions.base import Places, Position, PositionModule
from regard.positions.learned import Learned
from regard.positions.none import NoPosition
from regard.positions.rotary import Rotary
from regard.positions.sinusoidal import Sinusoidal

KINDS: dict[str, type[Position]] = {
    "none": NoPosition,
    "learned": Learned,
    "sinusoidal": Sinusoidal,
    "rotary": Rotary,
}

__all__ = ["KINDS", "Learned", "NoPosition", "Places", "Position", "PositionModule", "Rotary", "Sinusoidal"]
