"""Values and errors between Python and the EVM's ABI."""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

import eth_abi
from eth_abi.codec import ABICodec
from eth_abi.decoding import ByteStringDecoder, decode_uint_256
from eth_abi.registry import BaseEquals
from eth_abi.registry import registry as default_registry

from ..errors import ChainError, TransactionReverted
from .compiler import brownie_project, compile_contracts
from .node import NodeAway
from .phase import Phase
from .refusals import sentence


@contextlib.contextmanager
def transacting(what: str) -> Iterator[None]:
    """Map what Brownie and web3 raise for calls and transactions, and keep Brownie's chatter off stdout.

    Raises:
        TransactionReverted: the contract refused; `reason` is what it said.
        ChainError: the node failed; NodeAway if it cannot be reached.
    """
    brownie = brownie_project()
    from requests import RequestException
    from web3.exceptions import ContractLogicError, Web3Exception

    exceptions = brownie.exceptions
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except exceptions.VirtualMachineError as error:
        raise _reverted(what, error.revert_msg) from error
    except ContractLogicError as error:
        raise _reverted(what, error.message) from error
    except ValueError as error:  # the node's refusals, as Brownie passes them on
        told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        if told.get("code") == REVERTED or "execution reverted" in str(told.get("message")):
            raise _reverted(what, told.get("data") or told.get("message")) from error
        raise ChainError(f"{what} failed: {told.get('message', error)}") from error
    except (RequestException, ConnectionError) as error:
        raise NodeAway(f"{what} failed: {innermost(error)}") from error
    except (Web3Exception, exceptions.RPCRequestError, exceptions.TransactionError) as error:
        raise ChainError(f"{what} failed: {error}") from error


def _reverted(what: str, text: str | None) -> TransactionReverted:
    reason = _reason(text)
    return TransactionReverted(f"{what} was reverted: {sentence(what, reason) or 'no reason given'}", reason)


def innermost(error: BaseException) -> str:
    """What went wrong with a connection, without the layers of requests and urllib3 around it."""
    inner = [getattr(error, "reason", None), *error.args, error.__cause__]
    below = next((one for one in inner if isinstance(one, BaseException)), None)
    return str(error) if below is None else innermost(below)


REVERTED = 3
"""The JSON-RPC error code for it."""

CALLS_ONLY = {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}}
"""Without the steps, which take minutes in a verifier."""


def _reason(text: str | None) -> str:
    """What the contract said: a string, or a custom error with its arguments, ``WrongPhase(have=OPEN, want=PROVE)``."""
    reason = (text or "").removeprefix("execution reverted").lstrip(": ").strip()
    if re.fullmatch(r"0x([0-9a-f]{2}){4,}", reason):  # of a public chain, which Brownie does not decode
        reason = brownie_project().exceptions.decode_typed_error(reason)
    if reason in ("Unknown typed error: 0x", "0x"):  # both: it said nothing
        return ""
    name, _, values = reason.partition(":")
    if not values.strip():  # an error without arguments, or a string
        return name
    inputs, values = _errors().get(name), values.strip()
    if inputs is None or len(inputs) != len(values.split(", ")):
        return reason
    pairs = zip(inputs, values.split(", "), strict=True)
    fields = [f"{item['name']}={_readable(item, value)}" for item, value in pairs]
    return f"{name}({', '.join(fields)})"


def _readable(item: dict[str, Any], value: str) -> str:
    """One argument of an error: labels as text, other words in hex, phases by name."""
    if item["type"] == "bytes32" and value[:2] in ("b'", 'b"'):  # Brownie prints bytes as Python does
        word: bytes = ast.literal_eval(value)
        label = item["name"] in ("what", "proof")
        return word.rstrip(b"\0").decode("ascii", "replace") if label else "0x" + word.hex()
    return Phase(int(value)).name if item.get("internalType") == "enum Phase" else value


@functools.cache
def _errors() -> dict[str, list[dict[str, Any]]]:
    """Arguments of the custom errors of our contracts, by name."""
    items = [item for container in compile_contracts() for item in container.abi]
    return {item["name"]: item["inputs"] for item in items if item["type"] == "error" and item["inputs"]}


def named(outputs: list[dict[str, Any]], values: Any) -> dict[str, Any]:
    """ABI values by the names of their components, structs and arrays of structs as dicts."""
    fields: dict[str, Any] = {}
    for item, value in zip(outputs, values, strict=True):
        if item["type"] == "tuple":
            value = named(item["components"], value)
        elif item["type"] == "tuple[]":
            value = [named(item["components"], one) for one in value]
        elif item["type"].startswith("bytes") and not item["type"].endswith("]"):
            value = bytes.fromhex(str(value)[2:]) if isinstance(value, str) else bytes(value)
        elif isinstance(value, tuple):
            value = list(value)
        fields[item["name"]] = value
    return fields


def encoded(method: Any, *arguments: Any) -> bytes:
    """Calldata of a Brownie contract's method, or what creates the contract."""
    return bytes.fromhex(method.encode_input(*arguments).removeprefix("0x"))


def plain(value: Any) -> Any:
    """What Brownie and web3 make of ABI values, as int, str, bytes and tuples."""
    if isinstance(value, Mapping):
        return tuple(plain(one) for one in value.values())
    if isinstance(value, list | tuple):
        return tuple(plain(one) for one in value)
    if isinstance(value, int):
        return bool(value) if isinstance(value, bool) else int(value)
    if isinstance(value, bytes):
        return bytes(value)
    return str(value)


def as_tuples(value: Any) -> Any:
    """What `_named` made of ABI values, as it was sent: structs as tuples."""
    if isinstance(value, Mapping):
        return tuple(as_tuples(one) for one in value.values())
    return [as_tuples(one) for one in value] if isinstance(value, list) else value


class _Bytes(ByteStringDecoder):
    """Takes any padding, as a contract does. eth_abi is strict within structs whatever it is told."""

    def read_data_from_stream(self, stream: Any) -> bytes:
        length = decode_uint_256(stream)
        data: bytes = stream.read(length)
        if len(data) < length:
            raise eth_abi.exceptions.InsufficientDataBytes(f"a byte string of {length} bytes has {len(data)}")
        return data


@functools.cache
def codec() -> ABICodec:
    """Reads calldata as contracts do."""
    registry = default_registry.copy()
    registry.unregister_decoder("bytes")
    registry.register_decoder(BaseEquals("bytes", with_sub=False), _Bytes, label="bytes")
    return ABICodec(registry)
