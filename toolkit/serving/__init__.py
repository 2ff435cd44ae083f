"""Serving many requests at once: who is computed next, and where their keys and values lie."""
