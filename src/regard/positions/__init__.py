"""Where a token stands: one encoding a file, all behind the same doors (`base.py`). A line here is a kind."""

from regard.positions.base import Places as Places
from regard.positions.base import Position as Position
from regard.positions.base import PositionModule as PositionModule
from regard.positions.none import NoPosition as NoPosition
from regard.positions.learned import Learned as Learned
from regard.positions.sinusoidal import Sinusoidal as Sinusoidal
from regard.positions.shaw import Shaw as Shaw
from regard.positions.transformer_xl import TransformerXL as TransformerXL
from regard.positions.t5 import T5 as T5
from regard.positions.rotary import Rotary as Rotary
from regard.positions.xpos import XPos as XPos
from regard.positions.alibi import ALiBi as ALiBi
from regard.positions.kerple import KERPLE as KERPLE
from regard.positions.fire import FIRE as FIRE
from regard.positions.cope import CoPE as CoPE
