"""Local training: models, data, optimisers, and the attacks that a demo plays."""

from .attacks import ATTACKS, REFUSED, attacking, poisoned, wrong_labels
from .datasets import Dataset, load_dataset
from .digit_scans import MIN_ROWS, SPLITS, digits, digits_cnn, digits_held, digits_mlp
from .lesson import TRAINING, Learn, Lesson
from .loading import initial_parameters, layout_of, layout_rule, load_callable, load_model, trained_parameters
from .onnx_file import LINEAR_MODELS, linear_weights, load_onnx, trained_tensors
from .training import Evaluation, Training, calibrate, evaluate, train, try_out

__all__ = [
    "ATTACKS",
    "Dataset",
    "Evaluation",
    "LINEAR_MODELS",
    "Learn",
    "Lesson",
    "MIN_ROWS",
    "REFUSED",
    "SPLITS",
    "TRAINING",
    "Training",
    "attacking",
    "calibrate",
    "digits",
    "digits_cnn",
    "digits_held",
    "digits_mlp",
    "evaluate",
    "initial_parameters",
    "layout_of",
    "layout_rule",
    "linear_weights",
    "load_callable",
    "load_dataset",
    "load_model",
    "load_onnx",
    "poisoned",
    "train",
    "trained_parameters",
    "trained_tensors",
    "try_out",
    "wrong_labels",
]
