"""Where a token stands: one encoding a file, all behind the same doors (`base.py`). A line here is a kind."""

from regard.positions.base import Places as Places
from regard.positions.base import Position as Position
from regard.positions.base import PositionModule as PositionModule
from regard.positions.none import NoPosition as NoPosition
from regard.positions.learned import Learned as Learned
from regard.positions.sinusoidal import Sinusoidal as Sinusoidal
from regard.positions.rotary import Rotary as Rotary
