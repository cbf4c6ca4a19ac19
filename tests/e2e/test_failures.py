"""Whole rounds by real processes while the world misbehaves: node, line, transactions, blocks, store, disk, clock.

Several disturbances share a project where one does not hide another. Whatever happens, a round completes, nothing is
sent twice, no update is committed to with other salts, and whoever has to give up says why in one line.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import itertools
import json
import os
import re
import resource
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.e2e.town import ETHER, PASSWORD, SECONDS, TRAINERS, Role, Town, town
from zkmarket.build import Build
from zkmarket.chain import Chain, Phase, anvil_node, connect, connection
from zkmarket.errors import ChainError, StoreError
from zkmarket.market import History, Project, Prospectus, points_hash
from zkmarket.storage import IpfsStore, LocalStore

pytestmark = pytest.mark.e2e

EVERYBODY = ("aggregator", "owner", "auditor", *TRAINERS)


# ---------------------------------------------------------------- what the tests look at


def ask(rpc: str, method: str, *given: Any) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": given}).encode()
    with urlopen(Request(rpc, body, {"Content-Type": "application/json"}), timeout=30) as answer:
        value = json.load(answer)
    assert "error" not in value, value
    return value["result"]


def transactions(place: Town) -> list[dict[str, Any]]:
    """Of the town's accounts, as the chain has them now."""
    rpc, ours = place.chain.rpc_url, {who.lower() for who in place.addresses.values()}
    last = int(ask(rpc, "eth_blockNumber"), 16)
    blocks = [ask(rpc, "eth_getBlockByNumber", hex(number), True) for number in range(last + 1)]
    return [one for block in blocks for one in block["transactions"] if one["from"] in ours]


def sent_twice(place: Town) -> dict[str, int]:
    """Calls to the project that the chain has more than once; in a project of one round there is no such call."""
    to = place.project.address.lower()
    calls = Counter((one["from"], one["input"]) for one in transactions(place) if one["to"] == to)
    return {f"{who} {data[:10]}": count for (who, data), count in calls.items() if count > 1}


def calldata(place: Town, name: str) -> dict[str, str]:
    """Calldata of the transactions that logged an event, by the trainer that it names."""
    events = [event for event in place.project.events() if event.name == name]
    return {
        event.arguments.get("trainer", ""): ask(place.chain.rpc_url, "eth_getTransactionByHash", event.transaction)[
            "input"
        ]
        for event in events
    }


def secrets_of(place: Town, name: str, number: int = 1) -> dict[str, str]:
    """Digests of what a trainer has in a round's folder."""
    folder = place.folder / name / f"rounds/{number:05d}"
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def half_written(folder: Path) -> list[str]:
    """Names of temporary files."""
    return [str(path) for path in folder.rglob(".*") if path.is_file() and not path.name.endswith(".lock")]


def lines(role: Role, part: str) -> list[str]:
    return [line for line in role.said().splitlines() if part in line]


def gave_up(role: Role, code: int, *parts: str, seconds: float = SECONDS) -> str:
    """The one line with which a process ended: on stderr the last, and in its JSON object."""
    assert role.wait(seconds) == code, role.said()[-2000:]
    said = role.said()
    assert "Traceback" not in said, said
    ends = re.findall(r"^zkmarket \w+: .*", said, re.M)
    assert len(ends) == 1 and said.rstrip("\n").endswith(ends[0]), said
    for part in parts:
        assert part in ends[0], ends[0]
    value = json.loads(Path(f"{role.log}.out").read_text())
    assert value["exit_code"] == code and ends[0].endswith(value["message"])
    return ends[0]


def completed(place: Town, roles: dict[str, Role]) -> dict[str, dict[str, Any]]:
    """Everybody's result, when all ended well, nobody is owed anything, and no log shows a traceback."""
    results = {name: role.result() for name, role in roles.items()}
    for role in place.roles:
        assert "Traceback" not in role.said(), role.said()
    assert place.chain.balance(place.project.address) == 0
    return results


# ---------------------------------------------------------------- a line to the node that fails

Rule = Callable[[str, int], str]
"""How a request fares, by its method and its number: `pass`, or a name in `Line.answer`."""


def passing(method: str, number: int) -> str:
    return "pass"


def reset(handler: BaseHTTPRequestHandler) -> None:
    """End a connection as a machine that dies does, without a farewell."""
    handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """Clients go away here."""


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Line:
    """What is between roles and node: requests pass, or fail as the test says.

    Attributes:
        failed: how many requests fared in each way.
    """

    def __init__(self, node: str):
        self.node = urlsplit(node).netloc
        self.rule: Rule = passing
        self.failed: Counter[str] = Counter()
        self.numbers = itertools.count(1)

    def lose_first(self, method: str, number: int) -> str:
        """The answer to every new transaction."""
        return "lose" if method == "eth_sendRawTransaction" else "pass"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        method = json.loads(body)["method"]
        how = self.rule(method, next(self.numbers))
        self.failed[how] += 1
        answer = None
        if how == "hang":
            time.sleep(6)
        elif how != "refuse":
            answer = self.of_node(body)
        if answer is None or how == "lose":
            reset(handler)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer[: len(answer) // 2] if how == "cut" else answer)
        if how == "cut":
            reset(handler)

    def of_node(self, body: bytes) -> bytes | None:
        """None: it is away."""
        node = http.client.HTTPConnection(self.node, timeout=60)
        try:
            node.request("POST", "/", body, {"Content-Type": "application/json"})
            return node.getresponse().read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            node.close()

    @contextlib.contextmanager
    def open(self) -> Iterator[str]:
        line = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                line.answer(self)

        with serving(Handler) as url:
            yield url


def impatient(seconds: float) -> None:
    """In a role: how long it waits for an answer of the node, and of a store."""
    connection.RPC_SECONDS = seconds  # type: ignore[misc]
    IpfsStore.__init__.__defaults__ = (seconds, *IpfsStore.__init__.__defaults__[1:])  # type: ignore[misc, index]


class Node:
    """An anvil with a state file, at one address, that can be killed and started again."""

    def __init__(self, folder: Path):
        self.state = folder / "chain" / "state.json"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.running = contextlib.ExitStack()
        self.saved = b""

    def start(self) -> str:
        return self.running.enter_context(anvil_node(state=self.state, port=self.port))

    def kill(self) -> None:
        """-9. Up to a second of the chain is lost, as in a reorganisation; a file that is cut short is put right."""
        with contextlib.suppress(OSError, ValueError):
            whole = self.state.read_bytes()
            json.loads(whole)
            self.saved = whole
        self.running.close()
        try:
            json.loads(self.state.read_bytes())
        except ValueError:
            self.state.write_bytes(self.saved)


@contextlib.contextmanager
def one_line_each(roles: dict[str, Role]) -> Iterator[None]:
    """After the node has died in the block, each says once what it waits for; twice if it was within a step."""
    before = {name: len(lines(role, "trying again for")) for name, role in roles.items()}
    yield

    def said(name: str) -> list[str]:
        return lines(roles[name], "trying again for")[before[name] :]

    end = time.monotonic() + 60
    while not all(map(said, roles)) and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(3)
    for name in roles:
        assert 1 <= len(said(name)) <= 2, f"{name} said {said(name)}"
        assert all(
            re.match(r"· reading [\w ]+ failed: .{,80}; trying again for \d+ s at most$", one) for one in said(name)
        )


@pytest.mark.exhaustive("tests/contracts/test_wallet.py has dying nodes and lost answers")
def test_a_node_that_dies_twice_and_a_line_that_fails(tmp_path: Path) -> None:
    """Killed with -9 in SUBMIT and while the aggregator proves; requests cut, hung, reset; answers of sends lost."""
    node = Node(tmp_path)
    rpc = node.start()
    try:
        with connect(rpc) as chain, town(tmp_path, chain, most=4) as place:  # a seat is left: SUBMIT ends by the clock
            line = Line(rpc)
            with line.open() as place.rpc:
                prepare = functools.partial(impatient, 3)
                roles = {
                    "aggregator": place.aggregator("--trainers", 3, prepare=prepare),
                    "owner": place.owner(prepare=prepare),
                    "auditor": place.auditor(prepare=prepare),
                } | {name: place.trainer(name, prepare=prepare) for name in TRAINERS}
                place.until(lambda: all(role.said() for role in roles.values()))
                line.rule = lambda method, number: (
                    "cut" if time.monotonic() % 10 < 1.5 else line.lose_first(method, number)
                )
                place.until_phase(Phase.SUBMIT)
                line.rule = line.lose_first
                # of accept, three joins and start; one that was cut had arrived, and was not sent again
                assert line.failed["cut"] > 5 and line.failed["lose"] > 2

                place.until(place.project.seats)
                with one_line_each({name: roles[name] for name in ("aggregator", "owner", "auditor")}):
                    node.kill()
                node.start()
                place.until(place.submitted)

                hanging = time.monotonic() + 5
                line.rule = lambda method, number: (
                    "hang" if time.monotonic() < hanging else line.lose_first(method, number)
                )
                place.pass_deadline()
                place.until(lambda: lines(roles["aggregator"], "proving for"))
                assert line.failed["hang"] >= 3
                with one_line_each({name: roles[name] for name in ("owner", "auditor", *TRAINERS)}):
                    node.kill()
                node.start()

                place.until(lambda: place.project.state().phase == Phase.SETTLED)
                line.rule = lambda method, number: "refuse" if number % 3 else "pass"
                time.sleep(3)
                line.rule = line.lose_first
                place.conduct()
                results = completed(place, roles)
            assert sent_twice(place) == {}
            versions = Counter((one["from"], one["nonce"]) for one in transactions(place))
            assert set(versions.values()) == {1}
            assert sum(place.pay().values()) == pytest.approx(ETHER, abs=10)
            assert [row["verified"] for row in results["auditor"]["rounds"]] == [True]
    finally:
        node.kill()


# ---------------------------------------------------------------- transactions and blocks that are lost


def skewed(days: float) -> None:
    """In a role: its clock is wrong."""
    real = time.time
    time.time = lambda: real() + days * 86_400  # type: ignore[method-assign]


def pending(place: Town, name: str) -> list[dict[str, Any]]:
    """Transactions of an account in the pool."""
    found = ask(place.chain.rpc_url, "txpool_content")["pending"]
    mine = [sent for who, sent in found.items() if who.lower() == place.addresses[name].lower()]
    return [one for sent in mine for one in sent.values()]


def send_another(place: Town, name: str, nonce: int) -> str:
    """A transaction by a program that has the same keystore; its hash."""
    from eth_account import Account

    key = Account.decrypt((place.folder / name / "keystore.json").read_text(), PASSWORD)
    fields = {"to": place.addresses[name], "value": 1, "gas": 21_000, "nonce": nonce, "chainId": place.chain.id}
    fields |= {"type": 2, "maxFeePerGas": 10**12, "maxPriorityFeePerGas": 10**12}
    raw = Account.sign_transaction(fields, key).raw_transaction
    return str(ask(place.chain.rpc_url, "eth_sendRawTransaction", "0x" + bytes(raw).hex()))


def take_back(place: Town, event: str, which: int = -1) -> None:
    """Reorganise the chain, so that the block with an event, and all that came after, are not in it."""
    found = [one for one in place.project.events() if one.name == event]
    rpc = place.chain.rpc_url
    ask(rpc, "anvil_reorg", int(ask(rpc, "eth_blockNumber"), 16) - found[which].block + 1, [])
    assert len([one for one in place.project.events() if one.name == event]) < len(found)


@pytest.mark.exhaustive("test_wallet.py and test_confirmations.py have each")
def test_transactions_and_blocks_that_are_lost_and_clocks_that_are_wrong(tmp_path: Path, chain: Chain) -> None:
    """Dropped, late, replaced; start, submit, admit and settle taken back. Two clocks are wrong all the while."""
    with town(tmp_path, chain, most=4) as place:  # a seat is left: SUBMIT ends by the clock
        roles = {
            "aggregator": place.aggregator("--trainers", 3, prepare=functools.partial(skewed, 400)),
            "owner": place.owner(),
            "auditor": place.auditor(),
            "ann": place.trainer("ann", prepare=functools.partial(skewed, -9.5)),
            "bob": place.trainer("bob"),
            "cyd": place.trainer("cyd"),
        }
        place.until_phase(Phase.SUBMIT)
        ask(chain.rpc_url, "evm_setAutomine", False)
        place.until(lambda: all(pending(place, name) for name in TRAINERS))
        first = {name: pending(place, name)[0] for name in TRAINERS}
        ask(chain.rpc_url, "anvil_dropTransaction", first["ann"]["hash"])
        assert not pending(place, "ann")
        other = send_another(place, "cyd", int(first["cyd"]["nonce"], 16))
        assert [one["hash"] for one in pending(place, "cyd")] == [other]
        place.until(lambda: pending(place, "ann"))
        assert pending(place, "ann")[0]["hash"] == first["ann"]["hash"]
        assert place.project.seats() == []
        ask(chain.rpc_url, "evm_mine")
        ask(chain.rpc_url, "evm_setAutomine", True)
        place.until(place.submitted)
        (said,) = lines(roles["cyd"], "another program uses account")
        assert place.addresses["cyd"] in said and "trying again for" in said
        submitted = calldata(place, "Submitted")
        assert submitted == {place.addresses[name]: first[name]["input"] for name in TRAINERS}
        secret = {name: secrets_of(place, name) for name in TRAINERS}
        assert all(len(found) == 6 for found in secret.values()), secret
        started = calldata(place, "Started")

        take_back(place, "Joined", which=0)
        assert place.project.state().phase == Phase.OPEN
        place.until_phase(Phase.SUBMIT)
        place.until(place.submitted)
        assert calldata(place, "Started") == started and calldata(place, "Submitted") == submitted

        place.pass_deadline()
        place.until_phase(Phase.PROVE)
        admitted = calldata(place, "Admitted")
        take_back(place, "Admitted")
        assert place.project.state().phase == Phase.ADMIT
        place.until_phase(Phase.PROVE)
        assert calldata(place, "Admitted") == admitted and len(admitted) == 3

        place.until_phase(Phase.SETTLED)
        settled = calldata(place, "Settled")
        take_back(place, "Settled")
        assert place.project.state().phase == Phase.PROVE
        place.until_phase(Phase.SETTLED)
        assert calldata(place, "Settled") == settled

        place.conduct()
        completed(place, roles)
        assert {name: secrets_of(place, name) for name in TRAINERS} == secret
        assert sent_twice(place) == {} and sum(place.pay().values()) == pytest.approx(ETHER, abs=10)
        until = {name: lines(roles[name], "waiting for the aggregator's proof")[-1] for name in TRAINERS}
        assert len(set(until.values())) == 1, until


# ---------------------------------------------------------------- a store that misbehaves

BRIEF = ("refuse", "error", "truncated", "hang", "drip")
"""Tried again inside one get."""

WRONG = ("other", "short", "endless")
"""Not to be believed: a role looks again later."""


class Shop:
    """A store behind the RPC of IPFS, a folder below it, that misbehaves towards each role as the test says.

    Attributes:
        faults: by role, how its next gets fail; when none is left, it is served.
        hidden: blobs that are not given to anybody.
        hiding: whether the aggregator's blobs are hidden as they are put.
        puts: by role, how all of its puts fail.
    """

    def __init__(self, folder: Path):
        self.store = LocalStore(folder)
        self.faults: dict[str, list[str]] = {}
        self.hidden: set[str] = set()
        self.hiding = False
        self.puts: dict[str, str] = {}
        self.lock = threading.Lock()

    def next_fault(self, who: str) -> str:
        with self.lock:
            left = self.faults.get(who, [])
            return left.pop(0) if left else ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        address = urlsplit(handler.path)
        _, who, _, _, command = address.path.split("/", 4)
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if command == "add" and who in self.puts:
            return self.fail(handler, self.puts[who], b"")
        if command == "add":
            head = f"Content-Type: {handler.headers['Content-Type']}\r\n\r\n".encode()
            data = BytesParser().parsebytes(head + body).get_payload()[0].get_payload(decode=True)
            cid = self.store.put(data)
            if self.hiding and who == "aggregator":
                self.hidden.add(cid)
            return respond(handler, json.dumps({"Hash": cid}).encode())
        cid = parse_qs(address.query)["arg"][0]
        try:
            data = self.store.get(cid)
        except StoreError as error:
            return respond(handler, str(error).encode(), status=500)
        if cid in self.hidden and who != "aggregator":
            return respond(handler, b"not today", status=500)
        return self.fail(handler, self.next_fault(who), data)

    def fail(self, handler: BaseHTTPRequestHandler, how: str, data: bytes) -> None:
        if how == "refuse":
            reset(handler)
        elif how == "error":
            respond(handler, b"broken", status=500)
        elif how == "truncated":
            respond(handler, data[: len(data) // 2], length=len(data))
        elif how == "hang":
            time.sleep(4)
            reset(handler)
        elif how == "other":
            respond(handler, bytes(byte ^ 1 for byte in data))
        elif how == "short":
            respond(handler, data[: len(data) // 2])
        elif how == "endless":
            respond(handler, b"", length=1 << 40)
            with contextlib.suppress(OSError):
                while True:
                    handler.wfile.write(bytes(1 << 16))
        elif how == "drip":
            respond(handler, b"", length=len(data))
            for at in range(0, len(data), 1000):
                handler.wfile.write(data[at : at + 1000])
                time.sleep(0.1)
        else:
            assert how == "", how
            respond(handler, data)

    @contextlib.contextmanager
    def open(self) -> Iterator[str]:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                shop.answer(self)

        with serving(Handler) as url:
            yield url


def respond(handler: BaseHTTPRequestHandler, data: bytes, status: int = 200, length: int | None = None) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)


def theta_of(place: Town, name: str) -> str:
    """The model by what a role has in its own folder, without any store."""
    folder = place.folder / name
    prospectus = Prospectus.from_bytes((folder / "prospectus").read_bytes())
    builds = {3: Build.load(folder / "builds/build-3")}
    history = History(place.project, prospectus, builds, LocalStore(place.folder / "nothing"), folder)
    return points_hash(history.model(history.log()).points(builds[3])).hex()


@pytest.mark.exhaustive("test_store.py and tests/storage have each fault")
def test_a_store_that_misbehaves_and_two_aggregators(tmp_path: Path, chain: Chain) -> None:
    """Prospectus, updates, aggregates: each get fails in every way, then works. The first round's aggregate never does.

    Meanwhile a second aggregator is started in the folder, and a third in a copy without the keys.
    """
    shop = Shop(tmp_path / "store")
    # a seat is left: SUBMIT ends by the clock
    with shop.open() as url, town(tmp_path, chain, rounds=2, most=4) as place:
        for name in ("aggregator", "auditor", *TRAINERS):
            shop.faults[name] = ["other"]  # for the prospectus; the owner has it
        prepare = functools.partial(impatient, 3)
        more: dict[str, Any] = {"prepare": prepare}
        at = {name: ("--poll", 0.05, "--store", f"{url}/{name}") for name in EVERYBODY}
        roles = {
            "aggregator": place.aggregator("--trainers", 3, *at["aggregator"], **more),
            "owner": place.owner("receive", "--withdraw", *at["owner"], **more),
            "auditor": place.auditor("watch", *at["auditor"], **more),
        } | {name: place.trainer(name, *at[name], **more) for name in TRAINERS}
        place.until_phase(Phase.SUBMIT)
        place.until(lambda: not any(shop.faults.values()))
        second = place.aggregator(*at["aggregator"])
        elsewhere = tmp_path / "elsewhere"
        left_behind = shutil.ignore_patterns("keys", "*.lock")
        shutil.copytree(tmp_path / "aggregator", elsewhere, ignore=left_behind)
        gave_up(second, 2, f"another process works in {tmp_path / 'aggregator'}: a role has one process")
        place.until(place.submitted)

        shop.hiding = True
        shop.faults["aggregator"] = [*WRONG, *BRIEF, *WRONG]
        place.pass_deadline()
        third = place.aggregator(*at["aggregator"], folder="elsewhere")
        gave_up(third, 3, "round 1 was started with an encryption key that is not in", "run this one in its folder")
        place.until(lambda: lines(roles["aggregator"], "sealed updates are not in the store yet"))
        place.until_phase(Phase.SETTLED)
        assert shop.faults["aggregator"] == []
        assert "refused 0x" not in roles["aggregator"].said()

        # the aggregate is not served: half of the window later everybody says so
        state = place.project.state()
        window = place.project.terms().windows
        place.until(lambda: all(lines(roles[name], "the aggregate cannot be had yet") for name in ("owner", *TRAINERS)))
        chain.pass_time(state.deadline - window.claim // 2 + 1 - state.now)
        place.until(lambda: len(place.log().of("Claimed")) == 4)
        place.pass_deadline()
        place.until(lambda: lines(roles["aggregator"], "claimed as not served: fee and bond are held longer"))
        time.sleep(1)
        assert place.project.state().phase == Phase.SETTLED and place.log().of("Closed") == []
        assert place.project.account(place.addresses["aggregator"]).credit == 0
        shop.hiding = False
        state = place.project.state()
        chain.pass_time(state.deadline + window.lock + 1 - state.now)
        place.until(lambda: place.log().of("Closed"))
        assert place.log().of("Closed")[0].arguments["skipped"] is True
        assert place.project.account(place.addresses["aggregator"]).credit == ETHER // 10

        place.until(lambda: place.project.state().phase == Phase.SUBMIT)
        for name in ("owner", *TRAINERS):
            shop.faults[name] = [*WRONG, *BRIEF]  # in the end it comes, in drops
        shop.faults["auditor"] = ["refuse", "drip"]
        place.conduct()
        assert not any(shop.faults.values())
        results = completed(place, roles)
        before = {line for name in TRAINERS for line in lines(roles[name], "training from the model")}
        first, later = ({line.split()[-1] for line in before if f"round {number}:" in line} for number in (1, 2))
        assert len(first) == 1 and first == later  # the round that was skipped has left it as it was
        thetas = {name: theta_of(place, name) for name in ("owner", "aggregator", *TRAINERS)}
        assert set(thetas.values()) == {results["owner"]["theta"]} and not thetas["ann"].startswith(*first)
        assert sum(place.pay().values()) == pytest.approx(2 * ETHER, abs=10)
        assert [len(place.log().of(name)) for name in ("Started", "Settled", "Closed")] == [2, 2, 2]
        assert results["auditor"]["rounds"][0]["aggregate"].startswith("not served: ")
        assert results["auditor"]["rounds"][1]["aggregate"] == "served"
        assert [row["verified"] for row in results["auditor"]["rounds"]] == [True, True]


# ---------------------------------------------------------------- disks that are full, and what was given wrong


def small_files(limit: int) -> None:
    """In a role: the disk takes no file of more bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A file system of its own, and how to give it another size. Skips the test without the rights to mount one."""

    def mount(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)

    def resize(size: str) -> None:
        mount("-o", f"remount,size={size}").check_returncode()

    place.mkdir(parents=True)
    done = mount("-t", "tmpfs", "-o", f"size={size}", "none")
    if done.returncode:
        pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
    try:
        yield resize
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Write until there are `leave` bytes left."""
    filler = disk / "filler"
    space = os.statvfs(disk)
    with filler.open("wb") as file:
        file.write(bytes(max(0, space.f_bavail * space.f_frsize - leave)))
    return filler


@pytest.mark.exhaustive("tests/ground/test_files.py: nothing is half-written")
def test_full_disks(tmp_path: Path, chain: Chain, deployed: Path) -> None:
    """A trainer's before the keys, at the update, and after it; the aggregator's at the openings, and at the proof."""
    disk, rounds, full = tmp_path / "disk", tmp_path / "aggregator/rounds", "No space left on device: '"
    with (
        small_disk(disk, "4m") as resize,
        small_disk(rounds, "8k") as resize_rounds,
        town(tmp_path, chain, deployed=deployed) as place,
    ):
        bob = functools.partial(place.trainer, "bob", folder="disk/bob")
        roles = {"auditor": place.auditor(), "ann": place.trainer("ann"), "cyd": place.trainer("cyd")}
        roles["aggregator"] = place.aggregator()
        owner = place.owner(prepare=functools.partial(small_files, 5_000))
        gave_up(owner, 3, f"File too large: '{tmp_path / 'owner/model.npz'}'")
        assert half_written(tmp_path / "owner") == [] and not (tmp_path / "owner/model.npz").exists()
        roles["owner"] = place.owner()

        place.until_phase(Phase.OPEN)
        gave_up(bob(), 3, "No space left on device")
        assert half_written(disk) == [] and not (disk / "bob/builds/build-3").exists()
        resize("120m")
        waiting = bob()
        place.until(lambda: place.addresses["bob"] in place.log().members())
        filler = fill(disk, leave=4096)
        round_ = disk / "bob/rounds/00001"
        gave_up(waiting, 3, f"{full}{round_ / 'update.npy'}'")
        assert half_written(disk) == [] and not (round_ / "update.npy").exists()
        filler.unlink()
        fill(disk, leave=20_000)
        gave_up(bob(), 3, full)
        assert half_written(disk) == [] and (round_ / "update.npy").exists()
        kept = {path: path.read_bytes() for path in round_.rglob("*") if path.is_file()}
        filler.unlink()
        roles["bob"] = bob()
        place.until(place.submitted)
        assert {path: path.read_bytes() for path in kept} == kept

        gave_up(roles["aggregator"], 3, f"{full}{rounds / '00001/openings'}")
        assert half_written(rounds) == []
        resize_rounds("60k")
        gave_up(place.aggregator(), 3, f"{full}{rounds / '00001/round.json'}'")
        assert half_written(rounds) == [] and not (rounds / "00001/round.json").exists()
        resize_rounds("200k")
        roles["aggregator"] = place.aggregator()
        place.until(lambda: (disk / "bob/aggregates/00001.bin").is_file())
        place.conduct(readers=("owner", "ann", "cyd"))
        results = completed(place, roles)
        assert Path(results["owner"]["model"]).is_file()
        assert sent_twice(place) == {} and sum(place.pay().values()) == pytest.approx(ETHER, abs=10)


def test_what_was_given_wrong(tmp_path: Path, chain: Chain, deployed: Path) -> None:
    """Password, keystore, chain, project, store: one line each that says what is wrong, and the right exit code."""
    with anvil_node(chain_id=1337) as other, town(tmp_path, chain, deployed=deployed) as place:
        nowhere = "0x" + "77" * 20
        at = ("--project", place.project.address)
        ask_status = ("trainer", "status", *at)
        keystore = tmp_path / "ann/keystore.json"
        cid = next(path.name for path in (tmp_path / "store").iterdir())
        lying = tmp_path / "lying"
        lying.mkdir()
        (lying / cid).write_bytes((tmp_path / "store" / cid).read_bytes().replace(b"town", b"gown"))

        def start(name: str, *words: object, **more: Any) -> Role:
            return place.start("ann", *words, folder=f"folders/{name}", **more)

        join = ("trainer", "join", *at)
        address, another = ("trainer", "status", "--project", nowhere), place.project.factory()
        with pytest.raises(ChainError, match=f"contract at {another} does not answer terms: is it a Project of zkm"):
            Project(chain, another).terms()
        empty = ("--store", tmp_path / "empty")
        away = "http://127.0.0.1:9"
        settled = start("chain", *ask_status)
        cases: dict[str, tuple[Role, int, tuple[str, ...]]] = {
            "password": (
                start("password", *ask_status, ZKMARKET_PASSWORD="no"),
                2,
                (f"{keystore} cannot be opened as a keystore: wrong password",),
            ),
            "no password": (
                start("no password", *ask_status, "--password-file", tmp_path / "none"),
                2,
                ("no password can be read from",),
            ),
            "project": (start("project", *address), 3, (f"no contract at {nowhere} on chain 31337: wanted Project",)),
            "not a project": (
                start("not a project", "trainer", "join", "--project", another),
                2,
                (f"stay away from {another}: it is not a clone of a project, but some other contract",),
            ),
            "no address": (start("no address", "trainer", "status", "--project", "0x12"), 2, ("address",)),
            "no blob": (start("no blob", *join, *empty), 3, (f"no blob {cid} in {tmp_path / 'empty'}",)),
            "no patience": (
                place.aggregator("--patience", 1, *empty, folder="folders/no patience"),
                3,
                (f"no blob {cid} in {tmp_path / 'empty'}",),
            ),
            "lying": (start("lying", *join, "--store", lying), 3, (f"{lying} gives other bytes for {cid}",)),
            "no store": (start("no store", *join, "--store", away), 3, (f"get {cid}: {away} failed 4 times",)),
        }
        for name, (role, code, parts) in cases.items():
            said = gave_up(role, code, *parts)
            assert PASSWORD not in said.replace(str(tmp_path), ""), name
        settled.result()

        def elsewhere(rpc: str, folder: str = "chain", account: str = "ann") -> Role:
            words = [*ask_status, "--state", tmp_path / "folders" / folder, "--rpc", rpc, "--store", tmp_path / "store"]
            words += ["--keystore", tmp_path / account / "keystore.json", "--json"]
            return place.run("elsewhere", list(map(str, words)))

        wrong_chain, no_chain = elsewhere(other), elsewhere("http://127.0.0.1:9", "nothing")
        no_keystore, no_rpc = elsewhere(chain.rpc_url, "keys", "nobody"), elsewhere("127.0.0.1:8545", "nothing2")
        gave_up(
            wrong_chain, 2, f"{tmp_path / 'folders/chain'} belongs to chain 31337, not to 1337: choose a new folder"
        )
        gave_up(no_chain, 3, "no chain answers at http://127.0.0.1:9")
        gave_up(no_keystore, 2, f"{tmp_path / 'nobody/keystore.json'} cannot be opened as a keystore", "No such file")
        gave_up(no_rpc, 2, "an RPC address starts with http:// or https://")
        another_project = start("chain", "trainer", "status", "--project", nowhere)
        gave_up(
            another_project, 2, f"belongs to project {place.project.address}, not to {nowhere}: choose a new folder"
        )
        assert place.project.state().phase == Phase.CREATED and not place.log().members()
