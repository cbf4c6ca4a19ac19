"""A Flower ClientApp as the local training of a round: arrays and a config in, arrays out, no SuperLink.

The app is called as a SuperNode calls it, with its mods: one message `train` a round, one context for all rounds of
this process. What it replies is a model, and the update is the difference from the one that it was given.

flwr is imported by the functions that need it: it is an extra, and takes a second.
"""

from __future__ import annotations

import importlib
import sys
import time
import tomllib
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArtifactError, InputError
from ..learning import TRAINING, Lesson, load_model, trained_parameters
from ..learning.loading import blamed_on, current_folder
from ..progress import Progress
from ..updates import ParameterLayout

if TYPE_CHECKING:
    import torch

LOCAL = ("data", *(name for name in TRAINING if name != "rate"))
"""Settings of our own training, which a ClientApp has its own ways for."""


def flower_learner(project: str, trainer: str, settings: Mapping[str, Any], progress: Progress) -> FlowerLearner:
    """From a trainer's settings `flower`, `node_config`, `run_config`, `model` and `rate`.

    Args:
        project, trainer: addresses: their last 63 bits are the run's and the node's number.

    Raises:
        ArtifactError: flwr is not installed.
        InputError: the app, a config or the model cannot be used.
    """
    app = load_app(settings["flower"])
    run = _project_config(Path("pyproject.toml")) | _config("--run-config", settings.get("run_config"))
    if settings.get("rate") is not None:
        with blamed_on("--rate is no number"):
            run["learning-rate"] = float(settings["rate"])
    node = _config("--node-config", settings.get("node_config"))
    model = load_model(settings["model"]) if settings.get("model") else None
    number, own_number = (int(address, 16) & (1 << 63) - 1 for address in (project, trainer))
    return FlowerLearner(app, number, own_number, run, node, progress, model)


def load_app(text: str) -> Any:
    """The ClientApp that `package.module:name` is; modules of the current folder come first."""
    try:
        from flwr.clientapp import ClientApp
    except ImportError as error:
        raise ArtifactError(
            f"--flower {text} needs Flower, which is not installed: {error}; run `pip install 'zkmarket[flower]'`"
        ) from error
    module_name, _, name = text.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise InputError(f"--flower is package.module:app, as in pyproject.toml's `clientapp`: got {text!r}")
    with current_folder(), blamed_on(f"--flower {text}: cannot import {module_name}"):
        app = getattr(importlib.import_module(module_name), name, None)
    if not isinstance(app, ClientApp):
        raise InputError(f"--flower {text} is a {type(app).__name__}: wanted a flwr.clientapp.ClientApp")
    return app


@dataclass
class FlowerLearner:
    """Local training by a ClientApp.

    Attributes:
        app: of Flower, with its mods.
        run, node, run_config, node_config: what `Context` holds.
        model: whose state dict the app is given, buffers such as batch normalisation's too; None: the layout's tensors.
    """

    app: Any
    run: int
    node: int
    run_config: dict[str, Any]
    node_config: dict[str, Any]
    progress: Progress
    model: torch.nn.Module | None = None
    layout: ParameterLayout = field(init=False)
    _local: dict[str, np.ndarray] = field(default_factory=dict)
    _context: Any = None

    def fit(self, layout: ParameterLayout) -> None:
        """Say how the project's updates are laid out, before the first round. InputError if the model is another."""
        if self.model is not None and (own := ParameterLayout.of(trained_parameters(self.model))) != layout:
            raise InputError(f"--model is not the project's: {own.difference(layout)}")
        self.layout = layout

    def __call__(self, lesson: Lesson) -> np.ndarray:
        """The update (D,) float64 that the app's training makes. InputError if its reply is no model of the project."""
        before = self._tensors(lesson.theta)
        with current_folder(), blamed_on("the ClientApp fails"), redirect_stdout(sys.stderr):  # stdout has results
            reply = self.app(self._message(lesson.round, before), self._kept())
        after = self._read(reply, before)
        self._local = {name: array for name, array in after.items() if name not in self.layout.names}
        update = self.layout.flatten({name: after[name] for name in self.layout.names}) - lesson.theta
        if not np.isfinite(update).all():
            raise InputError("the ClientApp's reply holds NaN or infinite values: lower the learning rate")
        for metrics in reply.content.metric_records.values():
            text = ", ".join(f"{name} {value}" for name, value in metrics.items())
            self.progress(f"round {lesson.round}: the ClientApp says {text}")
        return np.asarray(update)

    def _tensors(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """What the app is given: of a model its whole state dict, with what is local as the app left it."""
        trained = self.layout.unflatten(theta)
        if self.model is None:
            return {name: np.asarray(trained[name]) for name in self.layout.names}
        whole = {name: tensor.detach().cpu().numpy() for name, tensor in self.model.state_dict().items()}
        return whole | self._local | {name: np.asarray(array) for name, array in trained.items()}

    def _message(self, number: int, tensors: dict[str, np.ndarray]) -> Any:
        """The message of a round. Outside a run a Message is given its metadata: nobody else would know them."""
        from flwr.app import DEFAULT_TTL, Array, ArrayRecord, ConfigRecord, Message, Metadata, RecordDict

        if self._old():
            names, number_key = ("fitins.parameters", "fitins.config"), "server_round"
            arrays = ArrayRecord([np.asarray(array) for array in tensors.values()])
        else:
            names, number_key = ("arrays", "config"), "server-round"
            arrays = ArrayRecord({name: Array(np.asarray(array, order="C")) for name, array in tensors.items()})
        config: dict[str, Any] = {number_key: number}
        rate = self.run_config.get("learning-rate", self.run_config.get("lr"))
        if rate is not None:
            config["lr"] = rate
        content = RecordDict({names[0]: arrays, names[1]: ConfigRecord(config)})
        place = (f"round-{number}", 1, self.node, "", str(number))
        metadata = Metadata(self.run, *place, time.time(), DEFAULT_TTL, "train")
        return Message(content=content, metadata=metadata)

    def _old(self) -> bool:
        """Whether the app wraps a `client_fn` (NumPyClient, Client), whose arrays have places and no names."""
        return getattr(self.app, "_call", None) is not None

    def _kept(self) -> Any:
        """The context: of all rounds of this process the same, so that what an app keeps in its state is kept."""
        from flwr.app import Context, RecordDict

        if self._context is None:
            self._context = Context(self.run, self.node, self.node_config, RecordDict(), self.run_config)
        return self._context

    def _read(self, reply: Any, before: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The reply's arrays by name, of the shapes that were sent."""
        if reply.has_error():
            raise InputError(f"the ClientApp replies an error: {reply.error.reason or f'code {reply.error.code}'}")
        records = list(reply.content.array_records.values())
        if len(records) != 1:
            raise InputError(f"a ClientApp's reply to `train` has one ArrayRecord: got {len(records)}")
        with blamed_on("the ClientApp's reply cannot be read"):
            arrays = {name: array.numpy() for name, array in records[0].items()}
        if self._old() and len(arrays) == len(before):
            arrays = dict(zip(before, arrays.values(), strict=True))
        wanted, got = ({name: array.shape for name, array in one.items()} for one in (before, arrays))
        if wanted != got:
            hint = "" if self.model else "; give --model, if its state dict has more than what is trained"
            name = next(name for name in [*wanted, *got] if wanted.get(name) != got.get(name))
            raise InputError(
                f"the ClientApp replies another model than it was given: {name} has shape {got.get(name, 'none')},"
                f" wanted {wanted.get(name, 'no such array')}{hint}"
            )
        return arrays


def _project_config(path: Path) -> dict[str, Any]:
    """`[tool.flwr.app.config]` of a Flower app's pyproject.toml, flattened as Flower does; empty without one."""
    if not path.is_file():
        return {}
    from flwr.common.config import flatten_dict

    with blamed_on(f"{path} is no Flower app's"):
        tables = tomllib.loads(path.read_text())
        return dict(flatten_dict(tables.get("tool", {}).get("flwr", {}).get("app", {}).get("config", {})))


def _config(option: str, text: str | None) -> dict[str, Any]:
    """Pairs as `flower-supernode --node-config` and `flwr run --run-config` take them, or the name of a .toml file."""
    from flwr.common.config import parse_config_args

    with blamed_on(f"{option} is 'key=value key=\"text\" …': got {text!r}"):
        return dict(parse_config_args([text] if text else None))
