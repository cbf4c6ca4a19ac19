"""A model's tensors as a vector, and a vector as integers."""

from .layout import ParameterLayout, as_vector, load_model_file, load_tensors, load_update
from .quantise import FixedPoint, QuantisedUpdate, dequantise, squared_norm

__all__ = [
    "FixedPoint",
    "ParameterLayout",
    "QuantisedUpdate",
    "as_vector",
    "dequantise",
    "load_model_file",
    "load_tensors",
    "load_update",
    "squared_norm",
]
