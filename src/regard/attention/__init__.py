"""Who looks at whom: one mechanism a file (`base.py` is their contract), masks and caches."""

from regard.attention.base import Attention, AttentionModule, CacheSlot
from regard.attention.cache import Cache, Entry, KeysValues, Memory, State
from regard.attention.dot import Dot
from regard.attention.mask import Causal, Documents, Mask, Padding, Prefix, View
from regard.attention.pattern import BigBird, Dilated, Full, Global, Pattern, Window

KINDS: dict[str, type[Attention]] = {
    "dot": Dot,
}

__all__ = [
    "KINDS",
    "Attention",
    "AttentionModule",
    "BigBird",
    "Cache",
    "CacheSlot",
    "Causal",
    "Dilated",
    "Documents",
    "Dot",
    "Entry",
    "Full",
    "Global",
    "KeysValues",
    "Mask",
    "Memory",
    "Padding",
    "Pattern",
    "Prefix",
    "State",
    "View",
    "Window",
]
