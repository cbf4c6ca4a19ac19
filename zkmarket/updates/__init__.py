"""A model's tensors as a vector, and a vector as integers."""

from .layout import ParameterLayout, load_model_file, load_tensors, load_update
from .quantise import FixedPoint, QuantisedUpdate, dequantise, squared_norm

__all__ = [
    "FixedPoint",
    "ParameterLayout",
    "QuantisedUpdate",
    "dequantise",
    "load_model_file",
    "load_tensors",
    "load_update",
    "squared_norm",
]
