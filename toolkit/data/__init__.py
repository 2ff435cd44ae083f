"""Preparing text for training: duplicates, shuffles, tokenizers, records."""
