"""A Flower app in a market: laid out as Flower's quickstart, one command, a round that is proven and paid."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import pytest

from tests.e2e.town import MODEL, TRAINERS, town, town_chain

pytestmark = pytest.mark.flower

CLIENT_APP = """
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import arrays_size_mod
from quickstart.task import Net, load_data, steps

app = ClientApp(mods=[arrays_size_mod])


@app.train()
def train(msg: Message, context: Context):
    model = Net()
    model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    rows = load_data(context.node_config["partition-id"], context.node_config["num-partitions"])
    loss = steps(model, rows, context.run_config["local-epochs"], msg.content["config"]["lr"])
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(rows)})
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=msg)
"""
TASK = """
import torch
from zkmarket.learning import digits, digits_mlp


def Net():
    return digits_mlp(hidden=16)


def load_data(part, of):
    return digits(part=part, of=of)


def steps(model, rows, epochs, lr):
    x, y = torch.from_numpy(rows.inputs), torch.from_numpy(rows.targets)
    for _ in range(epochs):
        model.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= lr * weight.grad
    return float(loss)
"""
PYPROJECT = """
[project]
name = "quickstart"
version = "1.0.0"
[tool.flwr.app]
publisher = "us"
[tool.flwr.app.components]
clientapp = "quickstart.client_app:app"
[tool.flwr.app.config]
local-epochs = 5
learning-rate = 0.5
"""


def test_a_flower_app_is_paid(tmp_path: Path) -> None:
    package = tmp_path / "app" / "quickstart"
    package.mkdir(parents=True)
    for name, text in (("__init__.py", ""), ("client_app.py", CLIENT_APP), ("task.py", TASK)):
        (package / name).write_text(text)
    (tmp_path / "app" / "pyproject.toml").write_text(PYPROJECT)
    with town_chain() as chain, town(tmp_path, chain, rounds=1) as place:
        roles = {"aggregator": place.aggregator(), "owner": place.owner(), "auditor": place.auditor()}
        roles |= {name: place.trainer(name) for name in TRAINERS[1:]}
        me = TRAINERS[0]
        at = ("--project", place.project.address, "--join", "--membership", place.memberships[me], "--withdraw")
        flower = ("--flower", "quickstart.client_app:app", "--node-config", "partition-id=0 num-partitions=3")
        enter = functools.partial(os.chdir, tmp_path / "app")
        roles[me] = place.start(me, "trainer", "run", *flower, "--model", MODEL, *at, prepare=enter)
        place.conduct()
        (row,) = roles[me].result()["rounds"]
        assert row["pay"] == place.pay()[place.addresses[me]] > 0
        assert "round 1: the ClientApp says train_loss" in roles[me].said()
        kept = json.loads((tmp_path / me / "settings.json").read_text())
        assert (kept["flower"], kept["node_config"]) == (flower[1], flower[3])
        (checked,) = roles["auditor"].result()["rounds"]
        assert checked["verified"] and checked["aggregate"] == "served"
