"""segship: a trained SegFormer goes in, a deployable artifact and its proof come out."""

__version__ = "0.1.0"
