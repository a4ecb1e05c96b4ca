"""The published architectures that can be read. A line here is a table."""

from regard.interop.base import Architecture
from regard.interop.bert import Bert
from regard.interop.bloom import Bloom
from regard.interop.distilbert import DistilBert
from regard.interop.gemma import Gemma
from regard.interop.gpt2 import GPT2
from regard.interop.gpt_neox import GPTNeoX
from regard.interop.llama import Llama
from regard.interop.mixtral import Mixtral
from regard.interop.mpt import MPT
from regard.interop.olmo2 import Olmo2
from regard.interop.opt import OPT
from regard.interop.phi3 import Phi3
from regard.interop.roberta import Roberta

TABLES: tuple[Architecture, ...] = (
    Bert(),
    Roberta(),
    DistilBert(),
    GPT2(),
    GPTNeoX(),
    OPT(),
    Bloom(),
    MPT(),
    Llama(),
    Gemma(),
    Phi3(),
    Olmo2(),
    Mixtral(),
)

ARCHITECTURES: dict[str, Architecture] = {
    model_type: architecture for architecture in TABLES for model_type in architecture.model_types
}
