"""How a layer's steps join the residual stream, and where the norms stand: one placement a file. A line is a kind."""

from regard.residual.base import Residual as Residual
from regard.residual.base import ResidualModule as ResidualModule
from regard.residual.base import Stream as Stream
from regard.residual.post import PostNorm as PostNorm
from regard.residual.pre import PreNorm as PreNorm
from regard.residual.resi_dual import ResiDual as ResiDual
from regard.residual.deep_norm import DeepNorm as DeepNorm
from regard.residual.res_post import ResPostNorm as ResPostNorm
from regard.residual.sandwich import Sandwich as Sandwich
from regard.residual.rezero import ReZero as ReZero
from regard.residual.parallel import Parallel as Parallel
