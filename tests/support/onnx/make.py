"""Make the ONNX files of this folder: the same two models as each exporter writes them.

    python make.py torch            # torch, onnx, onnxscript
    python make.py sklearn          # scikit-learn, skl2onnx
    python make.py keras            # tensorflow-cpu, tf2onnx: in an environment of its own

The exporters are no dependencies of the tests: the files are committed. Each family is made by its own exporter from
weights that it draws itself. `mlp` has 8 inputs, 6 hidden units and 3 classes; `cnn` has images of 1 x 6 x 6 (Keras:
6 x 6 x 1), a convolution, ReLU, max pooling, and 3 classes.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def save(model, name: str) -> None:
    """Write a model, without what an exporter notes about this machine (places in source files)."""
    import onnx

    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    onnx.checker.check_model(model)
    onnx.save(model, str(HERE / f"{name}.onnx"))
    print(f"{name}.onnx: {(HERE / f'{name}.onnx').stat().st_size} bytes")


# ---------------------------------------------------------------- torch


def torch_files() -> None:
    import tempfile

    import onnx
    import torch
    from torch import nn

    class Reshaped(nn.Module):
        """A convolutional network that flattens by a size that is read from its data."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.last = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Linear(18, 3)
            self.norm.running_mean.copy_(torch.tensor([0.1, -0.2]))
            self.norm.running_var.copy_(torch.tensor([0.5, 2.0]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
            return self.last(x.view(x.size(0), -1))

    class Averaged(nn.Module):
        """Strides, a skip and an average over all places."""

        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False)
            self.second, self.last = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.first(x))
            x = torch.relu(self.second(x) + x)
            return self.last(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))

    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.last = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.lstm(x)[0][:, -1])

    class Block(nn.Module):
        """A transformer's block, and a mean over its places."""

        def __init__(self) -> None:
            super().__init__()
            self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
            self.last = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.block(x).mean(1))

    def mlp() -> list[nn.Module]:
        return [nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)]

    def cnn() -> list[nn.Module]:
        return [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)]

    models = {
        "mlp": (lambda: nn.Sequential(*mlp()), (8,)),
        "cnn": (lambda: nn.Sequential(*cnn()), (1, 6, 6)),
        "mlp-softmax": (lambda: nn.Sequential(*mlp(), nn.Softmax(1)), (8,)),
        "cnn-logsoftmax": (lambda: nn.Sequential(*cnn(), nn.LogSoftmax(1)), (1, 6, 6)),
        "cnn-view-norm": (Reshaped, (1, 6, 6)),
        "cnn-norm": (Reshaped, (1, 6, 6)),
        "cnn-skip-mean": (Averaged, (1, 6, 6)),
        "lstm": (Memory, (5, 4)),
        "transformer": (Block, (5, 4)),
    }
    for name, (factory, shape) in models.items():
        for dynamo in (False, True):
            for dynamic in (False, True):
                if name == "cnn-norm" and (dynamo or not dynamic):
                    continue
                torch.manual_seed(0)
                model = factory().eval()
                if name in ("lstm", "transformer") and dynamic:
                    continue
                example = torch.zeros(2, *shape)  # a static batch is one of 2
                options = {"dynamo": dynamo}
                if name == "cnn-norm":  # keeps what evaluation mode would fold into the convolution
                    options |= {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
                if dynamic and dynamo:
                    options["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
                elif dynamic:
                    options |= {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
                torch.backends.mha.set_fastpath_enabled(False)  # has no ONNX operator
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "model.onnx"
                    torch.onnx.export(model, (example,), str(path), **options)
                    made = onnx.load(str(path))  # with what lies beside it
                kind = "dynamo" if dynamo else "legacy"
                save(made, f"torch-{kind}-{name}-{'dynamic' if dynamic else 'static'}")

    with tempfile.TemporaryDirectory() as folder:  # other types, and operators of years ago
        for name, options in {"half-opset20": {"opset_version": 20}, "double-opset11": {"opset_version": 11}}.items():
            torch.manual_seed(0)
            model = Reshaped().eval()
            model = model.half() if name.startswith("half") else model.double()
            example, path = torch.zeros(2, 1, 6, 6, dtype=next(model.parameters()).dtype), Path(folder) / "model.onnx"
            torch.onnx.export(
                model,
                (example,),
                str(path),
                dynamo=False,
                input_names=["x"],
                dynamic_axes={"x": {0: "batch"}},
                **options,
            )
            save(onnx.load(str(path)), f"torch-legacy-cnn-{name}")


# ---------------------------------------------------------------- scikit-learn


def sklearn_files() -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8)).astype(np.float32)
    y = (x @ rng.normal(size=(8, 3))).argmax(1)
    perceptron = {"hidden_layer_sizes": (6,), "max_iter": 50, "random_state": 0}
    models = {
        "mlp": MLPClassifier(**perceptron).fit(x, y),
        "logistic": LogisticRegression().fit(x, y),
        "logistic-two": LogisticRegression().fit(x, y == 1),
        "mlp-names": MLPClassifier(**perceptron).fit(x, np.array(["bird", "cat", "dog"])[y]),
        "logistic-other-classes": LogisticRegression().fit(x, 2 * y + 1),
    }
    for name, model in models.items():
        save(to_onnx(model, x[:1]), f"sklearn-{name}-zipmap")
        if name in ("mlp", "logistic"):
            save(to_onnx(model, x[:1], options={"zipmap": False}), f"sklearn-{name}-tensor")
    save(to_onnx(MLPRegressor(**perceptron).fit(x, x[:, 0]), x[:1]), "sklearn-mlp-regressor")
    save(to_onnx(LinearRegression().fit(x, x[:, :2]), x[:1]), "sklearn-linear-regressor")


# ---------------------------------------------------------------- Keras


def keras_files() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tempfile

    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx
    from keras import layers

    drawn = {"bias_initializer": "random_normal"}  # a bias of zeros would be folded away

    def mlp(last: str | None):
        return [layers.Dense(6, activation="relu", **drawn), layers.Dense(3, activation=last, **drawn)]

    def cnn(last: str | None):
        return [
            layers.Conv2D(2, 3, padding="same", activation="relu", **drawn),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(3, activation=last, **drawn),
        ]

    def norm(last: str | None):
        return [
            layers.Conv2D(2, 3, strides=2, padding="same", **drawn),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation=last, **drawn),
        ]

    models = {
        "mlp": ((8,), mlp(None)),
        "mlp-softmax": ((8,), mlp("softmax")),
        "cnn": ((6, 6, 1), cnn(None)),
        "cnn-colours": ((6, 6, 3), cnn("softmax")),
        "cnn-norm": ((6, 6, 2), norm(None)),
    }
    keras.utils.set_random_seed(0)
    for name, (shape, parts) in models.items():
        model = keras.Sequential([keras.Input(shape), *parts])
        if name == "cnn-norm":
            model.layers[1].moving_mean.assign([0.1, -0.2])
            model.layers[1].moving_variance.assign([0.5, 2.0])
        for batch in (None, 2):
            function = tf.function(model, input_signature=[tf.TensorSpec((batch, *shape), tf.float32, name="x")])
            made, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=17)
            save(made, f"tf2onnx-{name}-{'dynamic' if batch is None else 'static'}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            model.export(str(path), format="onnx", verbose=False)
            save(onnx.load(str(path)), f"keras-{name}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"torch": torch_files, "sklearn": sklearn_files, "keras": keras_files}[sys.argv[1]]()
