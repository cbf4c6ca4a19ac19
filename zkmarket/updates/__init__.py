"""A model's tensors as a vector, and a vector as integers."""

from .layout import LAYOUT_RULES, ParameterLayout, as_vector, load_model_file, load_tensors, load_update
from .quantise import MODEL_LIMIT, FixedPoint, QuantisedUpdate, dequantise, model_floats, model_integers, squared_norm

__all__ = [
    "FixedPoint",
    "LAYOUT_RULES",
    "MODEL_LIMIT",
    "ParameterLayout",
    "QuantisedUpdate",
    "as_vector",
    "dequantise",
    "load_model_file",
    "load_tensors",
    "load_update",
    "model_floats",
    "model_integers",
    "squared_norm",
]
