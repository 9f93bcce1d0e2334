"""Encoders: transformers that turn images and tables into features."""

from ._self_supervised import SelfSupervisedEncoder

__all__ = ["SelfSupervisedEncoder"]
