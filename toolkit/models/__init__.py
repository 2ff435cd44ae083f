"""Models: the libraries of this part's chapters."""
