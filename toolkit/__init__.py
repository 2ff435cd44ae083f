"""LLM Systems by Hand: the library behind the chapters, the labs and the grader."""

__version__ = "0.1.0"
