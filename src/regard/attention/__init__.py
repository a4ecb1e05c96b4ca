"""Who looks at whom: one mechanism a file (`base.py` is their contract), masks and caches."""

from regard.attention.base import Attention, AttentionModule, CacheSlot
from regard.attention.cache import Cache, Entry, KeysValues, Memory
from regard.attention.dot import Dot
from regard.attention.mask import Causal, Documents, Mask, Padding, Prefix, View, Window

KINDS: dict[str, type[Attention]] = {
    "dot": Dot,
}

__all__ = [
    "KINDS",
    "Attention",
    "AttentionModule",
    "Cache",
    "CacheSlot",
    "Causal",
    "Documents",
    "Dot",
    "Entry",
    "KeysValues",
    "Mask",
    "Memory",
    "Padding",
    "Prefix",
    "View",
    "Window",
]
