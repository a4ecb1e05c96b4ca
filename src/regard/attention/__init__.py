"""Who looks at whom: one mechanism a file (`base.py` is their contract), masks and caches. A line here is a kind."""

from regard.attention.base import Attention as Attention
from regard.attention.base import AttentionModule as AttentionModule
from regard.attention.base import CacheSlot as CacheSlot
from regard.attention.cache import Cache as Cache
from regard.attention.cache import Entry as Entry
from regard.attention.cache import KeysValues as KeysValues
from regard.attention.cache import Memory as Memory
from regard.attention.cache import State as State
from regard.attention.mask import Causal as Causal
from regard.attention.mask import Documents as Documents
from regard.attention.mask import Mask as Mask
from regard.attention.mask import Padding as Padding
from regard.attention.mask import Prefix as Prefix
from regard.attention.mask import View as View
from regard.attention.pattern import BigBird as BigBird
from regard.attention.pattern import Dilated as Dilated
from regard.attention.pattern import Full as Full
from regard.attention.pattern import Global as Global
from regard.attention.pattern import Pattern as Pattern
from regard.attention.pattern import Window as Window
from regard.attention.dot import Dot as Dot
from regard.attention.linear import LinearAttention as LinearAttention
