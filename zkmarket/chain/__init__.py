"""An EVM chain through Brownie: compiler, node, wallet, contracts."""

from .abi import as_tuples, codec, encoded, plain, transacting
from .chain import Chain
from .compiler import (
    LIBRARIES,
    MAX_CODE,
    VERIFIER_SETTINGS,
    CompiledVerifier,
    compile_contracts,
    compile_verifier,
    compiled_code,
    libraries_of_creation,
    library_code,
    library_gap,
    own_address,
    solc_version,
)
from .connection import BLOCK_GAS, anvil_node, connect, development_chain, give_coins
from .contract import Contract, Event, Receipt, sign
from .networks import DEVELOPMENT_CHAINS, LAYER_ONES, outage_warning
from .node import Node, NodeAway, NodeRefused, send_from_node
from .phase import NOBODY, Phase
from .refusals import PHASES
from .tools import SOLC_VERSION, anvil_version, install_command, node_path, tools_installed, tree
from .wallet import Wallet

__all__ = [
    "BLOCK_GAS",
    "Chain",
    "CompiledVerifier",
    "Contract",
    "DEVELOPMENT_CHAINS",
    "Event",
    "LAYER_ONES",
    "LIBRARIES",
    "MAX_CODE",
    "NOBODY",
    "Node",
    "NodeAway",
    "NodeRefused",
    "PHASES",
    "Phase",
    "Receipt",
    "SOLC_VERSION",
    "VERIFIER_SETTINGS",
    "Wallet",
    "anvil_node",
    "anvil_version",
    "as_tuples",
    "codec",
    "compile_contracts",
    "compile_verifier",
    "compiled_code",
    "connect",
    "development_chain",
    "encoded",
    "give_coins",
    "install_command",
    "libraries_of_creation",
    "library_code",
    "library_gap",
    "node_path",
    "outage_warning",
    "own_address",
    "plain",
    "send_from_node",
    "sign",
    "solc_version",
    "tools_installed",
    "transacting",
    "tree",
]
