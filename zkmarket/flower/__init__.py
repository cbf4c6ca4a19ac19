"""Flower: a ClientApp as the local training of a trainer."""

from .client import LOCAL, FlowerLearner, flower_learner, load_app

__all__ = ["LOCAL", "FlowerLearner", "flower_learner", "load_app"]
