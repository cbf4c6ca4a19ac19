"""Local training: models, data, optimisers, and the attacks that a demo plays."""

from .attacks import ATTACKS, REFUSED, attacking, poisoned, wrong_labels
from .checkpoint import Checkpoint
from .datasets import Dataset, load_dataset
from .digit_scans import MIN_ROWS, SPLITS, digits, digits_cnn, digits_held, digits_mlp
from .evaluation import Evaluation, calibrate, evaluate, try_out
from .lesson import TRAINING, Learn, Lesson
from .loading import initial_parameters, layout_of, layout_rule, load_callable, load_model, trained_parameters
from .onnx_file import LINEAR_MODELS, linear_weights, load_onnx, trained_tensors
from .streams import Stream, load_source
from .training import Training, train

__all__ = [
    "ATTACKS",
    "Checkpoint",
    "Dataset",
    "Evaluation",
    "LINEAR_MODELS",
    "Learn",
    "Lesson",
    "MIN_ROWS",
    "REFUSED",
    "SPLITS",
    "Stream",
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
    "load_source",
    "poisoned",
    "train",
    "trained_parameters",
    "trained_tensors",
    "try_out",
    "wrong_labels",
]
