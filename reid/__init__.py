"""Domain-generalization person re-identification: train on several labelled sources, score sets never seen."""

__version__ = "0.1.0"
