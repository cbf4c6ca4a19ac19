"""The verbs of `zkmarket store`: blobs by their content, in a folder or on an IPFS node."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..files import atomic_write
from ..progress import Progress
from .desk import add_store_token, read_store_token
from .output import Answer
from .verbs import Verbs

if TYPE_CHECKING:
    from ..storage import Store

EXAMPLE_CID = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"


def add(verbs: Verbs) -> None:
    kinds = verbs.group(
        "store",
        "keep blobs by their content identifier (CID), in a folder or on an IPFS node",
        "zkmarket store put model.npz --store STORE-FOLDER",
    )
    parser = kinds.add(
        "serve",
        store_serve,
        "serve a folder as a store, until it is interrupted",
        "zkmarket store serve STORE-FOLDER --port 5001",
        "It speaks add, cat and pin/add of an IPFS node's RPC: others use it with --store http://HOST:PORT."
        " Whoever reaches the address, and has the token if there is one, can read blobs and fill the disk: beyond this"
        " machine it wants a token, and should have a certificate. Clients bring the token by --store-token-file or"
        " $ZKMARKET_STORE_TOKEN, and trust other certificates than the usual by $REQUESTS_CA_BUNDLE. Blobs are checked"
        " by whoever reads them. The first line on stdout is the address.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the blobs")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1, this machine only)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 is any that is free (0)")
    parser.add_argument(
        "--limit", type=int, default=64 << 20, metavar="BYTES", help="largest blob that is taken (64 MiB)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="time in which a request must be over (60)")
    parser.add_argument("--connections", type=int, default=32, metavar="COUNT", help="requests at once; more wait (32)")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="what clients must bring; a file that only you can read"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate with its chain, PEM: https")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="the certificate's key, PEM, without a password")
    parser.add_argument(
        "--open-to-everyone", action="store_true", help="listen beyond this machine without a token, too"
    )
    parser = kinds.add(
        "put", store_put, "keep a file and print its CID", "zkmarket store put model.npz --store STORE-FOLDER"
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file to keep")
    _add_where(parser)
    parser = kinds.add(
        "get",
        store_get,
        "fetch a blob, check it against its CID and write it to a file",
        f"zkmarket store get {EXAMPLE_CID} --store STORE-FOLDER -o model.npz",
    )
    parser.add_argument("cid", metavar="CID", help="content identifier of the blob")
    _add_where(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write")
    parser = kinds.add(
        "pin",
        store_pin,
        "make a store keep a blob that it has or can find elsewhere",
        f"zkmarket store pin {EXAMPLE_CID} --store http://127.0.0.1:5001",
    )
    parser.add_argument("cid", metavar="CID", help="content identifier of the blob")
    _add_where(parser)


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", required=True, metavar="WHERE", help="a folder, or http(s)://… of a store or of an IPFS node's RPC"
    )
    add_store_token(parser)


def _open_store(arguments: argparse.Namespace) -> Store:
    from ..storage import open_store  # its HTTP and CID libraries would slow every other verb down

    return open_store(arguments.store, read_store_token(arguments.store_token_file))


def store_put(arguments: argparse.Namespace, progress: Progress) -> Answer:
    if not arguments.file.is_file():
        raise InputError(f"no such file: {arguments.file}")
    cid = _open_store(arguments).put(arguments.file.read_bytes())
    return {"cid": cid}, cid


def store_get(arguments: argparse.Namespace, progress: Progress) -> Answer:
    data = _open_store(arguments).get(arguments.cid)
    atomic_write(arguments.output, data)
    return {"cid": arguments.cid, "file": str(arguments.output), "bytes": len(data)}, f"{len(data)} bytes"


def store_pin(arguments: argparse.Namespace, progress: Progress) -> Answer:
    _open_store(arguments).pin(arguments.cid)
    return {"cid": arguments.cid}, f"{arguments.cid} is kept"


def store_serve(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..storage import Access, Limits, certificate, read_token, serve

    def announce(url: str) -> None:
        text = json.dumps({"url": url}) if arguments.json else url
        print(text, file=sys.__stdout__, flush=True)  # past what a live display puts in the place of sys.stdout

    pair = (arguments.tls_cert, arguments.tls_key)
    if (pair[0] is None) != (pair[1] is None):
        raise InputError("TLS wants both --tls-cert and --tls-key")
    access = Access(
        token=read_token(arguments.token_file) if arguments.token_file else None,
        tls=certificate(*pair) if pair[0] else None,
        everyone=arguments.open_to_everyone,
    )
    limits = Limits(arguments.limit, arguments.seconds, arguments.connections)
    serve.run(arguments.folder, arguments.host, arguments.port, limits, access, announce, progress)
